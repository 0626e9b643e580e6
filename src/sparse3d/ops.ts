// The CPU backend's part that concerns tokens and blocks: moving between orders, attention, density. Shapes are checked here, at the border.
import type { Attended, Backend } from '../backend/backend.ts';
import { type CpuDevice, floatsOf, intsOf } from '../backend/cpu.ts';
import { elements, type Tensor } from '../tensor.ts';
import { attendPlan } from './attend.ts';
import { attendFused, attendTiles } from './dense.ts';
import { gatherRows, scatterRows } from './permute.ts';
import { type Layout, type Plan, tokensOf } from './plan.ts';

/** The part of `Backend` that concerns tokens and blocks. */
export type Sparse3dOps = Pick<
  Backend,
  'name' | 'upload' | 'read' | 'split' | 'concat' | 'gather' | 'scatter' | 'attendAll' | 'attend' | 'density'
>;

/** Layout and attention operations on a CPU device; see `Backend` for their meaning. */
export function sparse3dOps(device: CpuDevice): Sparse3dOps {
  return {
    name: 'cpu',
    upload: device.upload,
    read: device.read,
    split: (x, parts) => split(device, x, parts),
    concat: (parts) => concat(device, parts),
    gather: (x, layout) => gather(device, x, layout),
    scatter: (x, layout) => scatter(device, x, layout),
    attendAll: (q, k, v, { lse = true } = {}) => attendAll(device, q, k, v, lse),
    attend: (q, k, v, plan, layout, { lse = true } = {}) => attend(device, { q, k, v, plan, layout, lse }),
    density,
  };
}

function gather(device: CpuDevice, x: Tensor, layout: Layout): Tensor {
  const tokens = tokensOf(layout.grid);
  if (x.shape.length < 2 || x.shape.length > 3 || x.shape[1] !== tokens)
    throw new RangeError(
      `gather takes [heads, ${tokens}, dim] or [heads, ${tokens}] for this layout of ${tokens} tokens, got [${x.shape}]`,
    );
  const [heads, , dim = 1] = x.shape;
  const shape = [heads, layout.order.length, ...x.shape.slice(2)];
  return device.enqueue([{ shape }], async () => [await gatherRows(device, await floatsOf(x), heads, dim, layout)])[0];
}

function scatter(device: CpuDevice, x: Tensor, layout: Layout): Tensor {
  const slots = layout.order.length;
  if (x.shape.length < 2 || x.shape.length > 3 || x.shape[1] !== slots)
    throw new RangeError(`scatter takes [heads, ${slots}, dim] or [heads, ${slots}] for this layout of ${slots} slots, got [${x.shape}]`);
  const [heads, , dim = 1] = x.shape;
  const shape = [heads, tokensOf(layout.grid), ...x.shape.slice(2)];
  return device.enqueue([{ shape }], async () => [await scatterRows(device, await floatsOf(x), heads, dim, layout)])[0];
}

function attendAll(device: CpuDevice, q: Tensor, k: Tensor, v: Tensor, withLse: boolean): Attended {
  const [heads, rows, dim] = q.shape;
  const keys = k.shape[1];
  checkHeads(q, dim);
  checkShape('attendAll', 'k', k, [heads, keys, dim]);
  checkShape('attendAll', 'v', v, [heads, keys, dim]);
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
  const [querySlots, keySlots] = [layout.q.order.length, layout.k.order.length];
  checkHeads(q, dim);
  checkShape('attend', 'q', q, [heads, querySlots, dim]);
  checkShape('attend', 'k', k, [heads, keySlots, dim]);
  checkShape('attend', 'v', v, [heads, keySlots, dim]);
  checkPlan(plan, heads, layout);
  const pools = plan.levels.map(({ pool }) => pool);
  const width = plan.blocks.shape[2];
  const [out, lse] = device.enqueue([{ shape: q.shape }, { shape: [heads, querySlots] }], async () => {
    const numbers = { counts: await intsOf(plan.counts), blocks: await intsOf(plan.blocks), pools, width };
    const qkv = { q: await floatsOf(q), k: await floatsOf(k), v: await floatsOf(v) };
    return attendPlan(device, { ...qkv, heads, dim, layout, plan: numbers, lse: withLse });
  });
  return { out, lse: withLse ? lse : withoutLse(device, [heads, querySlots]) };
}

function checkHeads(q: Tensor, dim: number): void {
  if (q.shape.length !== 3 || dim % 8 !== 0 || dim === 0)
    throw new RangeError(`attention takes q [heads, tokens, dim] with dim a multiple of 8, got [${q.shape}]`);
}

function checkShape(op: string, name: string, tensor: Tensor, shape: readonly number[]): void {
  if (tensor.dtype !== 'f32' || tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis]))
    throw new RangeError(`${op} needs ${name} as f32 [${shape}] to match q and the layout, got ${tensor.dtype} [${tensor.shape}]`);
}

function checkPlan({ counts, blocks, levels }: Plan, heads: number, layout: { q: Layout; k: Layout }): void {
  const [wantCounts, wantBlocks] = [
    [heads, layout.q.blocks, levels.length],
    [heads, layout.q.blocks, layout.k.blocks],
  ];
  if (`${counts.shape}` !== `${wantCounts}` || `${blocks.shape}` !== `${wantBlocks}`)
    throw new RangeError(
      `a plan for ${heads} heads on these layouts has counts [${wantCounts}] and blocks [${wantBlocks}], got [${counts.shape}] and [${blocks.shape}]`,
    );
  for (const { pool } of levels)
    if (!Number.isInteger(pool) || pool < 1 || layout.k.block % pool !== 0)
      throw new RangeError(`a level of pool ${pool} does not divide the block of ${layout.k.block} keys; use a divisor`);
}

async function density({ counts, blocks, levels }: Plan): Promise<number> {
  const [heads, queryBlocks, keyBlocks] = blocks.shape;
  const computed = (await intsOf(counts)).reduce((sum, count, at) => sum + count / levels[at % levels.length].pool, 0);
  return computed / (heads * queryBlocks * keyBlocks);
}

function split(device: CpuDevice, x: Tensor, parts: number): Tensor[] {
  const [rows, ...rest] = x.shape;
  if (parts < 1 || rows % parts !== 0)
    throw new RangeError(`a tensor of shape [${x.shape}] does not split in ${parts} equal parts along its first axis`);
  const shape = [rows / parts, ...rest];
  const size = elements(shape);
  return device.enqueue(Array(parts).fill({ shape }), async () => {
    const numbers = await floatsOf(x);
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
