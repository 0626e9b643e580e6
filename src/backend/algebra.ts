// What scorers are put together from: block means, products of small tables, and arithmetic along rows. Part of `Backend`.
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

/** What `reduce` makes of a row. */
export type Reduction = 'sum' | 'max' | 'mean';

/**
 * Operations on score tables, f32 unless said. An infinite score is a decision, not a number: arithmetic leaves +Infinity (forced) and
 * -Infinity (forbidden) as they are, and sums do without them.
 */
export interface Algebra {
  /**
   * Mean of each block's real tokens: f32 [heads, blocks, dim] of blocked x; with `normalized` the mean of x / |x|, where a token of zeros
   * stays zero. The squared length of the latter is the mean cosine of all pairs of a block's tokens.
   */
  blockMeans(x: Tensor, layout: Layout, options?: { readonly normalized?: boolean }): Tensor;
  /** Blocked x less the mean of each head's real tokens, stored as x is; PAD stays zero ("smooth K", SageAttention). */
  center(x: Tensor, layout: Layout): Tensor;
  /** scale * a.b: [heads, n, depth] x [heads | 1, m, depth] -> [heads, n, m]. */
  product(a: Tensor, b: Tensor, scale: number): Tensor;
  /** Softmax along the last axis. -Infinity has no share, +Infinity stays and has none either; a row without a finite number has no shares. */
  softmax(x: Tensor): Tensor;
  /** The last axis as one number, [..., n] -> [...]. Sum and mean are of finite numbers, 0 where there are none. */
  reduce(x: Tensor, how: Reduction): Tensor;
  /** Where the largest number of the last axis is, the first of equal ones: i32, [..., n] -> [...]. */
  argmax(x: Tensor): Tensor;
  /** The finite numbers of the last axis brought to 0..1, least to largest (min-max); 1 where all are equal. */
  minMax(x: Tensor): Tensor;
  /** 1 for the `count` largest numbers of the last axis, the first of equal ones, 0 for the others; -Infinity is never among them. */
  top(x: Tensor, count: number): Tensor;
  /** `below` where x < threshold, `otherwise` where it is not, of x's shape; both may be infinite. */
  step(x: Tensor, threshold: number, below: number, otherwise: number): Tensor;
  /** a * b; shapes of one rank, at most 4, where a size of 1 is repeated. An infinite b replaces a. @throws RangeError for unlike shapes. */
  multiply(a: Tensor, b: Tensor): Tensor;
  /**
   * Adds forcing to scores: +Infinity forces, -Infinity forbids, a number is added. `force` is [qBlocks, kBlocks] for all heads, or of the
   * scores' rank where a size of 1 is repeated. @throws RangeError for unlike shapes.
   */
  force(scores: Tensor, force: Tensor): Tensor;
  /** For each head one table of several: [choices, qBlocks, kBlocks] and i32 [heads] -> [heads, qBlocks, kBlocks]; choices are bounded. */
  pick(tables: Tensor, choice: Tensor): Tensor;
  /** The same numbers, f32 or i32, in another shape. @throws RangeError when it holds more or fewer. */
  reshape(x: Tensor, shape: readonly number[]): Tensor;
}
