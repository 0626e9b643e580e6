// Numbers in few bits on the CPU: rounded rows, and on which side of a head's quartiles each number lies.
import type { Backend } from '../backend/backend.ts';
import { type CpuDevice, floatsOf } from '../backend/cpu.ts';
import type { Tensor } from '../tensor.ts';

/** The part of `Backend` that makes codes. */
export type CodeOps = Pick<Backend, 'quantize' | 'quartileSigns'>;

/** `Backend`'s codes on a CPU device. */
export const codeOps = (device: CpuDevice): CodeOps => ({
  quantize(x, bits) {
    checkBits(bits);
    return device.enqueue([{ shape: x.shape }], async () => [rounded(await floatsOf(x), x.shape[x.shape.length - 1], bits)])[0];
  },
  quartileSigns(x) {
    const shape = signShape(x);
    return device.enqueue([{ shape }], async () => [signsOf(await floatsOf(x), shape[0])])[0];
  },
});

/** @throws RangeError unless numbers of so many bits have a sign and another bit. */
export function checkBits(bits: number): void {
  if (!(Number.isInteger(bits) && bits >= 2 && bits <= 8))
    throw new RangeError(`${bits} bits are not served; give a whole number from 2 to 8`);
}

/** The shape of signs. @throws RangeError unless x is [heads, n, dim]; TypeError unless it is f32. */
export function signShape({ shape, dtype }: Tensor): readonly number[] {
  if (dtype !== 'f32') throw new TypeError(`quartileSigns takes f32, got ${dtype}; cast it`);
  if (shape.length !== 3) throw new RangeError(`quartileSigns takes [heads, n, dim], got [${shape}]; reshape it`);
  return [shape[0], shape[1], 3 * shape[2]];
}

/** The nearest whole number, ties to even as a GPU has them. */
function nearest(x: number): number {
  const whole = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && whole % 2 !== 0 ? whole - 1 : whole;
}

/** Rows of `dim` numbers, each rounded to whole multiples of its largest over 2^(bits - 1) - 1. */
function rounded(x: Float32Array, dim: number, bits: number): Float32Array {
  const steps = 2 ** (bits - 1) - 1;
  const result = new Float32Array(x.length);
  for (let begin = 0; begin < x.length; begin += dim) {
    let largest = 0;
    for (let at = begin; at < begin + dim; at++) largest = Math.max(largest, Math.abs(x[at]));
    if (largest === 0) continue;
    for (let at = begin; at < begin + dim; at++) result[at] = (nearest((x[at] / largest) * steps) * largest) / steps;
  }
  return result;
}

/** For each number three signs: whether it lies above the first, second and third quartile of its head. */
function signsOf(x: Float32Array, heads: number): Float32Array {
  const size = x.length / heads;
  const signs = new Float32Array(3 * x.length);
  for (let head = 0; head < heads; head++) {
    const sorted = x.slice(head * size, (head + 1) * size).sort();
    const edges = [1, 2, 3].map((quarter) => sorted[Math.ceil((quarter * size) / 4) - 1]);
    for (let at = head * size; at < (head + 1) * size; at++)
      for (let edge = 0; edge < 3; edge++) signs[3 * at + edge] = x[at] > edges[edge] ? 1 : -1;
  }
  return signs;
}
