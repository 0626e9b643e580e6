// What attention is measured on: shapes of real models, plans of a given density, and seeded numbers.
import type { Backend } from '../../backend/backend.ts';
import type { GpuDevice } from '../../backend/webgpu/device.ts';
import { bytesOf, type GpuTensor, gpuTensor } from '../../backend/webgpu/device.ts';
import type { Layouts } from '../../method.ts';
import { type Grid, type Plan, tokensOf } from '../../sparse3d/plan.ts';
import type { Tensor } from '../../tensor.ts';
import { seeded } from '../random.ts';

export interface Shape {
  readonly name: string;
  readonly heads: number;
  readonly dim: number;
  readonly grid: Grid;
}

/** `small` and `mini` are the embedded model's at 256x256, 33 frames and 320x320, 49 frames. */
export const SHAPES: readonly Shape[] = [
  { name: 'small', heads: 4, dim: 64, grid: { frames: 9, height: 16, width: 16, text: 0 } },
  { name: 'mini', heads: 4, dim: 64, grid: { frames: 13, height: 20, width: 20, text: 0 } },
  { name: 'wan-480p', heads: 12, dim: 128, grid: { frames: 21, height: 30, width: 52, text: 0 } },
  { name: 'wan-720p', heads: 12, dim: 128, grid: { frames: 21, height: 45, width: 80, text: 0 } },
  { name: 'hunyuan-720p', heads: 24, dim: 128, grid: { frames: 33, height: 45, width: 80, text: 256 } },
];

/** @throws RangeError for a name that there is not. */
export function shapeNamed(name: string): Shape {
  const found = SHAPES.find((shape) => shape.name === name);
  if (found) return found;
  throw new RangeError(`there is no shape "${name}"; give some of ${SHAPES.map((shape) => shape.name).join(', ')}`);
}

/** Floating-point operations of full attention. */
export const flopOf = ({ heads, dim, grid }: Shape): number => 4 * heads * tokensOf(grid) ** 2 * dim;

/** A share of the key blocks for each pool factor. */
export interface Reading {
  readonly name: string;
  readonly shares: readonly number[];
  readonly pools: readonly number[];
  /** Tokens of a query block, a multiple of 8. Default 64, as of a key block. */
  readonly queries?: number;
}

export const PYRAMID: Reading = { name: 'pyramid', shares: [0.1, 0.1, 0.1, 0.2], pools: [1, 2, 4, 8] };
export const blocksOf = (share: number): Reading => ({ name: `blocks ${share}`, shares: [share], pools: [1] });

/** The same in query blocks of so many tokens. */
export const byQueries = (reading: Reading, queries: number): Reading => ({
  ...reading,
  ...{ name: `${reading.name} by ${queries} queries`, queries },
});

/** Every row reads its shares of the key blocks, at least one each, spread evenly over the video from a start of its own. */
export function planOf(ops: Backend, heads: number, { q, k: { blocks } }: Layouts, { shares, pools }: Reading): Plan {
  const rows = heads * q.blocks;
  const each = shares.map((share) => Math.max(1, Math.round(share * blocks)));
  const width = each.reduce((sum, count) => sum + count, 0);
  const chosen = new Int32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const start = (row % q.blocks) * 37 + Math.floor(row / q.blocks) * 101;
    for (let at = 0; at < width; at++) chosen[row * width + at] = (start + Math.floor((at * blocks) / width)) % blocks;
  }
  return {
    counts: ops.upload(
      Int32Array.from({ length: rows * each.length }, (_, at) => each[at % each.length]),
      [heads, q.blocks, each.length],
    ),
    blocks: ops.upload(chosen, [heads, q.blocks, width]),
    levels: pools.map((pool) => ({ pool, upTo: 1 })),
    keyBlocks: blocks,
  };
}

/** Tensors [heads, tokens, dim], and the numbers in them. */
export interface Inputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly numbers: Numbers;
}

/** Of all heads: head h begins at row h * SHIFT of numbers that they share, so that a large shape needs little memory of the host. */
export interface Numbers {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

export const SHIFT = 97;

/** Seeded numbers of a shape that f16 holds exactly; one channel of the queries in 64 has outliers. */
export function numbersOf({ heads, dim, grid }: Shape): Numbers {
  const length = (tokensOf(grid) + SHIFT * (heads - 1)) * dim;
  return { q: normal(length, dim, 1, true), k: normal(length, dim, 2, false), v: normal(length, dim, 3, false) };
}

function normal(length: number, dim: number, seed: number, outliers: boolean): Float32Array {
  const uniform = seeded(seed);
  return Float32Array.from({ length }, (_, at) => {
    const x = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return (Math.round(x * 128) / 128) * (outliers && (at % dim) % 64 === 5 ? 8 : 1);
  });
}

/** The numbers on a device. Heads are read one after the other, so those of a large shape come from memory in every run, not from a cache. */
export function inputsOf(ops: Backend, gpu: GpuDevice | undefined, shape: Shape, numbers: Numbers, dtype: 'f32' | 'f16'): Inputs {
  const put = gpu ? (of: Float32Array) => onGpu(ops, gpu, shape, of, dtype) : (of: Float32Array) => onHost(ops, shape, of);
  return { q: put(numbers.q), k: put(numbers.k), v: put(numbers.v), numbers };
}

function onHost(ops: Backend, { heads, dim, grid }: Shape, of: Float32Array): Tensor {
  const size = tokensOf(grid) * dim;
  const all = new Float32Array(heads * size);
  for (let head = 0; head < heads; head++) all.set(of.subarray(head * SHIFT * dim, head * SHIFT * dim + size), head * size);
  return ops.upload(all, [heads, tokensOf(grid), dim]);
}

function onGpu(ops: Backend, gpu: GpuDevice, { heads, dim, grid }: Shape, of: Float32Array, dtype: 'f32' | 'f16'): GpuTensor {
  return ops.scope(() => {
    const shared = gpuTensor(gpu, ops.cast(ops.upload(of, [of.length / dim, dim]), dtype));
    const whole = gpu.tensor([heads, tokensOf(grid), dim], dtype);
    const [row, size] = [bytesOf(shared) / shared.shape[0], bytesOf(whole) / heads];
    for (let head = 0; head < heads; head++) gpu.copy(shared, head * SHIFT * row, whole, head * size, size);
    return whole;
  });
}
