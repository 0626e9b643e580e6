// What a GPU kernel of attention is given: the call, its uniform and its bindings, the same for every variant.

import { type GpuDevice, type GpuTensor, gpuTensor } from '../backend/webgpu/device.ts';
import { unroll } from '../backend/webgpu/unroll.ts';
import type { Capabilities, Header, Kernel, Variant } from '../backend/webgpu/wgsl.ts';
import type { DType } from '../tensor.ts';
import type { Sparse3dKernels } from './kernels/index.ts';

/** What decides whether a variant can serve a call. */
export interface AttendShape {
  readonly dim: number;
  readonly dtype: DType;
}

/** Keys and values of one pool factor: rows `base .. base + kBlocks * block.k / pool - 1` of each head in k and v. */
export interface PyramidLevel {
  readonly pool: number;
  readonly base: number;
}

/** For each head and query block: counts i32 [heads, qBlocks, levels] and key blocks i32 [heads, qBlocks, width]; see `Plan`. */
export interface PlanTables {
  readonly counts: GpuTensor;
  readonly blocks: GpuTensor;
  readonly width: number;
  /** Real tokens of each query block, then of each key block: i32 [qBlocks + kBlocks]. */
  readonly tokens: GpuTensor;
}

/** One attention on the GPU. q and out are [heads, rows.q, dim], k and v [heads, rows.k, dim], lse f32 [heads, rows.q]. */
export interface AttendCall extends AttendShape {
  readonly heads: number;
  /** Rows of each head in q and in k: all there are without a plan, else the slots of q and the rows of the whole pyramid of k. */
  readonly rows: { readonly q: number; readonly k: number };
  readonly q: GpuTensor;
  readonly k: GpuTensor;
  readonly v: GpuTensor;
  readonly out: GpuTensor;
  readonly lse: GpuTensor;
  /** Absent: every query reads every key, and both may be any in number. */
  readonly plan?: PlanTables;
  /** Slots of a block; of meaning with a plan alone. */
  readonly block: { readonly q: number; readonly k: number };
  /** Numbers of blocks; without a plan the rows that hold a token, the first of each head. */
  readonly blocks: { readonly q: number; readonly k: number };
  /** At most 12, as in the plan; without a plan one of pool 1. */
  readonly levels: readonly PyramidLevel[];
}

/** One way to compute attention. */
export interface AttendVariant extends Variant<AttendShape> {
  dispatch(device: GpuDevice, kernels: Sparse3dKernels, call: AttendCall): void;
}

/** Most levels of a plan. */
export const LEVELS = 12;

/** The uniform of every variant: `Attend` in attend.plan.wgsl, in which `scale` is log2(e) / sqrt(dim) and `units` are the rows of a key block. */
function attendUniform({ heads, dim, rows, plan, block, blocks, levels }: AttendCall): Uint32Array {
  const words = new Uint32Array(12 + 4 * LEVELS);
  words.set([heads, blocks.q, blocks.k, block.q, block.k, plan?.width ?? 1, rows.q, rows.k, levels.length]);
  new Float32Array(words.buffer)[9] = Math.LOG2E / Math.sqrt(dim);
  for (const [at, { pool, base }] of levels.entries()) words.set([pool, base, block.k / pool], 12 + 4 * at);
  return words;
}

/** Bindings 1 to 8 of every variant: q, k, v, counts, blocks, tokens, out, lse. Without a plan the three tables are a dummy. */
function attendTensors(device: GpuDevice, { q, k, v, plan, out, lse }: AttendCall): GpuTensor[] {
  const none = () => device.cached(attendTensors, 'no plan', () => device.upload(new Int32Array(1), [1]));
  const tables = plan ? [plan.counts, plan.blocks, plan.tokens] : [none(), none(), none()];
  return [q, k, v, ...tables, out, lse].map((tensor) => gpuTensor(device, tensor));
}

/** Header lines of every variant: Scalar, Cell (how q, k and v are bound), DIM, DENSE (no plan), and f16 where it is stored. */
export function attendHeader({ dim, dtype, plan }: AttendCall): Header {
  return {
    enable: dtype === 'f16' ? ['f16'] : [],
    alias: { Scalar: dtype, Cell: `vec4<${dtype}>` },
    constants: { DIM: dim, DENSE: plan === undefined },
  };
}

/**
 * A kernel without matrices, which may be of several files, with what such kernels share behind it. A software adapter compiles loops faster, and
 * has no registers to lose.
 */
export function withRows(device: GpuDevice, own: readonly Kernel[], kernels: Sparse3dKernels, constants: Constants): Kernel {
  const text = ({ body }: Kernel) => (device.adapter.software ? body : unroll(body, constants));
  const [{ name }] = own;
  const { attendRows, attendPlan } = kernels;
  return device.cached(kernels, JSON.stringify([name, constants]), () => {
    const [first, ...shared] = [...own, attendRows].map((kernel) => ({ name: kernel.name, body: text(kernel) }));
    return { ...first, shared: [...shared, attendPlan] };
  });
}

type Constants = Parameters<typeof unroll>[1];

/** Why a kernel without matrices cannot read what a call stores. */
export function lackingStorage({ features }: Capabilities, { dim, dtype }: AttendShape): string | undefined {
  if (dim % 8 !== 0 || dim < 8 || dim > 256) return `it takes a head dimension that is a multiple of 8 from 8 to 256, not ${dim}`;
  if (dtype === 'f16' && !features.has('shader-f16')) return 'this GPU has no f16 (feature shader-f16)';
  return undefined;
}

/**
 * Launches a kernel with one workgroup for every `tile` query rows of a block (of a head without a plan): x counts tiles, y heads. Tiles of
 * a block follow each other.
 */
export function dispatchTiles(device: GpuDevice, kernel: Kernel, header: Header, call: AttendCall, tile: number): void {
  const { heads, rows, plan, block, blocks } = call;
  const tiles = plan ? blocks.q * Math.ceil(block.q / tile) : Math.ceil(rows.q / tile);
  device.dispatch({ kernel, header, tensors: attendTensors(device, call), uniform: attendUniform(call), workgroups: [tiles, heads] });
}
