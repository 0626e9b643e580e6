// Repeated measurements as a median and how far they spread.

/** Some numbers of one kind, all in the same unit. */
export interface Spread {
  readonly median: number;
  readonly best: number;
  /** A quarter of the numbers lies at or below `low`, a quarter at or above `high`. */
  readonly low: number;
  readonly high: number;
  readonly runs: number;
}

/** A median, and as much of the spread as was kept. */
export type Times = Pick<Spread, 'median'> & Partial<Spread>;

/** @throws RangeError without a number. */
export function spreadOf(numbers: readonly number[]): Spread {
  if (numbers.length === 0) throw new RangeError('nothing was measured, so there is no median; measure at least once');
  const sorted = [...numbers].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), best: sorted[0], low: quantile(sorted, 0.25), high: quantile(sorted, 0.75), runs: sorted.length };
}

/** The middle number, or the mean of the two in the middle. */
export const median = (numbers: readonly number[]): number => spreadOf(numbers).median;

/** Between two numbers in proportion. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}
