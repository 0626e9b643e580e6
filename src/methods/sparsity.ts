// The one option that most presets share.

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
