// Seeded inputs as real activations have them, with outliers; and f16 on the host.
import type { Backend } from '../backend/backend.ts';
import { randomFrom } from '../search/sampling.ts';
import { elements, type Tensor } from '../tensor.ts';

/** What attention is stored in. */
export type Storage = 'f32' | 'f16';

/** Nearly normal numbers of variance 1; one in 64 is 8 times as large. */
export function numbers(length: number, seed: number, scale = 1): Float32Array {
  const random = randomFrom(seed);
  return Float32Array.from({ length }, () => {
    const x = (random() + random() + random() + random() - 2) * 1.73 * scale;
    return random() < 1 / 64 ? 8 * x : x;
  });
}

/** Numbers as a storage holds them: rounded on the host, since a GPU may round to f16 either way. */
export const rounded = (x: Float32Array, storage: Storage): Float32Array => (storage === 'f16' ? x.map(toF16) : x);

/** A tensor of given numbers in a storage. */
export const stored = (ops: Backend, storage: Storage, x: Float32Array, shape: readonly number[]): Tensor =>
  ops.cast(ops.upload(rounded(x, storage), shape), storage);

/** A tensor of seeded numbers. */
export const input = (ops: Backend, storage: Storage, shape: readonly number[], seed: number, scale = 1): Tensor =>
  stored(ops, storage, numbers(elements(shape), seed, scale), shape);

/** The nearest f16, ties to even. */
export function toF16(x: number): number {
  if (!Number.isFinite(x) || x === 0) return x;
  let exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(x))));
  if (exponent > -14 && 2 ** exponent > Math.abs(x)) exponent--;
  const step = 2 ** (exponent - 10);
  const rounded = toEven(x / step) * step;
  return Math.abs(rounded) > 65504 ? Math.sign(x) * Infinity : rounded;
}

function toEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
