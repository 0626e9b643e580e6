// A layout by head: the keys that probed queries weigh most share blocks.
import type { LayoutStage, Tokens } from '../method.ts';
import { headShape } from '../sparse3d/heads.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { videoOf } from './orders.ts';
import { probeRows } from './probes.ts';
import { perLayouts } from './tables.ts';

/** How keys are weighed. */
export interface HeavyKeysOptions {
  /** The order of queries. Default tiles of 4 x 4 x 4. */
  readonly queries?: (grid: Grid) => Layout;
  /** Probed queries, at equal steps through the video. Default 64. */
  readonly rows?: number;
}

/**
 * Each head's keys by the softmax weight that some queries give them in all, the heaviest first; text behind them (PBS-Attn, arXiv 2510.21270,
 * which sorts keys so within segments of 256 of a causal text, by the last block of queries).
 * @throws RangeError unless rows are a whole number from 1 up.
 */
export const heavyKeys = ({ queries = tiles(4, 4, 4), rows = 64 }: HeavyKeysOptions = {}): LayoutStage => {
  if (!(Number.isInteger(rows) && rows >= 1)) throw new RangeError(`${rows} probed rows weigh no keys; give a whole number from 1 up`);
  const keys = raster(64);
  const shapes = new WeakMap<Layout, Layout>();
  const shapeOf = (grid: Grid): Layout => {
    const { block, videoBlocks, counts } = keys(grid);
    const known = shapes.get(keys(grid)) ?? headShape({ name: 'heavyKeys', grid, block, videoBlocks, counts });
    shapes.set(keys(grid), known);
    return known;
  };
  const stage: LayoutStage = (grid, _, tokens) => {
    const [q, shape] = [queries(grid), shapeOf(grid)];
    if (!tokens) return { q, k: shape };
    const weights = weightsOf(tokens, { q, k: keys(grid) }, rows);
    return { q, k: tokens.ops.byWeight(weights, shape) };
  };
  return Object.assign(stage, { byHead: true });
};

/** What probed rows weigh each token of the video in all, f32 [heads, video]. */
function weightsOf({ ops, q, k }: Tokens, layout: { q: Layout; k: Layout }, count: number): Tensor {
  const rows = probeRows(layout.q, count);
  const weights = ops.probe(ops.gather(q, layout.q), ops.gather(k, layout.k), rows, layout);
  const [heads, , slots] = weights.shape;
  // Slots as blocks of one.
  const single = { ...layout.k, block: 1, blocks: slots };
  const { columns } = ops.lineSums(weights, rows, { q: layout.q, k: single });
  const all = ops.scatter(ops.reshape(columns, [heads, slots]), layout.k);
  const video = videoOf(layout.k);
  return video === tokensOf(layout.k.grid) ? all : ops.gather(all, firstTokens({ q: layout.k, k: layout.k }));
}

/** The tokens of the video alone; kept, since devices keep tables of layouts. */
const firstTokens = perLayouts(({ k }): Layout => {
  const video = videoOf(k);
  return {
    ...{ name: 'tokens of the video', grid: k.grid, block: video, blocks: 1, videoBlocks: 1 },
    order: Int32Array.from({ length: video }, (_, token) => token),
    counts: Int32Array.of(video),
  };
});
