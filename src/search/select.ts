// Selectors: in what measure are scores compared. Each returns a stage, scores -> plan; the cuts are in the levels. Forced blocks
// (+Infinity) are always read at the finest level and are outside every share below; forbidden ones (-Infinity) are never read. A row keeps
// at least its best block; equal scores go by the lower index.
import type { Call, Selector } from '../method.ts';
import type { Level, Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { flopShare } from './levels.ts';

/** What every cut may be bound by. */
export interface CutOptions {
  /**
   * Whose blocks compete: a row's (default), a head's, or all heads'. Over more than a row, rows read more or less, and one that would be empty
   * keeps its best block; of equal scores at a cut, those of earlier rows go first.
   */
  readonly over?: 'row' | 'head' | 'layer';
  /** At least this share of a row's key blocks is read at the finest level. */
  readonly floor?: number;
  /** At most this share of a row's key blocks is read at the finest level. */
  readonly ceiling?: number;
}

/** Cuts are shares of key blocks: with `upTo(0.2)` the best fifth, rounded up (top-k). */
export const rank =
  (options: CutOptions = {}): Selector =>
  ({ ops, forced }, scores, levels) =>
    ops.select(scores, { ...options, measure: 'rank', levels, forced });

/** How coarsely a key block may be read, by how alike its tokens are. */
export type SimilarityCap = (call: Call) => Tensor;

/**
 * Per key block the coarsest pool factor whose mean cosine is above its bound; 1 when none is. For factor g the cosines are of the first
 * and last token of each group of g, in layout order (PSA, arXiv 2512.04025, section 3: .70 / .65 / .60 for 2 / 4 / 8).
 */
export const similarityCap =
  (pools: readonly { readonly pool: number; readonly cosine: number }[]): SimilarityCap =>
  ({ ops, k, layout }) =>
    ops.poolCap(k, layout.k, pools);

/** Options of `mass`. */
export interface MassOptions extends CutOptions {
  /** Moves a key block to a finer level than its score asks for. */
  readonly cap?: SimilarityCap;
}

/** Cuts are shares of score mass; the block that crosses a cut is in (top-p). */
export const mass = ({ cap, ...options }: MassOptions = {}): Selector => {
  const select: Selector = (call, scores, levels) =>
    call.ops.select(scores, { ...options, measure: 'mass', levels, cap: cap?.(call), forced: call.forced });
  const { floor = 0, ceiling = 1 } = options;
  // The best blocks hold no less of the mass than of the blocks.
  return Object.assign(select, { share: ([first, ...others]: readonly Level[]) => flopShare([bounded(first, floor, ceiling), ...others]) });
};

const bounded = ({ pool, upTo }: Level, floor: number, ceiling: number): Level => ({
  pool,
  upTo: Math.max(floor, Math.min(upTo, ceiling)),
});

/** Options of `margin`. */
export interface MarginOptions extends Omit<CutOptions, 'over'> {
  /** What distances count from: the row's best score that is not forced (default), or zero, for scores that are already less their anchor. */
  readonly anchor?: 'best' | 'zero';
}

/**
 * Cuts are distances from an anchor, for scores that are logits: with `within(4)` all blocks that are at most 4 nats below it. No sum, no softmax
 * (AnchorAttention, arXiv 2505.23520, takes its anchor from common patterns; LiteAttention, arXiv 2511.11062, the running maximum).
 */
export const margin =
  (options: MarginOptions = {}): Selector =>
  ({ ops, forced }, scores, levels) =>
    ops.select(scores, { ...options, measure: 'margin', levels, forced });

/** Options of `headAdaptive`. */
export interface HeadAdaptiveOptions {
  /** Heads that recall more than this give of their budget. Default .8. */
  readonly threshold?: number;
  /** Share of each head's mass that a plan of equal budgets keeps: f32 [heads]. Default: of the mass that the scores are. */
  readonly recall?: (call: Call, scores: Tensor, plan: Plan) => Tensor;
}

/**
 * Rank with three budgets (AdaSpa, arXiv 2502.21079, section 4.2): heads that keep more than `threshold` of their mass, at most half of
 * all, are cut to sparsity (1 + s) / 2; as many of least recall get (3 s - 1) / 2. Heads of one batch item are compared. Mean sparsity
 * stays s.
 */
export const headAdaptive =
  ({ threshold = 0.8, recall = ({ ops }, ...known) => ops.recall(...known) }: HeadAdaptiveOptions = {}): Selector =>
  (call, scores, levels) => {
    const { ops, forced } = call;
    const budgets = ops.scope(() => {
      const equal = ops.select(scores, { measure: 'rank', levels, forced });
      return ops.headBudgets(recall(call, scores, equal), { threshold, sparsity: 1 - levels[0].upTo });
    });
    return ops.select(scores, { measure: 'rank', levels, budgets, forced });
  };
