// Selectors made of others: two together, one after the other, one that only shrinks its plan, and budgets by mass or from a table.
import { checkOptions, checkStage, shown } from '../checks.ts';
import type { Scorer, Selector } from '../method.ts';
import { type Level, slotCount, tokensOf } from '../sparse3d/plan.ts';
import { flopShare, upTo } from './levels.ts';

/**
 * What either of two selectors reads, at the finest level: sinks or lines beside the best blocks (FlexPrefill, arXiv 2502.20766, joins a block
 * map with columns and diagonals).
 */
export const union = (first: Selector, second: Selector): Selector => {
  for (const one of [first, second]) checkStage('union', one, 'two selectors, such as rank()');
  const select: Selector = (call, scores, levels) => {
    const { ops } = call;
    return ops.scope(() => {
      const plans = [first, second].map((select) => select(call, scores, levels));
      const [own, other] = [
        ops.planTable(plans[0], { read: Infinity, left: -Infinity }),
        ops.planTable(plans[1], { read: Infinity, left: 0 }),
      ];
      const widths = plans.map(({ blocks }) => blocks.shape[2]);
      // Only what is forced is read, and no row is without.
      return ops.select(ops.force(own, other), { measure: 'rank', levels: upTo(1), forced: widths[0] + widths[1] });
    });
  };
  return Object.assign(select, { share: (levels: readonly Level[]) => Math.min(1, shareOf(first, levels) + shareOf(second, levels)) });
};

/** `Selector.share`, or that of cuts by rank. */
const shareOf = ({ share = flopShare }: Selector, levels: readonly Level[]): number => share(levels);

/** Options of `refine`. */
export interface RefineOptions {
  /** A generous selector, which narrows the choice down. */
  readonly first: Selector;
  /** The cuts of the first selector. */
  readonly levels: readonly Level[];
  /** Scores of what is left; those of the method when left out. It forces what it wants of that itself. */
  readonly score?: Scorer;
  /** Chooses among what is left, by the levels of the method. */
  readonly second: Selector;
}

/**
 * One selector after another, the second among what the first reads (Twilight, arXiv 2502.02770: a fixed budget, then a share of mass by better
 * scores). Scores that need a log-sum-exp must be the method's own.
 */
export const refine = (options: RefineOptions): Selector => {
  checkOptions('refine', options, ['first', 'levels', 'second'], ['first', 'levels', 'score', 'second']);
  const { first, levels, score, second } = options;
  for (const one of [first, second]) checkStage('refine', one, 'two selectors, first and second');
  const select: Selector = (call, scores, ofMethod) => {
    const { ops } = call;
    return ops.scope(() => {
      const left = ops.planTable(first(call, scores, levels), { read: 0, left: -Infinity });
      return second(call, ops.force(score?.(call) ?? scores, left), ofMethod);
    });
  };
  return Object.assign(select, { share: (ofMethod: readonly Level[]) => Math.min(shareOf(first, levels), shareOf(second, ofMethod)) });
};

/**
 * A selector among what the kept plan reads: a block that a search leaves out does not come back in this run (LiteAttention, arXiv 2511.11062,
 * which tests blocks as it reads them; here each search scores all).
 * @throws TypeError, when selecting, for a layout by head.
 */
export const shrinking = (select: Selector): Selector => {
  const shrink: Selector = (call, scores, levels) => {
    const { ops, memory } = call;
    if (call.layout.k.heads)
      throw new TypeError(
        'a plan only shrinks in one order of tokens; choose a layout of the grid, not one that each search makes for each head',
      );
    if (!memory.plan) return select(call, scores, levels);
    const kept = memory.plan;
    return ops.scope(() => select(call, ops.force(scores, ops.planTable(kept, { read: 0, left: -Infinity })), levels));
  };
  return Object.assign(shrink, { share: (levels: readonly Level[]) => shareOf(select, levels) });
};

/**
 * A selector whose cuts are shares of what keys without padding would fill: a layout by head has more blocks than that, some of them empty. A cut
 * at 1, such as that of a rest, stays.
 */
export const ofTokens = (select: Selector): Selector => {
  const filled: Selector = (call, scores, levels) => {
    const { k } = call.layout;
    const share = tokensOf(k.grid) / slotCount(k);
    return select(
      call,
      scores,
      levels.map((level) => (level.upTo < 1 ? { ...level, upTo: level.upTo * share } : level)),
    );
  };
  return Object.assign(filled, { share: (levels: readonly Level[]) => shareOf(select, levels) });
};

/**
 * Rank with a budget for each head: the mean share of blocks that hold `cover` of a row's mass, times the cut of the method's only level
 * (TCA-Attention finds budgets offline; here at each search).
 * @param options All have defaults.
 * @param options.cover Share of a row's mass, above 0 and at most 1. Default .9.
 * @throws RangeError, when selecting, for a share outside (0, 1].
 */
export const covering =
  ({ cover = 0.9 } = {}): Selector =>
  ({ ops, forced }, scores, levels) =>
    ops.scope(() => {
      const read = ops.planTable(ops.select(scores, { measure: 'mass', levels: upTo(cover) }), { read: 1, left: 0 });
      return ops.select(scores, { measure: 'rank', levels, budgets: ops.reduce(ops.reduce(read, 'mean'), 'mean'), forced });
    });

/** Shares of key blocks that heads read, found offline: one row for each layer, one share for each head. */
export interface HeadShares {
  /** [layer][head], above 0 and at most 1. */
  readonly shares: readonly (readonly number[])[];
}

/**
 * Rank with a budget for each layer and head from a table; the cut of the method's only level scales them all (MoA, arXiv 2406.14909, and DAM
 * keep such tables).
 * @throws RangeError for a table with a share outside (0, 1] or, when it is used, without the layer or heads of a call.
 */
export const offline = (options: HeadShares): Selector => {
  checkOptions('offline', options, ['shares'], ['shares']);
  const { shares } = options;
  if (!Array.isArray(shares as unknown))
    throw new TypeError(`the shares of offline are ${shown(shares)}; give a list by layer of lists by head`);
  for (const [layer, ofLayer] of shares.entries())
    for (const [head, share] of ofLayer.entries())
      if (!(share > 0 && share <= 1))
        throw new RangeError(`the share of head ${head} in layer ${layer} is ${share}; give one above 0 and at most 1`);
  return ({ ops, q, site, forced }, scores, levels) => {
    const [heads, own] = [q.shape[0], shares[site.layer]];
    if (own?.length !== heads)
      throw new RangeError(
        `the table has ${own?.length ?? 'no'} shares for layer ${site.layer} with ${heads} heads; make one for this model`,
      );
    const widest = Math.max(...own);
    const cut = levels.map((level) => ({ ...level, upTo: level.upTo * widest }));
    return ops.scope(() => {
      const budgets = ops.upload(
        Float32Array.from(own, (share) => share / widest),
        [heads],
      );
      return ops.select(scores, { measure: 'rank', levels: cut, budgets, forced });
    });
  };
};
