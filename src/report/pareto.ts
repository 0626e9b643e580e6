// Which points no other one beats.

/** A point that is better the higher its `x` and its `y` are. */
export interface Gain {
  readonly x: number;
  readonly y: number;
}

/** The points that none beats on one axis without losing on the other, from the least to the greatest x; of equal points the first. */
export function pareto<Point extends Gain>(points: readonly Point[]): Point[] {
  const sorted = [...points].sort((a, b) => b.x - a.x || b.y - a.y);
  let best = Number.NEGATIVE_INFINITY;
  const front = sorted.filter(({ y }) => {
    const beats = y > best;
    best = Math.max(best, y);
    return beats;
  });
  return front.reverse();
}
