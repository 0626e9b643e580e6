// Random choices that a seed fixes on any machine, by Philox4x32-10.
import { philox4x32 } from '../noise.ts';

/** Uniform numbers in [0, 1), one a call. `stream` separates uses of one seed. @throws RangeError for a seed that is no whole number of 0..2^53 - 1. */
export function uniforms(seed: number, stream = 0): () => number {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`seed is ${seed}; give a whole number of 0..2^53 - 1.`);
  const block = new Uint32Array(4);
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  let at = 0;
  return () => {
    const [counter, lane] = [Math.floor(at / 4), at++ % 4];
    if (lane === 0) philox4x32([counter % 2 ** 32, Math.floor(counter / 2 ** 32), stream, 0], key, block);
    return block[lane] / 2 ** 32;
  };
}

/** One of a list. */
export const choice = <T>(uniform: () => number, list: readonly T[]): T => list[Math.floor(uniform() * list.length)];
