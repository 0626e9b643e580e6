// A scorer for plans that read the rest coarsely: what is lost when a block is read as its mean.
import type { Call, Scorer } from '../method.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { perLayouts } from './tables.ts';

/** Options of `poolingError`. */
export interface PoolingErrorOptions {
  /** Errors of weighed values; of weights alone when false. Default true. */
  readonly values?: boolean;
  /** So many queries that follow each other in a block are judged by their mean, a multiple of 8 that divides the block. Default: all of a block. */
  readonly queries?: number;
}

/**
 * Squared error that the queries of a block make, by their mean, when they read a key block as its mean instead of in full, over the block's tokens:
 * error for each unit of cost. With `values` of weighed values, not of weights alone (SVG-EAR, arXiv 2603.08982, its error-aware routing). For
 * levels whose last reads the rest pooled. Departs: it is for any layout, blocks instead of whole clusters, and weights are shares of their row's
 * softmax, so that rows weigh alike, also those of different heads, and no exp overflows. With `queries` the mean over smaller groups, whose means
 * say more of their tokens: at 8 an eighth of the products of full attention.
 * @throws RangeError for queries that are no multiple of 8; when scoring, unless they divide the block; TypeError for them in a layout by head.
 */
export const poolingError = ({ values = true, queries }: PoolingErrorOptions = {}): Scorer => {
  if (queries !== undefined && !(queries >= 8 && queries % 8 === 0))
    throw new RangeError(`groups of ${queries} queries have no mean here; give a multiple of 8, or leave it out`);
  const groups = perLayouts(({ q }) => groupsOf(q, queries!));
  const score = ({ ops, q, k, v, layout }: Call): Tensor =>
    ops.scope(() => {
      const errorsOf = (of: Layout) => ops.poolingError(ops.blockMeans(q, of), k, layout.k, values ? v : undefined);
      if (queries === undefined) return errorsOf(layout.q);
      if (layout.q.heads) throw new TypeError(`${layout.q.name} gives each head blocks of its own, which are not cut; leave out queries`);
      const { small, members } = groups(layout);
      return ops.blockMeans(errorsOf(small), members);
    });
  return Object.assign(score, { forced: () => 0 });
};

/** The blocks of a layout in groups of `size` slots, and its blocks as blocks of these groups, of which those without a token do not count. */
function groupsOf(layout: Layout, size: number): { readonly small: Layout; readonly members: Layout } {
  const { block, blocks, videoBlocks, counts, name } = layout;
  if (block % size !== 0) throw new RangeError(`blocks of ${block} queries are no groups of ${size}; give a divisor, such as 8`);
  const each = block / size;
  const held = Int32Array.from(counts, (count) => Math.ceil(count / size));
  const tokens = Int32Array.from({ length: blocks * each }, (_, at) =>
    Math.max(0, Math.min(size, counts[Math.floor(at / each)] - (at % each) * size)),
  );
  return {
    small: {
      ...layout,
      ...{ name: `${name} by ${size}`, block: size, blocks: blocks * each, videoBlocks: videoBlocks * each, counts: tokens },
    },
    members: { ...layout, name: `groups of ${name}`, block: each, counts: held },
  };
}
