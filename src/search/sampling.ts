// Reproducible draws of tokens inside a block: the host draws, every backend reads the same slots.

/** One 32-bit seed from several whole numbers, such as seed, step and layer; the order matters. */
export function mixSeeds(...values: readonly number[]): number {
  let state = 0x9e3779b9;
  for (const value of values) {
    state = Math.imul(state ^ (value >>> 0), 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return state >>> 0;
}

/** Uniform numbers in [0, 1), the same for the same seed (a Weyl sequence through `mixSeeds`). */
export function randomFrom(seed: number): () => number {
  let count = 0;
  return () => mixSeeds(seed, count++) / 2 ** 32;
}

/** How many of a block's slots a share draws: rounded up, at least one. */
export const drawCount = (block: number, share: number): number => Math.max(1, Math.ceil(share * block));

/** Different slots of a block, ascending. */
export function drawSlots(block: number, share: number, seed: number): Int32Array {
  const random = randomFrom(seed);
  const slots = Int32Array.from({ length: block }, (_, slot) => slot);
  const count = drawCount(block, share);
  for (let at = 0; at < count; at++) {
    const other = at + Math.floor(random() * (block - at));
    [slots[at], slots[other]] = [slots[other], slots[at]];
  }
  return slots.slice(0, count).sort();
}

/** What a draw is for: queries and keys are drawn independently of each other. */
export type Side = 'queries' | 'keys';

/**
 * The slots that `sampledScores` reads in every block of one head: one draw for all blocks, another for each head and side.
 * A block of `count` tokens takes slot modulo count, so short blocks repeat tokens instead of reading padding; a maximum does not mind.
 */
export const slotsOfHead = (block: number, share: number, seed: number, head: number, side: Side): Int32Array =>
  drawSlots(block, share, mixSeeds(seed, head, side === 'queries' ? 0 : 1));
