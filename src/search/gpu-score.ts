// The scoring operations on WebGPU. Products of q and k come in two variants; what they leave is reduced by small kernels.
import type { Sampling } from '../backend/backend.ts';
import type { GpuDevice, GpuTensor } from '../backend/webgpu/device.ts';
import { chooseVariant, type Header } from '../backend/webgpu/wgsl.ts';
import { countTable } from '../sparse3d/gpu-memory.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { DType } from '../tensor.ts';
import { laneRows, MASS_CHUNK, massVariants, matrixKernel, peakVariants } from './gpu-product.ts';
import type { SearchKernels } from './kernels/index.ts';
import { drawCount, type Side, slotsOfHead } from './sampling.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

/** A device, its kernels, the variant that was asked for, and bytes of tables that are made piece by piece. */
export interface Parts {
  readonly device: GpuDevice;
  readonly kernels: SearchKernels;
  readonly wanted?: string;
  readonly tableBytes: number;
}

const log2Scale = (dim: number): string => (Math.LOG2E / Math.sqrt(dim)).toFixed(12);
const scalarHeader = (dtype: DType): Header => ({ enable: dtype === 'f16' ? ['f16'] : [], alias: { Scalar: dtype } });

/** `Backend.blockMass`. */
export function blockMass({ device, kernels, wanted }: Parts, q: GpuTensor, k: GpuTensor, lse: GpuTensor, { q: rows, k: keys }: Layouts) {
  const [heads, slots, dim] = q.shape;
  const call = { dtype: q.dtype, dim, together: rows.block, rows: slots, keys: keys.block };
  const { name } = chooseVariant(massVariants, device.adapter, call, wanted).variant;
  const mass = device.tensor([heads, rows.blocks, keys.blocks], 'f32');
  const constants = { DIM: dim, Q_BLOCK: rows.block, K_BLOCK: keys.block, SCALE: log2Scale(dim) };
  const together = (block: number) => Math.max(1, Math.floor(64 / block));
  const each = laneRows(rows.block, dim);
  device.dispatch({
    ...(name === 'matrix'
      ? {
          ...matrixKernel(device, kernels.blockMassMatrix, { rows: 32 * each, dim }, { ...constants, LANE_ROWS: each, CHUNK: MASS_CHUNK }),
          workgroups: [Math.ceil(slots / 128 / each), Math.ceil(keys.blocks / MASS_CHUNK), heads] as const,
        }
      : {
          kernel: { ...kernels.blockMass, shared: [kernels.blockTile] },
          header: { ...scalarHeader(q.dtype), constants },
          workgroups: [Math.ceil(keys.blocks / together(keys.block)), Math.ceil(rows.blocks / together(rows.block)), heads] as const,
        }),
    tensors: [q, k, lse, countTable(device, rows), countTable(device, keys), mass],
    uniform: Uint32Array.of(rows.blocks, keys.blocks, 0, 0),
  });
  return mass;
}

/** `Backend.sampledScores`: drawn tokens are copied, then their products reduced to peaks and peaks to scores, some query blocks at a time. */
export const sampledScores = (parts: Parts, q: GpuTensor, k: GpuTensor, layout: Layouts, sampling: Sampling): GpuTensor =>
  peaksOf(parts, q, k, layout, sampling, { RELATIVE: true, SHARES: true });

/** `Backend.blockPeaks`. */
export const blockPeaks = (parts: Parts, q: GpuTensor, k: GpuTensor, layout: Layouts, margin: boolean): GpuTensor =>
  peaksOf(parts, q, k, layout, { queries: 1, keys: 1, seed: 0 }, { RELATIVE: margin, SHARES: false });

/** What the kernel of scores makes of peaks; see its header. */
type Peak = { readonly RELATIVE: boolean; readonly SHARES: boolean };

function peaksOf(parts: Parts, q: GpuTensor, k: GpuTensor, layout: Layouts, sampling: Sampling, peak: Peak): GpuTensor {
  const { device } = parts;
  const [heads] = q.shape;
  const { blocks } = layout.q;
  return device.scope(() => {
    const scores = device.tensor([heads, blocks, layout.k.blocks], 'f32');
    const rows = drawn(parts, q, layout.q, sampling, 'queries', drawCount(layout.q.block, sampling.queries));
    // A power of two, in which tokens repeat: a maximum does not mind.
    const wanted = drawCount(layout.k.block, sampling.keys);
    const keys = drawn(parts, k, layout.k, sampling, 'keys', Math.max(4, 2 ** Math.ceil(Math.log2(wanted))));
    const perRow = heads * layout.k.blocks * 4;
    const together = Math.max(1, Math.floor(parts.tableBytes / perRow / (rows.shape[1] / blocks)));
    for (let first = 0; first < blocks; first += together)
      scoreRows(parts, rows, keys, scores, peak, first, Math.min(together, blocks - first));
    return scores;
  });
}

/** The drawn tokens of every block, [heads, blocks * count, dim]. */
function drawn({ device, kernels }: Parts, x: GpuTensor, layout: Layout, sampling: Sampling, side: Side, count: number): GpuTensor {
  const [heads, , dim] = x.shape;
  const { block, blocks } = layout;
  const slots = new Int32Array(heads * count);
  for (let head = 0; head < heads; head++) {
    const own = slotsOfHead(block, sampling[side], sampling.seed, head, side);
    for (let at = 0; at < count; at++) slots[head * count + at] = own[at % own.length];
  }
  const result = device.tensor([heads, blocks * count, dim], x.dtype);
  device.dispatch({
    kernel: kernels.draw,
    header: { ...scalarHeader(x.dtype), constants: { DIM: dim, BLOCK: block, DRAWN: count } },
    tensors: [x, device.upload(slots, [heads, count]), countTable(device, layout), result],
    uniform: Uint32Array.of(blocks, 0, 0, 0),
    workgroups: [blocks, heads],
  });
  return result;
}

/** Scores of some query blocks from the drawn rows and keys. */
function scoreRows(parts: Parts, q: GpuTensor, k: GpuTensor, scores: GpuTensor, peak: Peak, first: number, count: number): void {
  const { device, kernels } = parts;
  const [heads, blocks, kBlocks] = scores.shape;
  const perBlock = q.shape[1] / blocks;
  const rows = count * perBlock;
  device.scope(() => {
    const peaks = device.tensor([heads, kBlocks, rows], 'f32');
    drawnPeaks(parts, q, k, peaks, first * perBlock);
    device.dispatch({
      kernel: kernels.sampledScores,
      header: { constants: { ...peak, Q_DRAWN: perBlock, LANES: Math.min(256, 2 ** Math.ceil(Math.log2(perBlock))) } },
      tensors: [peaks, scores],
      uniform: Uint32Array.of(blocks, first, count, kBlocks),
      workgroups: [count, heads],
    });
  });
}

/** The largest logit of each drawn row, from row `first` on, and key block. */
function drawnPeaks({ device, kernels, wanted }: Parts, q: GpuTensor, k: GpuTensor, peaks: GpuTensor, first: number): void {
  const [heads, kBlocks, rows] = peaks.shape;
  const [, allRows, dim] = q.shape;
  const keys = k.shape[1] / kBlocks;
  const call = { dtype: q.dtype, dim, together: 1, rows: allRows, keys };
  const { name } = chooseVariant(peakVariants, device.adapter, call, wanted).variant;
  const constants = { DIM: dim, K_DRAWN: keys, SCALE: log2Scale(dim) };
  // Tiles of 16 keys that a workgroup of the matrix variant walks over, whole key blocks.
  const chunk = Math.max(128, keys / 16);
  device.dispatch({
    ...(name === 'matrix'
      ? {
          ...matrixKernel(device, kernels.blockPeakMatrix, { rows: 32, dim }, { ...constants, CHUNK: chunk }),
          workgroups: [Math.ceil(rows / 128), Math.ceil(k.shape[1] / 16 / chunk), heads] as const,
        }
      : {
          kernel: { ...kernels.blockPeak, shared: [kernels.blockTile] },
          header: { ...scalarHeader(q.dtype), constants },
          workgroups: [Math.ceil(kBlocks / Math.max(1, Math.floor(64 / keys))), Math.ceil(rows / 64), heads] as const,
        }),
    tensors: [q, k, peaks],
    uniform: Uint32Array.of(allRows, first, rows, kBlocks),
  });
}

// Pool factors that the uniform has room for.
const MOST_POOLS = 15;

/** `Backend.poolCap`. */
export function poolCap(
  { device, kernels }: Parts,
  k: GpuTensor,
  layout: Layout,
  pools: readonly { readonly pool: number; readonly cosine: number }[],
): GpuTensor {
  const [heads, , dim] = k.shape;
  if (pools.length > MOST_POOLS) throw new RangeError(`a cap of ${pools.length} pool factors is too long; give at most ${MOST_POOLS}`);
  const caps = device.tensor([heads, layout.blocks], 'i32');
  const uniform = new Uint32Array(4 + 4 * Math.max(1, pools.length));
  uniform[0] = layout.blocks;
  // Without factors one that is never coarser than 1.
  const entries = pools.length > 0 ? pools : [{ pool: 1, cosine: 1 }];
  for (const [at, { pool, cosine }] of entries.entries()) new Float32Array(uniform.buffer).set([pool, cosine], 4 + 4 * at);
  device.dispatch({
    kernel: kernels.poolCap,
    header: { ...scalarHeader(k.dtype), constants: { DIM: dim, BLOCK: layout.block, POOLS: entries.length } },
    tensors: [k, countTable(device, layout), caps],
    uniform,
    workgroups: [layout.blocks, heads],
  });
  return caps;
}
