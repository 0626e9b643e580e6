// Stored numbers to float32: exact for bf16 and f16, rounded to nearest for f64.
import { UnsupportedError } from '../errors.ts';
import type { StoredType } from './safetensors.ts';

const float16Values = (() => {
  let table: Float32Array | undefined;
  return () => {
    table ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => float16ToNumber(bits));
    return table;
  };
})();

/** The value of one IEEE binary16 number given by its bits. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * Writes the elements of `bytes` (little-endian, its own buffer from offset 0) into `out` from index `at`.
 * `what` names the tensor for the UnsupportedError that a type without float32 values (integers, 8-bit floats) gives.
 */
export function widen(dtype: StoredType, bytes: Uint8Array<ArrayBuffer>, out: Float32Array, at: number, what: string): void {
  const { buffer, byteLength } = bytes;
  if (dtype === 'F32') out.set(new Float32Array(buffer, 0, byteLength / 4), at);
  else if (dtype === 'F64') out.set(new Float64Array(buffer, 0, byteLength / 8), at);
  else if (dtype === 'BF16') {
    const bits = new Uint32Array(out.buffer, out.byteOffset + at * 4, byteLength / 2);
    const halves = new Uint16Array(buffer, 0, byteLength / 2);
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
  } else if (dtype === 'F16') {
    const values = float16Values();
    const halves = new Uint16Array(buffer, 0, byteLength / 2);
    for (let i = 0; i < halves.length; i++) out[at + i] = values[halves[i]];
  } else {
    throw new UnsupportedError(`${what} is stored as ${dtype}; only F32, F64, BF16 and F16 can be read as floats.`);
  }
}
