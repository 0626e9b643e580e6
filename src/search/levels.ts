// Levels: where the cuts are and how coarse each part is read. A cut is in the selector's measure, a share of blocks or of mass.
import type { Level } from '../sparse3d/plan.ts';

/** Everything up to one cut in full, the rest dropped. @throws RangeError when the share is not in (0, 1]. */
export const upTo = (share: number): readonly Level[] => checked([{ pool: 1, upTo: share }]);

/**
 * Up to each cumulative cut in full, then pooled by 2, 4, 8, ...; what is beyond the last is dropped (PSA).
 * @throws RangeError when cuts fall or leave (0, 1].
 */
export const pyramid = (...cuts: readonly number[]): readonly Level[] =>
  checked(cuts.map((cut, level) => ({ pool: 2 ** level, upTo: cut })));

/**
 * The last level of a list: all that the cuts before it leave is read pooled, so that nothing is dropped: `[...upTo(0.2), ...restAt(64)]`.
 * @throws RangeError unless it is a whole number above 0.
 */
export const restAt = (pool: number): readonly Level[] => {
  if (!Number.isInteger(pool) || pool < 1)
    throw new RangeError(`the rest cannot be pooled by ${pool}; give a whole number that divides a block`);
  return [{ pool, upTo: 1 }];
};

/**
 * Cuts for `margin`, in nats: up to the first distance from the anchor in full, then pooled by 2, 4, 8, ... The cut of a distance d is
 * 1 - exp(-d), the share of the anchor's weight that a block at it lacks.
 * @throws RangeError when distances fall or leave (0, 30].
 */
export const within = (...distances: readonly number[]): readonly Level[] => {
  const sound = distances.every((distance, at) => distance > 0 && distance <= 30 && (at === 0 || distance >= distances[at - 1]));
  if (!sound)
    throw new RangeError(`[${distances.join(', ')}] are no margins; give distances in nats above 0 and at most 30 that do not fall`);
  return pyramid(...distances.map((distance) => -Math.expm1(-distance)));
};

function checked(levels: readonly Level[]): readonly Level[] {
  const cuts = levels.map((level) => level.upTo);
  const sound = cuts.length > 0 && cuts.every((cut, at) => cut > 0 && cut <= 1 && (at === 0 || cut >= cuts[at - 1]));
  if (!sound) throw new RangeError(`cuts [${cuts.join(', ')}] are no levels; give shares above 0 and at most 1 that do not fall`);
  return levels;
}

/** Share of full attention that rank cuts of a pyramid compute: sum of (cut - cut before) / pool. */
export const flopShare = (levels: readonly Level[]): number =>
  levels.reduce((sum, { pool, upTo }, at) => sum + (upTo - (levels[at - 1]?.upTo ?? 0)) / pool, 0);

/**
 * Scales rank cuts by one factor, none above 1, until they compute `share` of full attention; cuts keep their proportions as far as they
 * fit.
 */
export function scaledPyramid(cuts: readonly number[], share: number): readonly Level[] {
  const scaled = (factor: number) => pyramid(...cuts.map((cut) => Math.min(1, cut * factor)));
  let [low, high] = [0, 1 / cuts[0]];
  for (let halving = 0; halving < 50; halving++) {
    const middle = (low + high) / 2;
    if (flopShare(scaled(middle)) < share) low = middle;
    else high = middle;
  }
  return scaled(high);
}
