// A layout by head: tokens that are alike share blocks. k-means of queries and of keys, with the centers of the search before as a start.
import type { Backend } from '../backend/backend.ts';
import type { LayoutStage } from '../method.ts';
import { headShape } from '../sparse3d/heads.ts';
import type { Grid, Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { videoOf } from './orders.ts';

/** How tokens are put together. */
export interface ClusterOptions {
  /** Most clusters of queries. Default 100. */
  readonly queries?: number;
  /** Most clusters of keys. Default 500. */
  readonly keys?: number;
  /** Slots of a block of queries, a multiple of 8: each cluster is cut in blocks of so many, the last one padded. Default 64. */
  readonly queryBlock?: number;
  /** Slots of a block of keys, a multiple of 8. Default 32. */
  readonly keyBlock?: number;
  /** Turns of k-means at the first search of a layer. Default 10. */
  readonly first?: number;
  /** Turns of k-means at each later search. Default 2. */
  readonly turns?: number;
}

/** Clusters are no smaller than so many blocks on average, so that padding stays near an eighth. */
const BLOCKS_EACH = 4;

/**
 * Each head's queries and keys in clusters of their own, by k-means of what attention sees (after rotation), each cluster in blocks of its own;
 * text behind them (Sparse VideoGen 2, arXiv 2505.18875, semantic-aware permutation). Departs: a cluster larger than a block is several
 * blocks, each judged and read by itself; there are fewer clusters on small grids; the first centers are tokens at equal steps, and the first
 * search takes 10 turns for 50. Each guidance branch has centers of its own, which the authors' code lets them share.
 * @throws RangeError for a number that is not whole and above 0, or a block that is no multiple of 8.
 */
export const clusters = (options: ClusterOptions = {}): LayoutStage => {
  const { queries = 100, keys = 500, queryBlock = 64, keyBlock = 32, first = 10, turns = 2 } = options;
  checkOptions({ queries, keys, queryBlock, keyBlock, first, turns });
  const sides = new Map<string, Record<'q' | 'k', Side>>();
  const sidesOf = (grid: Grid): Record<'q' | 'k', Side> => {
    const key = `${grid.frames}x${grid.height}x${grid.width}+${grid.text}`;
    const known = sides.get(key) ?? { q: sideOf(grid, queries, queryBlock), k: sideOf(grid, keys, keyBlock) };
    sides.set(key, known);
    return known;
  };
  const stage: LayoutStage = (grid, _, tokens) => {
    const of = sidesOf(grid);
    if (!tokens) return { q: of.q.shape, k: of.k.shape };
    const { ops, memory } = tokens;
    const side = (name: 'q' | 'k') => {
      const start = memory.centers?.[name] ?? ops.cast(ops.gather(tokens[name], of[name].first), 'f32');
      return clustered(ops, tokens[name], start, of[name].shape, memory.centers ? turns : first);
    };
    const [q, k] = [side('q'), side('k')];
    if (memory.centers) for (const before of [memory.centers.q, memory.centers.k]) ops.release(before);
    memory.centers = { q: ops.keep(q.centers), k: ops.keep(k.centers) };
    return { q: q.layout, k: k.layout };
  };
  return Object.assign(stage, { byHead: true });
};

/** So many turns of k-means, and the tokens by their cluster. */
function clustered(ops: Backend, x: Tensor, start: Tensor, shape: Layout, turns: number): { layout: Layout; centers: Tensor } {
  return ops.scope(() => {
    const video = videoOf(shape);
    let centers = start;
    for (let turn = 0; turn < turns; turn++) centers = ops.labelMeans(x, ops.nearest(x, centers, video), centers);
    return { layout: ops.byLabel(ops.nearest(x, centers, video), start.shape[1], shape), centers };
  });
}

/** What is known of queries or keys before they are. */
interface Side {
  readonly shape: Layout;
  /** The tokens that are the first centers; kept, since devices keep tables of layouts. */
  readonly first: Layout;
}

/** There are at most as many blocks as when every cluster but one ends a token into its last block. */
function sideOf(grid: Grid, most: number, block: number): Side {
  const video = grid.frames * grid.height * grid.width;
  const count = Math.max(1, Math.min(most, Math.floor(video / (BLOCKS_EACH * block))));
  const name = `clusters(${most})`;
  const order = Int32Array.from({ length: count }, (_, at) => Math.floor(((at + 0.5) * video) / count));
  return {
    shape: headShape({ name, grid, block, videoBlocks: Math.floor((video - count) / block) + count }),
    first: { name: `first of ${name}`, grid, block: count, blocks: 1, videoBlocks: 1, order, counts: Int32Array.of(count) },
  };
}

function checkOptions(options: Required<ClusterOptions>): void {
  for (const [name, number] of Object.entries(options))
    if (!(Number.isInteger(number) && number >= 1))
      throw new RangeError(`clusters take ${name} ${number} for no number of them; give a whole number from 1 up`);
  for (const block of [options.queryBlock, options.keyBlock])
    if (block % 8 !== 0) throw new RangeError(`a block of ${block} tokens is no multiple of 8; choose 64, or 32`);
}
