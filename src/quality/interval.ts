// Intervals of 95 % for what is measured on few clips: Wilson's for a share, the bootstrap for the mean of paired differences.
import { choice, uniforms } from './draw.ts';

/** A figure with the ends of its interval of 95 %, and what it is the mean of. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

const Z = 1.959963984540054;

/** Wilson's score interval for `hits` of `count` (Wilson 1927). @throws RangeError unless 0 <= hits <= count and count >= 1. */
export function shareInterval(hits: number, count: number): Interval {
  if (!(count >= 1 && hits >= 0 && hits <= count))
    throw new RangeError(`${hits} hits of ${count} is no share; give 0..count hits of at least 1.`);
  const share = hits / count;
  const centre = (share + Z ** 2 / (2 * count)) / (1 + Z ** 2 / count);
  const half = (Z / (1 + Z ** 2 / count)) * Math.sqrt((share * (1 - share)) / count + (Z / (2 * count)) ** 2);
  return { mean: share, low: Math.max(0, centre - half), high: Math.min(1, centre + half), count };
}

/** How a bootstrap draws: `seed` fixes its choices, `draws` is how many samples it takes. */
export interface Bootstrap {
  readonly seed?: number;
  readonly draws?: number;
}

/**
 * Percentile bootstrap of the mean of paired differences (Efron 1979), a difference for each prompt and seed: pairs are drawn with
 * replacement, and the 2.5 and 97.5 percentiles of the means are the ends. Equal input gives equal output on any machine.
 * @throws RangeError without differences, and for one that is not finite.
 */
export function pairedInterval(differences: readonly number[], { seed = 0, draws = 10_000 }: Bootstrap = {}): Interval {
  const count = differences.length;
  if (count === 0) throw new RangeError('There are no differences; give one for each pair.');
  const wrong = differences.find((value) => !Number.isFinite(value));
  if (wrong !== undefined) throw new RangeError(`A difference is ${wrong}; leave such pairs out, and say how many.`);
  const uniform = uniforms(seed);
  const means = Float64Array.from({ length: draws }, () => {
    let sum = 0;
    for (let pair = 0; pair < count; pair++) sum += choice(uniform, differences);
    return sum / count;
  }).sort();
  const total = differences.reduce((sum, value) => sum + value, 0);
  return { mean: total / count, low: quantile(means, 0.025), high: quantile(means, 0.975), count };
}

/** A quantile of sorted values, with a straight line between neighbours. */
function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}
