// The best of several static patterns for each head, judged by a few rows of queries: the tables that are judged are the ones that run.
import type { Backend } from '../backend/backend.ts';
import { shown } from '../checks.ts';
import type { Call, Decided, Layouts, Scorer } from '../method.ts';
import { type Layout, PAD, type Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { type Pattern, union } from './pattern.ts';
import { neverEmpty, tablesOf } from './pattern-tables.ts';
import { text } from './patterns.ts';
import { probeRows } from './probes.ts';
import { perBackend, perLayouts } from './tables.ts';

/** How candidates are judged. */
export interface BestOfOptions {
  /** The larger share of the rows' softmax weights that is kept, or the smaller squared error of their outputs to full attention. */
  readonly by?: 'recall' | 'error';
  /** Rows of queries to judge by, spread over the video. Default 64. */
  readonly rows?: number;
  /** Take the first candidate that recalls at least this share, the last when none before it does. */
  readonly atLeast?: number;
}

/**
 * For each head one of `candidates`: what it reads is forced, all else forbidden; text is read in full, and a row that a candidate leaves
 * empty reads its own blocks. (SVG, arXiv 2502.01776, by error; RainFusion, arXiv 2505.21036, by recall of at least a share, in turn. There
 * rows are drawn at random, or from the first frame; evenly spaced ones are ours, for errors in groups of 8 of a block.)
 * @throws RangeError for no candidates, rows or a share out of range; TypeError for a share that errors should reach.
 */
export const bestOf = (candidates: readonly Pattern[], { by = 'recall', rows = 64, atLeast }: BestOfOptions = {}): Scorer => {
  if (!Array.isArray(candidates)) throw new TypeError(`bestOf takes a list of patterns; ${shown(candidates)} was given`);
  checkOptions(candidates, by, rows, atLeast);
  const all: Pattern = (layout) => candidates.flatMap((candidate) => neverEmpty(union(candidate, text()))(layout));
  const tables = tablesOf(all, -Infinity);
  const merits = by === 'recall' ? recalls(tables.masks, rows) : errors(tables.masks, rows);
  const score = (call: Call): Tensor =>
    call.ops.scope(() => call.ops.pick(tables(call.ops, call.layout), best(call.ops, merits(call), atLeast)));
  const decided = (layout: Layouts): Decided => ({ forced: tables.share(layout), open: 0 });
  return Object.assign(score, { forced: (layout: Layouts) => tables.most(layout), decided });
};

/** How good each candidate is for each head: f32 [1, heads] each, the more the better. */
type Merits = (call: Call) => readonly Tensor[];
type Masks = ReturnType<typeof tablesOf>['masks'];

/** The best candidate of each head, i32 [heads]; with `atLeast` the first of such merit, or the last. */
function best(ops: Backend, merits: readonly Tensor[], atLeast?: number): Tensor {
  const [, heads] = merits[0].shape;
  const good = (merit: Tensor, at: number): Tensor => {
    if (atLeast === undefined) return merit;
    const isLast = at === merits.length - 1;
    return isLast ? ops.upload(new Float32Array(heads).fill(0.5), [1, heads]) : ops.step(merit, atLeast, 0, 1);
  };
  const byCandidate = ops.reshape(ops.concat(merits.map(good)), [1, merits.length, heads]);
  const unit = Float32Array.from({ length: heads * heads }, (_, at) => Number(at % (heads + 1) === 0));
  const byHead = ops.product(ops.upload(unit, [1, heads, heads]), byCandidate, 1);
  return ops.reshape(ops.argmax(byHead), [heads]);
}

/** The mean share of the softmax weights of rows that each candidate keeps. */
function recalls(masksOf: Masks, count: number): Merits {
  const probes = perBackend((ops, layout) => {
    const { q, k } = layout;
    const rows = probeRows(q, count);
    const kept = masksOf(layout).map((mask) => {
      const ofRows = [...rows].map((slot) => mask.subarray(Math.floor(slot / q.block) * k.blocks).subarray(0, k.blocks));
      const numbers = Float32Array.from({ length: rows.length * k.blocks }, (_, at) => ofRows[Math.floor(at / k.blocks)][at % k.blocks]);
      return ops.keep(ops.upload(numbers, [1, rows.length, k.blocks]));
    });
    return { rows, kept };
  });
  return ({ ops, q, k, layout }) => {
    const { rows, kept } = probes(ops, layout);
    const weights = ops.probeBlocks(q, k, rows, layout);
    return kept.map((mask) => {
      const shares = ops.reduce(ops.multiply(weights, mask), 'sum');
      return ops.reshape(ops.reduce(shares, 'mean'), [1, q.shape[0]]);
    });
  };
}

/** Less the mean squared error of the outputs of rows, by each candidate, to full attention. */
function errors(masksOf: Masks, count: number): Merits {
  const sampled = perLayouts((layout) => {
    const rows = rowsOf(layout.q, count);
    const everything = new Uint8Array(layout.q.blocks * layout.k.blocks).fill(1);
    return { ...rows, plans: [...masksOf(layout), everything].map((mask) => listed(mask, rows.of, layout.k.blocks)) };
  });
  return ({ ops, q, k, v, layout }) => {
    const { taken, packed, plans } = sampled(layout);
    const [heads] = q.shape;
    const queries = ops.gather(q, taken);
    const outputs = plans.map((lists) => {
      const plan = planOf(ops, lists, heads, layout.k.blocks);
      return ops.cast(ops.attend(queries, k, v, plan, { q: packed, k: layout.k }, { lse: false }).out, 'f32');
    });
    return outputs.slice(0, -1).map((out) => {
      const difference = ops.combine([out, outputs[outputs.length - 1]], [1, -1]);
      const squares = ops.reduce(ops.reduce(ops.multiply(difference, difference), 'sum'), 'mean');
      return ops.reshape(ops.combine([squares], [-1]), [1, heads]);
    });
  };
}

/** Rows to judge by, in groups of a block of their own, and the query blocks that they are of. */
interface Sampled {
  readonly of: readonly number[];
  /** Slots -> rows, a gather of slots that are taken for tokens. */
  readonly taken: Layout;
  /** The layout of the rows. */
  readonly packed: Layout;
}

const GROUP = 8;

function rowsOf(layout: Layout, count: number): Sampled {
  const { videoBlocks, block, blocks, counts } = layout;
  const groups = Math.min(videoBlocks, Math.ceil(count / GROUP));
  const of = Array.from({ length: groups }, (_, group) => Math.floor(((group + 0.5) * videoBlocks) / groups));
  const sizes = Int32Array.from(of, (from) => Math.min(GROUP, counts[from]));
  const slots = new Int32Array(groups * GROUP).fill(PAD);
  const rows = slots.slice();
  let tokens = 0;
  for (const [group, from] of of.entries())
    for (let at = 0; at < sizes[group]; at++) {
      slots[group * GROUP + at] = from * block + Math.floor(((at + 0.5) * counts[from]) / sizes[group]);
      rows[group * GROUP + at] = tokens++;
    }
  const shared = { name: `rows of ${layout.name}`, block: GROUP, blocks: groups, videoBlocks: groups, counts: sizes };
  return { of, taken: { ...shared, grid: lineOf(blocks * block), order: slots }, packed: { ...shared, grid: lineOf(tokens), order: rows } };
}

const lineOf = (tokens: number) => ({ frames: tokens, height: 1, width: 1, text: 0 });

/** For each of some rows of a mask, the key blocks that it reads. */
const listed = (mask: Uint8Array, rows: readonly number[], kBlocks: number): readonly (readonly number[])[] =>
  rows.map((row) => [...mask.subarray(row * kBlocks, (row + 1) * kBlocks)].flatMap((read, block) => (read ? [block] : [])));

/** The plan of lists that are the same for all heads. */
function planOf(ops: Backend, lists: readonly (readonly number[])[], heads: number, keyBlocks: number): Plan {
  const width = Math.max(...lists.map((list) => list.length));
  const [counts, blocks] = [new Int32Array(heads * lists.length), new Int32Array(heads * lists.length * width).fill(PAD)];
  for (let row = 0; row < heads * lists.length; row++) {
    const list = lists[row % lists.length];
    counts[row] = list.length;
    blocks.set(list, row * width);
  }
  const upload = (numbers: Int32Array, last: number) => ops.upload(numbers, [heads, lists.length, last]);
  return { counts: upload(counts, 1), blocks: upload(blocks, width), levels: [{ pool: 1, upTo: 1 }], keyBlocks };
}

function checkOptions(candidates: readonly Pattern[], by: 'recall' | 'error', rows: number, atLeast?: number): void {
  if (candidates.length === 0) throw new RangeError('bestOf got no candidates to choose from; give at least one pattern');
  if (!Number.isInteger(rows) || rows < 1) throw new RangeError(`bestOf cannot judge by ${rows} rows; give a whole number from 1`);
  if (atLeast === undefined) return;
  if (by === 'error') throw new TypeError('bestOf by error takes the least error; leave out `atLeast`, or choose by recall');
  if (!(atLeast > 0 && atLeast <= 1))
    throw new RangeError(`a recall of at least ${atLeast} is out of range; give a share above 0 and at most 1`);
}
