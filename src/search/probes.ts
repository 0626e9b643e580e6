// Scorers that look at a few rows of queries in full: what the probed rows read, all are taken to read.
import type { Call, Decided, Layouts, Scorer } from '../method.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { upTo } from './levels.ts';
import { pooled } from './pooled.ts';
import { keptTable } from './tables.ts';

/** Slots of `count` tokens at equal steps through the video of a layout, one of each step's middle; all of them when there are no more. */
export function probeRows({ videoBlocks, block, counts }: Layout, count: number): Int32Array {
  const tokens = counts.subarray(0, videoBlocks).reduce((sum, own) => sum + own, 0);
  const rows = new Int32Array(Math.min(count, tokens));
  for (let row = 0, at = 0, before = 0; row < rows.length; row++) {
    const token = Math.floor(((row + 0.5) * tokens) / rows.length);
    while (token >= before + counts[at]) before += counts[at++];
    rows[row] = at * block + token - before;
  }
  return rows;
}

const ones = keptTable(({ blocks }) => ({ numbers: new Float32Array(blocks).fill(1), shape: [1, blocks, 1] }));

/**
 * Softmax weights of one probed row in every `every` query blocks, summed for each key block: one row of scores for all query blocks of a head
 * (SampleAttention, arXiv 2406.15486, the second stage of its filter; which rows it takes was not read, evenly spaced ones are ours).
 * @param options All have defaults.
 * @param options.every Query blocks for each probed row. Default 8.
 * @throws RangeError unless `every` is a whole number from 1 up.
 */
export const sampledRows = ({ every = 8 } = {}): Scorer => {
  if (!(Number.isInteger(every) && every >= 1))
    throw new RangeError(`one row in every ${every} query blocks is none; give a whole number from 1 up`);
  const score = ({ ops, q, k, layout }: Call): Tensor =>
    ops.scope(() => {
      const rows = probeRows(layout.q, Math.ceil(layout.q.videoBlocks / every));
      const { columns } = ops.lineSums(ops.probeBlocks(q, k, rows, layout), rows, layout);
      return ops.multiply(ones(ops, layout.q), columns);
    });
  return Object.assign(score, { forced: () => 0 });
};

/** Options of `blocksOrLines`. */
export interface BlocksOrLinesOptions {
  /** Heads whose pooled guess of the probed rows is at least so far from their truth read lines. Default .1. */
  readonly threshold?: number;
  /** Share of the probed weight that the columns, and the diagonals, of such a head cover. Default .9. */
  readonly share?: number;
  /** Probed rows. Default 128. */
  readonly rows?: number;
}

/**
 * For each head what suits it (FlexPrefill, arXiv 2502.20766): the softmax of pooled logits, where that of the mean query foretells what probed rows
 * read of each key block; else the best columns and diagonals of block pairs are forced and all else is forbidden. How far the two lie apart is the
 * root of their Jensen-Shannon divergence. Departs: rows are spread over the video instead of the last block's, the guess is that of all queries'
 * mean, and lines are of blocks. For cuts of mass over a head.
 * @throws RangeError for a share outside (0, 1], or rows that are none.
 */
export const blocksOrLines = ({ threshold = 0.1, share = 0.9, rows = 128 }: BlocksOrLinesOptions = {}): Scorer => {
  if (!(share > 0 && share <= 1 && rows >= 1))
    throw new RangeError(`lines that cover ${share} of ${rows} rows are none; give a share above 0 and at most 1, and rows from 1 up`);
  const logits = pooled({ normalize: 'none' });
  return (call) =>
    call.ops.scope(() => {
      const { ops, q, k, layout } = call;
      const probed = probeRows(layout.q, rows);
      const sums = ops.lineSums(ops.probeBlocks(q, k, probed, layout), probed, layout);
      const all = logits(call);
      const starts = Int32Array.from({ length: layout.q.blocks }, (_, at) => at * layout.q.block);
      const mean = (x: Tensor, of: number) => ops.multiply(x, ops.upload(Float32Array.of(1 / of), [1, 1, 1]));
      const guess = ops.softmax(mean(ops.lineSums(all, starts, layout).columns, starts.length));
      const far = ops.divergence(mean(sums.columns, probed.length), guess);
      const best = (x: Tensor) => ops.planTable(ops.select(x, { measure: 'mass', levels: upTo(share) }), { read: 1, left: 0 });
      const lines = ops.step(ops.lines(best(sums.columns), best(sums.diagonals), layout), 0.5, -1, 1);
      // 1 on a line, -1 beside it, and 0 all over a head that needs none.
      const taken = ops.multiply(lines, ops.reshape(ops.step(far, threshold, 0, 1), [q.shape[0], 1, 1]));
      return ops.force(ops.force(ops.softmax(all), ops.step(taken, -0.5, -Infinity, 0)), ops.step(taken, 0.5, 0, Infinity));
    });
};

/** Options of `verticalSlash`. */
export interface VerticalSlashOptions {
  /** Key blocks that all query blocks read. Default 16: 1000 tokens in blocks of 64. */
  readonly columns?: number;
  /** Diagonals of block pairs that are read. Default 96: 6096 tokens. */
  readonly diagonals?: number;
  /** Both are cut down until they are at most this share of a row. Default .5. */
  readonly most?: number;
  /** Probed rows. Default 64. */
  readonly rows?: number;
}

/**
 * Forces the columns and diagonals of block pairs on which probed rows put most weight; the other pairs have the larger weight of their two
 * lines (MInference, arXiv 2407.02490). Departs: rows are spread over the video instead of the last 64, lines are of blocks instead of
 * tokens, and diagonals run on both sides of the main one.
 * @throws RangeError for counts or a share that are not above 0.
 */
export const verticalSlash = ({ columns = 16, diagonals = 96, most = 0.5, rows = 64 }: VerticalSlashOptions = {}): Scorer => {
  for (const [name, count] of Object.entries({ columns, diagonals, most, rows }))
    if (!(count > 0)) throw new RangeError(`verticalSlash takes ${name} above 0, got ${count}; leave it out for the default`);
  const linesOf = ({ k }: Layouts) => {
    const fit = Math.min(1, (most * k.blocks) / (columns + diagonals));
    return [columns, diagonals].map((count) => Math.max(1, Math.floor(count * fit)));
  };
  const score = ({ ops, q, k, layout }: Call): Tensor =>
    ops.scope(() => {
      const probed = probeRows(layout.q, rows);
      const sums = ops.lineSums(ops.probeBlocks(q, k, probed, layout), probed, layout);
      const [best, slashes] = linesOf(layout);
      const forceBest = (x: Tensor, count: number) => ops.force(x, ops.step(ops.top(x, count), 0.5, 0, Infinity));
      return ops.lines(forceBest(sums.columns, best), forceBest(sums.diagonals, slashes), layout);
    });
  const decided = (layout: Layouts): Decided => {
    const [read, crossing] = linesOf(layout).map((count) => Math.min(1, count / layout.k.blocks));
    const both = read + crossing - read * crossing;
    return { forced: both, open: 1 - both };
  };
  return Object.assign(score, { forced: (layout: Layouts) => linesOf(layout)[0] + linesOf(layout)[1], decided });
};
