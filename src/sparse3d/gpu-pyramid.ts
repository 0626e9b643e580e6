// Pooled keys and values on the GPU: one buffer with the rows of each pool factor that a plan reads.
import type { GpuDevice, GpuTensor } from '../backend/webgpu/device.ts';
import { UnsupportedError } from '../errors.ts';
import { LEVELS, type PyramidLevel } from './gpu-attend-call.ts';
import { countTable, f16Header, gridOf } from './gpu-memory.ts';
import type { Sparse3dKernels } from './kernels/index.ts';
import { type Layout, type Level, slotCount } from './plan.ts';

/** Where a plan's levels lie in the pyramid of a layout, and its rows per head; levels of one pool factor share their rows. */
export function pyramidLevels(levels: readonly Level[], layout: Layout): { levels: PyramidLevel[]; rows: number } {
  if (levels.length > LEVELS) throw new UnsupportedError(`a plan has at most ${LEVELS} levels on a GPU, not ${levels.length}`);
  const bases = new Map<number, number>();
  let rows = 0;
  for (const { pool } of levels) {
    if (bases.has(pool)) continue;
    bases.set(pool, rows);
    rows += slotCount(layout) / pool;
  }
  return { levels: levels.map(({ pool }) => ({ pool, base: bases.get(pool)! })), rows };
}

/** Pooled rows [heads, rows, dim] of blocked keys or values; x itself where nothing is pooled. */
export function pyramidOf(
  device: GpuDevice,
  kernels: Sparse3dKernels,
  x: GpuTensor,
  layout: Layout,
  levels: readonly PyramidLevel[],
): GpuTensor {
  if (levels.every(({ pool }) => pool === 1)) return x;
  const [heads, slots, dim] = x.shape;
  const stored = levels.filter(({ base }, at) => levels.findIndex((level) => level.base === base) === at);
  const last = stored[stored.length - 1];
  const rows = last.base + slots / last.pool;
  const y = device.tensor([heads, rows, dim], x.dtype);
  const words = new Uint32Array(8 + 4 * LEVELS);
  words.set([heads, slots, rows, dim / 4, stored.length]);
  for (const [at, { pool, base }] of stored.entries()) words.set([pool, base, layout.block / pool], 8 + 4 * at);
  device.dispatch({
    kernel: kernels.pyramid,
    header: { ...f16Header(x.dtype), alias: { Scalar: x.dtype } },
    tensors: [x, countTable(device, layout), y],
    uniform: words,
    workgroups: gridOf((heads * rows * dim) / 4),
  });
  return y;
}
