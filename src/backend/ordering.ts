// What orders of each head's own are found by: clusters of tokens, and tokens by weight. Part of `Backend`.
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

/** Tokens are in raster order; the first ones are the video's. */
export interface Ordering {
  /**
   * For each of the first `tokens` rows of x [heads, rows, dim] the center, f32 [heads, centers, dim], at the least distance, the first of equal
   * ones: i32 [heads, tokens].
   */
  nearest(x: Tensor, centers: Tensor, tokens: number): Tensor;
  /** The mean of the rows of x that have each label, i32 [heads, tokens]: f32 as `centers`, whose row stays where no token has the label. */
  labelMeans(x: Tensor, labels: Tensor, centers: Tensor): Tensor;
  /**
   * The video's tokens by label and then as they were, each of `count` labels in blocks of its own, as a layout of a shape with heads. A head
   * fills the blocks that it needs; those behind them, up to the shape's, hold no token.
   */
  byLabel(labels: Tensor, count: number, shape: Layout): Layout;
  /** The video's tokens by falling weight, f32 [heads, video tokens], the first of equal ones first, as a layout of a shape with heads and counts. */
  byWeight(weights: Tensor, shape: Layout): Layout;
}
