// The one option that most presets share.
import { restAt, upTo } from '../search/levels.ts';
import type { Level } from '../sparse3d/plan.ts';

/** The option that most presets share. */
export interface SparsityOptions {
  /** Share of block pairs, or of FLOPs where blocks are pooled, that is left out once a run is no longer dense: from 0 to below 1. */
  readonly sparsity?: number;
}

/** @throws RangeError for a sparsity outside [0, 1). */
export function checkSparsity(sparsity: number): number {
  if (!(sparsity >= 0 && sparsity < 1))
    throw new RangeError(`a sparsity of ${sparsity} is out of range; give a share from 0 (all is read) to below 1`);
  return sparsity;
}

/**
 * Levels that leave out a share of full attention in all: the best blocks as they are, and every other one as its mean of `pool` tokens. No less than
 * one block is read in full, so sparsities near 1 - 1 / pool and above are not reached.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const bestAndRest = (sparsity: number, pool = 64): readonly Level[] => [
  ...upTo(Math.max(1e-3, 1 - (checkSparsity(sparsity) * pool) / (pool - 1))),
  ...restAt(pool),
];
