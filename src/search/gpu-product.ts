// The ways to multiply q and k for scores on a GPU, best first, and what the one with subgroup matrices is compiled with.
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { lackingMatrices, MATRIX_HEADER, productOf } from '../backend/webgpu/matrices.ts';
import { unroll } from '../backend/webgpu/unroll.ts';
import type { Header, Kernel, Variant } from '../backend/webgpu/wgsl.ts';
import type { DType } from '../tensor.ts';

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

/** Subgroup matrices on tensor cores, four subgroups of 32 or 64 rows and 16 keys at a time. */
const matrix = (lackingShape: (call: ProductCall) => string | undefined): ProductVariant => ({
  name: 'matrix',
  lacking(capabilities, call) {
    const own = call.dim % 16 === 0 ? lackingShape(call) : `it takes a head dimension that is a multiple of 16, not ${call.dim}`;
    return lackingMatrices(capabilities, call.dtype, bytesFor(call.dim), own);
  },
});
const portable: ProductVariant = {
  name: 'portable',
  lacking: ({ features }, { dtype }) =>
    dtype === 'f16' && !features.has('shader-f16') ? 'this GPU has no f16 (feature shader-f16)' : undefined,
};

/** Ways to compute `blockMass`. */
export const massVariants: readonly ProductVariant[] = [
  matrix(({ together, dim, keys }) => {
    const rows = 128 * laneRows(together, dim);
    if (rows % together === 0 && together % 32 === 0 && keys % 16 === 0) return undefined;
    return `query blocks of ${together} and key blocks of ${keys} do not make up tiles of ${rows} rows and 16 keys`;
  }),
  portable,
];

/** Ways to compute the products of `sampledScores`. */
export const peakVariants: readonly ProductVariant[] = [
  matrix(({ rows }) => (rows >= 32 ? undefined : `${rows} drawn rows are less than the 32 of a tile`)),
  portable,
];

/** Rows that each lane sums in the matrix variant of block mass: two, where blocks are whole and registers hold the queries. */
export const laneRows = (block: number, dim: number): number => (block % 64 === 0 && dim <= 128 ? 2 : 1);

/** Key blocks that one workgroup of the matrix variant of block mass walks over. */
export const MASS_CHUNK = 64;

// Keys, logits and sums of a workgroup at most.
const bytesFor = (dim: number): number => 16 * (2 * dim + 16) + 256 * 4 * 16 + 16 * MASS_CHUNK;

/** A kernel with subgroup matrices, unrolled for this GPU's product, and its header; a subgroup takes `rows` rows. */
export function matrixKernel(
  device: GpuDevice,
  kernel: Kernel,
  { rows, dim }: { readonly rows: number; readonly dim: number },
  given: Readonly<Record<string, number | string>>,
): { readonly kernel: Kernel; readonly header: Header } {
  const { M, N, K } = productOf(device.adapter)!;
  const counts = { ROW_TILES: rows / M, KEY_TILES: 16 / N, DEPTH: dim / K, LOADS: Math.ceil((16 * dim) / 8 / 128) };
  const constants = { M, N, K, ...counts, ...given };
  const { name, body } = kernel;
  return {
    kernel: device.cached(kernel, JSON.stringify(constants), () => ({ name, body: unroll(body, constants) })),
    header: { ...MATRIX_HEADER, constants },
  };
}
