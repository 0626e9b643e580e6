// A scorer for plans that read the rest coarsely: what is lost when a block is read as its mean.
import type { Call, Scorer } from '../method.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Squared error that the mean query of a query block makes when it reads a key block as its mean instead of in full, over the block's tokens: error
 * for each unit of cost. With `values` of weighed values, not of weights alone (SVG-EAR, arXiv 2603.08982, its error-aware routing). For levels whose last
 * reads the rest pooled. Departs: it is for any layout, blocks instead of whole clusters, and weights are shares of their row's softmax, so that rows weigh alike
 * and no exp overflows.
 * @param options All have defaults.
 * @param options.values Errors of weighed values; of weights alone when false. Default true.
 */
export const poolingError = ({ values = true } = {}): Scorer => {
  const score = ({ ops, q, k, v, layout }: Call): Tensor =>
    ops.scope(() => ops.poolingError(ops.blockMeans(q, layout.q), k, layout.k, values ? v : undefined));
  return Object.assign(score, { forced: () => 0 });
};
