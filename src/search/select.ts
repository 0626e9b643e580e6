// Selectors: in what measure are scores compared. Each returns a stage, scores -> plan; the cuts are in the levels. Forced blocks
// (+Infinity) are always read at the finest level and are outside every share below; forbidden ones (-Infinity) are never read. A row keeps
// at least its best block; equal scores go by the lower index.
import type { Call, Selector } from '../method.ts';
import type { Tensor } from '../tensor.ts';

/** Cuts are shares of a row's key blocks: with `upTo(0.2)` the best fifth, rounded up (top-k). */
export const rank =
  (): Selector =>
  ({ ops, forced }, scores, levels) =>
    ops.select(scores, { measure: 'rank', levels, forced });

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

export interface MassOptions {
  /** At least this share of the key blocks is read at the finest level. */
  readonly floor?: number;
  /** Moves a key block to a finer level than its score asks for. */
  readonly cap?: SimilarityCap;
}

/** Cuts are shares of a row's score mass; the block that crosses a cut is in (top-p). */
export const mass =
  ({ floor, cap }: MassOptions = {}): Selector =>
  (call, scores, levels) =>
    call.ops.select(scores, { measure: 'mass', levels, floor, cap: cap?.(call), forced: call.forced });

/**
 * Rank with three budgets (AdaSpa, arXiv 2502.21079, section 4.2): heads that keep more than `threshold` of their mass, at most half of
 * all, are cut to sparsity (1 + s) / 2; as many of least recall get (3 s - 1) / 2. Heads of one batch item are compared. Mean sparsity
 * stays s.
 */
export const headAdaptive =
  ({ threshold = 0.8 } = {}): Selector =>
  ({ ops, forced }, scores, levels) => {
    const budgets = ops.scope(() => {
      const recall = ops.recall(scores, ops.select(scores, { measure: 'rank', levels, forced }));
      return ops.headBudgets(recall, { threshold, sparsity: 1 - levels[0].upTo });
    });
    return ops.select(scores, { measure: 'rank', levels, budgets, forced });
  };
