// Where cuts fall, on plain numbers: how many of a row's blocks lie before each, by rank, by mass or by margin, in a row or in many together.
import type { Selection } from '../backend/backend.ts';
import { ceilShare } from './width.ts';

/** A selection of one row: its head's budget, and where cuts over more than the row fall in it. */
export interface Cut extends Omit<Selection, 'cap' | 'budgets'> {
  readonly budget: number;
  /** For each level, how many open blocks of this row are before a cut over many rows. */
  readonly reached?: readonly number[];
}

/** The distance from its anchor, in nats, at which a weight is 1 - cut of the anchor's. */
export const marginOf = (cut: number): number => (cut >= 1 ? Infinity : -Math.log1p(-cut));

/** For each level, how many of the open blocks, given by their falling scores, lie before its cut. `competing` blocks are all that are not forced. */
export function cutRow(open: readonly number[], competing: number, cut: Cut): number[] {
  const { levels, floor = 0, ceiling = 1 } = cut;
  const least = Math.min(open.length, ceilShare(floor, competing));
  const most = Math.max(least, ceilShare(ceiling, competing));
  const reached = cut.reached ?? reachRow(open, competing, cut);
  let end = least;
  return levels.map((_, level) => {
    end = Math.max(end, Math.min(open.length, level === 0 ? Math.min(most, reached[0]) : reached[level]));
    return end;
  });
}

function reachRow(open: readonly number[], competing: number, { measure, levels, budget, anchor = 'best' }: Cut): number[] {
  if (measure === 'rank') return levels.map(({ upTo }) => ceilShare(upTo * budget, competing));
  if (measure === 'mass')
    return reachMass(
      open,
      levels.map(({ upTo }) => upTo * budget),
    );
  const from = anchor === 'zero' ? 0 : open[0];
  // Rounded as a GPU rounds.
  const bounds = levels.map(({ upTo }) => Math.fround(from - Math.fround(marginOf(upTo * budget))));
  return bounds.map((bound) => open.filter((score) => score >= bound).length);
}

/** How many sorted blocks it takes until their mass is each share of the whole: the crossing block is in. */
function reachMass(open: ArrayLike<number>, cuts: readonly number[]): number[] {
  let total = 0;
  for (let at = 0; at < open.length; at++) total += open[at];
  return cuts.map((cut) => {
    if (cut >= 1) return open.length;
    let [sum, count] = [0, 0];
    while (count < open.length && sum < cut * total) sum += open[count++];
    return count;
  });
}

/**
 * Cuts over many rows of scores [rows, kBlocks] together: for each row and level, how many of its open blocks lie before the cut. Of equal scores
 * at a cut, those of earlier rows come first, as many as it takes.
 */
export function reachTogether(
  scores: Float32Array,
  kBlocks: number,
  { measure, levels }: Pick<Selection, 'measure' | 'levels'>,
  budget: number,
): number[][] {
  const open = scores.filter(Number.isFinite).sort().reverse();
  const competing = scores.reduce((count, score) => (score === Infinity ? count : count + 1), 0);
  const cuts = levels.map(({ upTo }) => upTo * budget);
  const counts = measure === 'mass' ? reachMass(open, cuts) : cuts.map((cut) => Math.min(open.length, ceilShare(cut, competing)));
  const bounds = counts.map((count) => (count > 0 ? open[count - 1] : Infinity));
  const equal = counts.map((count, level) => count - open.findLastIndex((score) => score > bounds[level]) - 1);
  return Array.from({ length: scores.length / kBlocks }, (_, row) => {
    const ofRow = scores.subarray(row * kBlocks, (row + 1) * kBlocks).filter(Number.isFinite);
    return bounds.map((bound, level) => {
      const taken = Math.min(equal[level], ofRow.filter((score) => score === bound).length);
      equal[level] -= taken;
      return ofRow.filter((score) => score > bound).length + taken;
    });
  });
}
