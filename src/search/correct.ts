// Corrections: what is added for what a plan left out. Each returns a stage, blocked results in and out; the log-sum-exp stays that of the plan.
import type { Backend } from '../backend/backend.ts';
import type { Call, Correction } from '../method.ts';
import { type Layout, PAD, tokensOf } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

/** Options of `delta`. */
export interface DeltaOptions {
  /** Measure what is missing at searches alone, and add that until the next one (ours). Default: at every step. */
  readonly keep?: boolean;
}

/**
 * One dense row for each query block: what the plan left out of its first token's output is added to all tokens of the block (Delta Attention,
 * arXiv 2505.11254, section 3; there groups of 64 neighbours in a text, unproven on video). Costs one row of 64.
 */
export const delta = ({ keep = false }: DeltaOptions = {}): Correction => {
  const correct: Correction = (call, { out, lse }) => {
    const missing = remembered(call, keep, () => missingOf(call, out, firstOf(call.layout.q)));
    return { out: add(call.ops, out, call.ops.gather(missing, firstOf(call.layout.q).spread)), lse };
  };
  const share: Correction['share'] = (call) => (keep && !isDue(call) ? 0 : call.layout.q.blocks / tokensOf(call.layout.q.grid));
  return Object.assign(correct, { share });
};

/**
 * All that the plan left out, measured by a dense call at each search and added until the next one (DiTFastAttn, arXiv 2406.08552, window
 * attention with residual sharing; there for windows).
 */
export const keptResidual = (): Correction => {
  const correct: Correction = (call, { out, lse }) => {
    const missing = remembered(call, true, () => missingOf(call, out));
    return { out: add(call.ops, out, missing), lse };
  };
  return Object.assign(correct, { share: (call: Remembering): number => (isDue(call) ? 1 : 0) });
};

type Remembering = Pick<Call, 'phase' | 'memory'>;

/** Whether what is missing is measured in this call: at a search, and where nothing is remembered. */
const isDue = ({ phase, memory }: Remembering): boolean => phase !== 'reuse' || !memory.residual;

/** What is measured now, or what the last search measured. */
function remembered(call: Call, keep: boolean, measure: () => Tensor): Tensor {
  const { ops, memory } = call;
  if (!keep) return measure();
  if (isDue(call) || !memory.residual) {
    if (memory.residual) ops.release(memory.residual);
    memory.residual = ops.keep(measure());
  }
  return memory.residual;
}

/** Dense output less `out`, f32: of all slots, or of the first of each block. */
function missingOf({ ops, q, k, v, layout }: Call, out: Tensor, first?: First): Tensor {
  const of = first?.packed ?? layout.q;
  const picked = (x: Tensor) => (first ? ops.gather(x, first.rows) : x);
  const [heads] = q.shape;
  const plan = {
    counts: ops.upload(new Int32Array(heads * of.blocks).fill(layout.k.blocks), [heads, of.blocks, 1]),
    blocks: ops.upload(new Int32Array(heads * of.blocks).fill(PAD), [heads, of.blocks, 1]),
    levels: [{ pool: 1, upTo: 1 }],
    keyBlocks: layout.k.blocks,
  };
  const dense = ops.attend(picked(q), k, v, plan, { q: of, k: layout.k }, { lse: false }).out;
  return ops.combine([ops.cast(dense, 'f32'), ops.cast(picked(out), 'f32')], [1, -1]);
}

/** The sum in the type of x. */
const add = (ops: Backend, x: Tensor, y: Tensor): Tensor =>
  ops.cast(ops.combine([ops.cast(x, 'f32'), y], [1, 1]), x.dtype as 'f32' | 'f16');

interface First {
  /** Slots -> the first slot of each block, in blocks of their own, whose layout is `packed`. */
  readonly rows: Layout;
  readonly packed: Layout;
  /** Those -> slots: each block's row in all of its tokens. */
  readonly spread: Layout;
}

const known = new WeakMap<Layout, First>();

/** How the first rows of a layout's blocks are picked out, and spread over their blocks again: gathers of slots that are taken for tokens. */
function firstOf(layout: Layout): First {
  const made = known.get(layout);
  if (made) return made;
  const { block, blocks, counts } = layout;
  const groups = Math.ceil(blocks / block);
  const slots = groups * block;
  const packed: Layout = {
    ...{ name: `first rows of ${layout.name}`, grid: gridOf(blocks), block, blocks: groups, videoBlocks: groups },
    order: Int32Array.from({ length: slots }, (_, at) => (at < blocks ? at : PAD)),
    counts: Int32Array.from({ length: groups }, (_, group) => Math.min(block, blocks - group * block)),
  };
  const rows = { ...packed, grid: gridOf(blocks * block), order: packed.order.map((at) => (at === PAD ? PAD : at * block)) };
  const order = layout.order.map((_, slot) => (slot % block < counts[Math.floor(slot / block)] ? Math.floor(slot / block) : PAD));
  const first = { rows, packed, spread: { ...layout, name: `rows over ${layout.name}`, grid: gridOf(slots), order } };
  known.set(layout, first);
  return first;
}

const gridOf = (tokens: number) => ({ frames: tokens, height: 1, width: 1, text: 0 });
