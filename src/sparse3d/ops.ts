// The CPU backend's part that concerns tokens and blocks: moving between orders, attention, density. Shapes are checked here, at the border.
import type { Attended, Backend } from '../backend/backend.ts';
import { type CpuDevice, contentOf, floatsOf, intsOf, numbersOf } from '../backend/cpu.ts';
import { elements, type Tensor } from '../tensor.ts';
import { attendPlan } from './attend.ts';
import { checkAttention, checkBlocked, checkCombine, checkPlan, checkRaster, checkSplit } from './checks.ts';
import { attendFused, attendTiles } from './dense.ts';
import { differsByHead, headDensity } from './heads.ts';
import { merge } from './merge.ts';
import { readsAll } from './order.ts';
import { gatherRows, scatterRows } from './permute.ts';
import { type Layout, type Plan, slotCount, tokensOf } from './plan.ts';

/** The part of `Backend` that concerns tokens and blocks. */
export type Sparse3dOps = Pick<
  Backend,
  'name' | 'upload' | 'read' | 'wait' | 'split' | 'concat' | 'combine' | 'gather' | 'scatter' | 'attendAll' | 'attend' | 'merge' | 'density'
>;

/** Layout and attention operations on a CPU device; see `Backend` for their meaning. */
export function sparse3dOps(device: CpuDevice): Sparse3dOps {
  return {
    name: 'cpu',
    upload: device.upload,
    read: device.read,
    wait: async (tensor) => void (await contentOf(tensor)),
    split: (x, parts) => split(device, x, parts),
    concat: (parts) => concat(device, parts),
    combine: (parts, weights) => combine(device, parts, weights),
    gather: (x, layout) => gather(device, x, layout),
    scatter: (x, layout) => scatter(device, x, layout),
    attendAll: (q, k, v, { lse = true } = {}) => attendAll(device, q, k, v, lse),
    attend: (q, k, v, plan, layout, { lse = true } = {}) => attend(device, { q, k, v, plan, layout, lse }),
    merge: (a, b) => merge(device, a, b),
    density,
  };
}

function gather(device: CpuDevice, x: Tensor, layout: Layout): Tensor {
  checkRaster(x, layout);
  const [heads, , dim = 1] = x.shape;
  const shape = [heads, slotCount(layout), ...x.shape.slice(2)];
  return device.enqueue([{ shape }], async () => [await gatherRows(device, await floatsOf(x), heads, dim, layout)])[0];
}

function scatter(device: CpuDevice, x: Tensor, layout: Layout): Tensor {
  checkBlocked(x, layout);
  const [heads, , dim = 1] = x.shape;
  const shape = [heads, tokensOf(layout.grid), ...x.shape.slice(2)];
  return device.enqueue([{ shape }], async () => [await scatterRows(device, await floatsOf(x), heads, dim, layout)])[0];
}

function attendAll(device: CpuDevice, q: Tensor, k: Tensor, v: Tensor, withLse: boolean): Attended {
  checkAttention('attendAll', q, k, v);
  const [heads, rows, dim] = q.shape;
  const call = async () => ({ q: await floatsOf(q), k: await floatsOf(k), v: await floatsOf(v), heads, dim });
  if (!withLse) {
    const [out] = device.enqueue([{ shape: q.shape }], async () => [await attendFused(device, await call())]);
    return { out, lse: withoutLse(device, [heads, rows]) };
  }
  const [out, lse] = device.enqueue([{ shape: q.shape }, { shape: [heads, rows] }], async () => attendTiles(device, await call()));
  return { out, lse };
}

function withoutLse(device: CpuDevice, shape: readonly number[]): Tensor {
  return device.enqueue([{ shape }], async () => {
    throw new Error('this attention was computed without its log-sum-exp; call it without lse: false to read it');
  })[0];
}

interface AttendOp {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly plan: Plan;
  readonly layout: { readonly q: Layout; readonly k: Layout };
  readonly lse: boolean;
}

function attend(device: CpuDevice, { q, k, v, plan, layout, lse: withLse }: AttendOp): Attended {
  const [heads, , dim] = q.shape;
  const querySlots = slotCount(layout.q);
  checkAttention('attend', q, k, v, { q: querySlots, k: slotCount(layout.k) });
  checkPlan(plan, heads, layout);
  if (readsAll(plan, layout)) return attendBlock(device, { q, k, v, layout, lse: withLse });
  const pools = plan.levels.map(({ pool }) => pool);
  const width = plan.blocks.shape[2];
  const [out, lse] = device.enqueue([{ shape: q.shape }, { shape: [heads, querySlots] }], async () => {
    const numbers = { counts: await intsOf(plan.counts), blocks: await intsOf(plan.blocks), pools, width };
    const qkv = { q: await floatsOf(q), k: await floatsOf(k), v: await floatsOf(v) };
    return attendPlan(device, { ...qkv, heads, dim, layout, plan: numbers, lse: withLse });
  });
  return { out, lse: withLse ? lse : withoutLse(device, [heads, querySlots]) };
}

/** Every query of a block of q reads every key of a block of k; what stands behind their tokens is left out, and zero in the results. */
function attendBlock(device: CpuDevice, { q, k, v, layout, lse: withLse }: Omit<AttendOp, 'plan'>): Attended {
  const [heads, slots, dim] = q.shape;
  const tokens = { q: layout.q.counts[0], k: layout.k.counts[0] };
  const resized = (x: Float32Array, from: number, to: number) => (from === to ? x : resizeRows(x, heads, from, to));
  const call = async () => ({
    q: resized(await floatsOf(q), slots * dim, tokens.q * dim),
    k: resized(await floatsOf(k), layout.k.block * dim, tokens.k * dim),
    v: resized(await floatsOf(v), layout.k.block * dim, tokens.k * dim),
    ...{ heads, dim },
  });
  const [out, lse] = device.enqueue([{ shape: q.shape }, { shape: [heads, slots] }], async () => {
    const [rows, sums] = withLse ? await attendTiles(device, await call()) : [await attendFused(device, await call()), new Float32Array(0)];
    return [resized(rows, tokens.q * dim, slots * dim), withLse ? resized(sums, tokens.q, slots) : sums];
  });
  return { out, lse: withLse ? lse : withoutLse(device, [heads, slots]) };
}

/** x [heads, from] -> [heads, to]: cut off, or filled up with zeros. */
function resizeRows(x: Float32Array, heads: number, from: number, to: number): Float32Array {
  const y = new Float32Array(heads * to);
  for (let head = 0; head < heads; head++) y.set(x.subarray(head * from, head * from + Math.min(from, to)), head * to);
  return y;
}

async function density({ counts, blocks, levels, keyBlocks = blocks.shape[2] }: Plan, layout?: { q: Layout; k: Layout }): Promise<number> {
  if (layout && differsByHead(layout)) {
    const asked = layout.q.heads?.counts;
    return headDensity(await intsOf(counts), levels, asked && (await intsOf(asked)), layout);
  }
  const [heads, queryBlocks] = blocks.shape;
  const computed = (await intsOf(counts)).reduce((sum, count, at) => sum + count / levels[at % levels.length].pool, 0);
  return computed / (heads * queryBlocks * keyBlocks);
}

function split(device: CpuDevice, x: Tensor, parts: number): Tensor[] {
  const [rows, ...rest] = x.shape;
  checkSplit(x, parts);
  const shape = [rows / parts, ...rest];
  const size = elements(shape);
  return device.enqueue(Array(parts).fill({ shape, dtype: x.dtype }), async () => {
    const numbers = await numbersOf(x);
    return Array.from({ length: parts }, (_, part) => numbers.subarray(part * size, (part + 1) * size));
  });
}

function concat(device: CpuDevice, parts: readonly Tensor[]): Tensor {
  const [, ...rest] = parts[0].shape;
  const shape = [parts.reduce((sum, part) => sum + part.shape[0], 0), ...rest];
  return device.enqueue([{ shape }], async () => {
    const whole = new Float32Array(elements(shape));
    let at = 0;
    for (const part of parts) {
      whole.set(await floatsOf(part), at);
      at += elements(part.shape);
    }
    return [whole];
  })[0];
}

/** Sums in f64, and rounds once. */
function combine(device: CpuDevice, parts: readonly Tensor[], weights: readonly number[]): Tensor {
  checkCombine(parts, weights);
  const { shape } = parts[0];
  return device.enqueue([{ shape }], async () => {
    const numbers = await Promise.all(parts.map(floatsOf));
    const sums = new Float32Array(elements(shape));
    for (let at = 0; at < sums.length; at++) {
      let sum = 0;
      for (let part = 0; part < numbers.length; part++) sum += weights[part] * numbers[part][at];
      sums[at] = sum;
    }
    return [sums];
  })[0];
}
