// The scoring operations on WebGPU. Products of q and k come in two variants; what they leave is reduced by small kernels.
import type { Sampling } from '../backend/backend.ts';
import type { GpuDevice, GpuTensor } from '../backend/webgpu/device.ts';
import { type Capabilities, chooseVariant, type Header, type Variant } from '../backend/webgpu/wgsl.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { DType } from '../tensor.ts';
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

/** What decides whether a variant can multiply q and k: rows of q that are summed together, rows of q, and keys of a block. */
export interface ProductCall {
  readonly dtype: DType;
  readonly dim: number;
  readonly together: number;
  readonly rows: number;
  readonly keys: number;
}

export interface ProductVariant extends Variant<ProductCall> {
  readonly name: 'matrix' | 'portable';
}

/** Subgroup matrices on tensor cores, 128 rows and 32 keys at a time. */
const matrix = (lackingShape: (call: ProductCall) => string | undefined): ProductVariant => ({
  name: 'matrix',
  lacking: (capabilities, call) => lackingMatrices(capabilities) ?? lackingWork(capabilities, call) ?? lackingShape(call),
});
const portable: ProductVariant = { name: 'portable', lacking: () => undefined };

/** Ways to compute `blockMass`, best first. */
export const massVariants: readonly ProductVariant[] = [
  matrix(({ together, keys }) =>
    128 % together === 0 && together % 32 === 0 && keys % 32 === 0
      ? undefined
      : `query blocks of ${together} and key blocks of ${keys} do not make up tiles of 128 rows and 32 keys`,
  ),
  portable,
];

/** Ways to compute the products of `sampledScores`, best first. */
export const peakVariants: readonly ProductVariant[] = [
  matrix(({ rows }) => (rows >= 32 ? undefined : `${rows} drawn rows are less than the 32 of a tile`)),
  portable,
];

function lackingMatrices({ features, matrices, subgroupSizes = [0, 0] }: Capabilities): string | undefined {
  for (const feature of ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'])
    if (!features.has(feature)) return `the feature ${feature} is missing`;
  const listed = matrices.some(
    ({ componentType, resultComponentType, M, N, K }) =>
      componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16,
  );
  if (!listed) return 'the adapter lists no 16x16x16 product of f16 into f32';
  if (subgroupSizes.some((size) => size !== 32)) return `subgroups are ${subgroupSizes.join(' to ')} wide, not 32`;
  return undefined;
}

function lackingWork({ limits }: Capabilities, { dtype, dim }: ProductCall): string | undefined {
  if (dtype !== 'f16') return `it multiplies f16, not ${dtype}`;
  if (dim % 16 !== 0) return `it takes a head dimension that is a multiple of 16, not ${dim}`;
  // Keys, logits and sums of a workgroup.
  const bytes = 32 * (2 * dim + 16) + 128 * (4 * 32 + 32) + 16 * CHUNK;
  return bytes > limits.maxComputeWorkgroupStorageSize ? `it needs ${bytes} bytes of workgroup memory` : undefined;
}

// Key blocks (of mass) and tiles of 32 keys (of peaks) that one workgroup of the matrix variant walks over.
const CHUNK = 64;
const log2Scale = (dim: number): string => (Math.LOG2E / Math.sqrt(dim)).toFixed(12);
const matrixHeader: Header = {
  enable: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
  off: ['chromium.subgroup_matrix_uniformity', 'subgroup_uniformity'],
};
const scalarHeader = (dtype: DType): Header => ({ enable: dtype === 'f16' ? ['f16'] : [], alias: { Scalar: dtype } });

const countsOf = (device: GpuDevice, layout: Layout): GpuTensor =>
  device.cached(layout, 'counts', () => device.upload(layout.counts, [layout.blocks]));

/** `Backend.blockMass`. */
export function blockMass({ device, kernels, wanted }: Parts, q: GpuTensor, k: GpuTensor, lse: GpuTensor, { q: rows, k: keys }: Layouts) {
  const [heads, slots, dim] = q.shape;
  const call = { dtype: q.dtype, dim, together: rows.block, rows: slots, keys: keys.block };
  const { name } = chooseVariant(massVariants, device.adapter, call, wanted).variant;
  const mass = device.tensor([heads, rows.blocks, keys.blocks], 'f32');
  const constants = { DIM: dim, Q_BLOCK: rows.block, K_BLOCK: keys.block, SCALE: log2Scale(dim) };
  const together = (block: number) => Math.max(1, Math.floor(64 / block));
  device.dispatch({
    ...(name === 'matrix'
      ? {
          kernel: kernels.blockMassMatrix,
          header: { ...matrixHeader, constants: { ...constants, CHUNK } },
          workgroups: [Math.ceil(slots / 128), Math.ceil(keys.blocks / CHUNK), heads] as const,
        }
      : {
          kernel: kernels.blockMass,
          header: { ...scalarHeader(q.dtype), constants },
          workgroups: [Math.ceil(keys.blocks / together(keys.block)), Math.ceil(rows.blocks / together(rows.block)), heads] as const,
        }),
    tensors: [q, k, lse, countsOf(device, rows), countsOf(device, keys), mass],
    uniform: Uint32Array.of(rows.blocks, keys.blocks, 0, 0),
  });
  return mass;
}

/** `Backend.sampledScores`: drawn tokens are copied, then their products reduced to peaks and peaks to scores, some query blocks at a time. */
export function sampledScores(parts: Parts, q: GpuTensor, k: GpuTensor, layout: Layouts, sampling: Sampling): GpuTensor {
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
    for (let first = 0; first < blocks; first += together) scoreRows(parts, rows, keys, scores, first, Math.min(together, blocks - first));
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
    tensors: [x, device.upload(slots, [heads, count]), countsOf(device, layout), result],
    uniform: Uint32Array.of(blocks, 0, 0, 0),
    workgroups: [blocks, heads],
  });
  return result;
}

/** Scores of some query blocks from the drawn rows and keys. */
function scoreRows(parts: Parts, q: GpuTensor, k: GpuTensor, scores: GpuTensor, first: number, count: number): void {
  const { device, kernels } = parts;
  const [heads, blocks, kBlocks] = scores.shape;
  const perBlock = q.shape[1] / blocks;
  const rows = count * perBlock;
  device.scope(() => {
    const peaks = device.tensor([heads, kBlocks, rows], 'f32');
    blockPeaks(parts, q, k, peaks, first * perBlock);
    device.dispatch({
      kernel: kernels.sampledScores,
      header: { constants: { Q_DRAWN: perBlock, LANES: Math.min(256, 2 ** Math.ceil(Math.log2(perBlock))) } },
      tensors: [peaks, scores],
      uniform: Uint32Array.of(blocks, first, count, kBlocks),
      workgroups: [count, heads],
    });
  });
}

/** The largest logit of each drawn row, from row `first` on, and key block. */
function blockPeaks({ device, kernels, wanted }: Parts, q: GpuTensor, k: GpuTensor, peaks: GpuTensor, first: number): void {
  const [heads, kBlocks, rows] = peaks.shape;
  const [, allRows, dim] = q.shape;
  const keys = k.shape[1] / kBlocks;
  const call = { dtype: q.dtype, dim, together: 1, rows: allRows, keys };
  const { name } = chooseVariant(peakVariants, device.adapter, call, wanted).variant;
  const constants = { DIM: dim, K_DRAWN: keys, SCALE: log2Scale(dim) };
  // Whole key blocks.
  const chunk = Math.max(CHUNK, keys / 32);
  device.dispatch({
    ...(name === 'matrix'
      ? {
          kernel: kernels.blockPeakMatrix,
          header: { ...matrixHeader, constants: { ...constants, CHUNK: chunk } },
          workgroups: [Math.ceil(rows / 128), Math.ceil(k.shape[1] / 32 / chunk), heads] as const,
        }
      : {
          kernel: kernels.blockPeak,
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
    tensors: [k, countsOf(device, layout), caps],
    uniform,
    workgroups: [layout.blocks, heads],
  });
  return caps;
}
