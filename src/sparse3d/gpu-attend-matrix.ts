// Attention with subgroup matrices: which product is used, and how a workgroup's work is split in products.
import { lackingMatrices, MATRIX_HEADER, productOf } from '../backend/webgpu/matrices.ts';
import { unroll } from '../backend/webgpu/unroll.ts';
import type { Capabilities } from '../backend/webgpu/wgsl.ts';
import { type AttendShape, type AttendVariant, attendHeader, dispatchTiles } from './gpu-attend-call.ts';

/** Query rows of a workgroup. */
const ROWS = 64;
/** Keys at a time. */
const KEYS = 32;
const THREADS = 128;
const MEMORY = 32 * 1024;

/** Tensor cores through subgroup matrices. */
export const matrixVariant: AttendVariant = {
  name: 'matrix',
  lacking,
  dispatch(device, kernels, call) {
    const { M, N, K } = productOf(device.adapter)!;
    const header = attendHeader(call);
    const dims = Math.ceil(call.dim / 32) * 32;
    // Two subgroups share the rows and two the keys (of scores) or the dimensions (of the output).
    const [queryTiles, dimTiles] = [ROWS / 2 / M, dims / 2 / N];
    const constants = {
      ...header.constants,
      ...{ M, N, K, DIMS: dims, QUERY_TILES: queryTiles, DIM_TILES: dimTiles, OUTPUTS: queryTiles * dimTiles },
      ...{ DEPTH: dims / K, KEY_TILES: KEYS / 2 / N, KEYS_DEEP: KEYS / K, LOADS: (KEYS * dims) / 8 / THREADS },
    };
    const { attendMatrix, attendMatrixRows, attendPlan } = kernels;
    const kernel = device.cached(attendMatrix, JSON.stringify(constants), () => ({
      name: attendMatrix.name,
      body: unroll(attendMatrix.body, constants),
      shared: [attendMatrixRows, attendPlan],
    }));
    const whole = {
      ...MATRIX_HEADER,
      alias: { ...header.alias, Cell: 'vec4u' },
      constants,
    };
    dispatchTiles(device, kernel, whole, call, ROWS);
  },
};

function lacking(capabilities: Capabilities, { dim, dtype }: AttendShape): string | undefined {
  const fits = dim % 8 === 0 && dim >= 8 && dim <= 256;
  const own = fits ? undefined : `it takes a head dimension that is a multiple of 8 from 8 to 256, not ${dim}`;
  return lackingMatrices(capabilities, dtype, MEMORY, own);
}
