// The WebGPU backend's part that concerns tokens and blocks. Shapes are checked here, at the border; nothing but `read`, `wait` and `density` waits.
import type { Attended, Backend } from '../backend/backend.ts';
import { type GpuDevice, type GpuTensor, gpuTensor } from '../backend/webgpu/device.ts';
import type { Tensor } from '../tensor.ts';
import { checkAttention, checkPlan } from './checks.ts';
import { attendOnGpu } from './gpu-attend.ts';
import type { PlanTables } from './gpu-attend-call.ts';
import {
  castTensor,
  combineTensors,
  concatTensors,
  countTable,
  gatherTensor,
  ownTable,
  readTensor,
  scatterTensor,
  splitTensor,
} from './gpu-memory.ts';
import { mergeTensors } from './gpu-merge.ts';
import { pyramidLevels, pyramidOf } from './gpu-pyramid.ts';
import { differsByHead, headDensity } from './heads.ts';
import type { Sparse3dKernels } from './kernels/index.ts';
import { readsAll } from './order.ts';
import { type Layout, type Plan, slotCount } from './plan.ts';

/** The part of `Backend` that concerns memory, tokens and blocks. */
export type Sparse3dGpuOps = Pick<
  Backend,
  | 'name'
  | 'upload'
  | 'read'
  | 'wait'
  | 'cast'
  | 'scope'
  | 'keep'
  | 'release'
  | 'split'
  | 'concat'
  | 'combine'
  | 'gather'
  | 'scatter'
  | 'attendAll'
  | 'attend'
  | 'merge'
  | 'density'
>;

export interface Sparse3dGpuOptions {
  /** The variant of attention to use; the best that can run here when left out. */
  readonly attend?: string;
}

/** Memory, layout and attention operations on a WebGPU device; see `Backend` for their meaning. */
export function sparse3dGpuOps(device: GpuDevice, kernels: Sparse3dKernels, { attend: variant }: Sparse3dGpuOptions = {}): Sparse3dGpuOps {
  return {
    name: 'webgpu',
    upload: device.upload,
    read: (tensor) => readTensor(device, kernels, tensor),
    wait: async (tensor) => gpuTensor(device, tensor) && device.idle(),
    cast: (x, dtype) => castTensor(device, kernels, x, dtype),
    scope: device.scope,
    keep: (x) => device.keep(gpuTensor(device, x)),
    release: (x) => device.release(gpuTensor(device, x)),
    split: (x, parts) => splitTensor(device, x, parts),
    concat: (parts) => concatTensors(device, parts),
    combine: (parts, weights) => combineTensors(device, kernels, parts, weights),
    gather: (x, layout) => gatherTensor(device, kernels, x, layout),
    scatter: (x, layout) => scatterTensor(device, kernels, x, layout),
    attendAll(q, k, v) {
      checkAttention('attendAll', q, k, v);
      return attendAll(device, kernels, { q, k, v }, { q: q.shape[1], k: k.shape[1] }, variant);
    },
    attend: (q, k, v, plan, layout) => attendPlan(device, kernels, { q, k, v }, { plan, layout }, variant),
    merge: (a, b) => mergeTensors(device, kernels, a, b),
    density: (plan, layout) => density(device, plan, layout),
  };
}

interface Qkv {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Handles of q, k and v, and new ones for the results. */
function tensorsOf(device: GpuDevice, { q, k, v }: Qkv) {
  const [heads, rows, dim] = q.shape;
  const dtype = q.dtype as 'f32' | 'f16';
  const [out, lse] = [device.tensor(q.shape, dtype), device.tensor([heads, rows], 'f32')];
  return { heads, dim, dtype, q: gpuTensor(device, q), k: gpuTensor(device, k), v: gpuTensor(device, v), out, lse };
}

/** Every query reads every key; of each head the first `real` rows hold a token. */
function attendAll(
  device: GpuDevice,
  kernels: Sparse3dKernels,
  { q, k, v }: Qkv,
  real: { readonly q: number; readonly k: number },
  variant?: string,
): Attended {
  const rows = { q: q.shape[1], k: k.shape[1] };
  const one = { q: 1, k: 1 };
  return device.scope(() => {
    const tensors = tensorsOf(device, { q, k, v });
    attendOnGpu(device, kernels, { ...tensors, rows, block: one, blocks: real, levels: [{ pool: 1, base: 0 }] }, variant);
    return { out: tensors.out, lse: tensors.lse };
  });
}

function attendPlan(
  device: GpuDevice,
  kernels: Sparse3dKernels,
  { q, k, v }: Qkv,
  { plan, layout }: { readonly plan: Plan; readonly layout: { q: Layout; k: Layout } },
  variant?: string,
): Attended {
  checkAttention('attend', q, k, v, { q: slotCount(layout.q), k: slotCount(layout.k) });
  checkPlan(plan, q.shape[0], layout);
  if (readsAll(plan, layout)) return attendAll(device, kernels, { q, k, v }, { q: layout.q.counts[0], k: layout.k.counts[0] }, variant);
  return device.scope(() => {
    const { levels, rows } = pyramidLevels(plan.levels, layout.k);
    const pooled = (x: Tensor) => pyramidOf(device, kernels, gpuTensor(device, x), layout.k, levels);
    const tensors = tensorsOf(device, { q, k: pooled(k), v: pooled(v) });
    const size = (key: 'block' | 'blocks') => ({ q: layout.q[key], k: layout.k[key] });
    const call = { ...tensors, rows: { q: q.shape[1], k: rows }, block: size('block'), blocks: size('blocks'), levels };
    attendOnGpu(device, kernels, { ...call, plan: planTables(device, plan, layout) }, variant);
    return { out: tensors.out, lse: tensors.lse };
  });
}

function planTables(device: GpuDevice, { counts, blocks }: Plan, layout: { q: Layout; k: Layout }): PlanTables {
  const width = blocks.shape[2];
  return { counts: gpuTensor(device, counts), blocks: gpuTensor(device, blocks), width, tokens: tokenTable(device, layout) };
}

// Tables of a pair of layouts belong to the layout of the queries, under the number of the other.
const numbers = new WeakMap<Layout, number>();
let layouts = 0;

function tokenTable(device: GpuDevice, { q, k }: { q: Layout; k: Layout }): GpuTensor {
  if (ownTable(device, q, 'counts') || ownTable(device, k, 'counts')) return joinedCounts(device, q, k);
  const [rows, keys] = [q.shape ?? q, k.shape ?? k];
  if (!numbers.has(keys)) numbers.set(keys, layouts++);
  return device.cached(rows, `tokens/${numbers.get(keys)}`, () => {
    const counts = new Int32Array(q.blocks + k.blocks);
    counts.set(q.counts);
    counts.set(k.counts, q.blocks);
    return device.upload(counts, [counts.length]);
  });
}

/** The counts of one head, which is another at each search. */
function joinedCounts(device: GpuDevice, q: Layout, k: Layout): GpuTensor {
  const joined = device.tensor([q.blocks + k.blocks], 'i32');
  device.copy(countTable(device, q), 0, joined, 0, 4 * q.blocks);
  device.copy(countTable(device, k), 0, joined, 4 * q.blocks, 4 * k.blocks);
  return joined;
}

async function density(
  device: GpuDevice,
  { counts, blocks, levels, keyBlocks = blocks.shape[2] }: Plan,
  layout?: { q: Layout; k: Layout },
): Promise<number> {
  if (layout && differsByHead(layout)) {
    const tables = [counts, layout.q.heads?.counts].map((table) => table && device.read(gpuTensor(device, table), true));
    const [read, asked] = await Promise.all(tables);
    return headDensity(read!, levels, asked, layout);
  }
  const [heads, queryBlocks] = blocks.shape;
  let computed = 0;
  // Methods ask for it beside the attention, and may look at it late.
  for (const [at, count] of (await device.read(gpuTensor(device, counts), true)).entries())
    computed += count / levels[at % levels.length].pool;
  return computed / (heads * queryBlocks * keyBlocks);
}
