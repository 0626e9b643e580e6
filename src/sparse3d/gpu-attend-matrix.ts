// Attention with subgroup matrices: which product is used, and how a workgroup's work is split in products.
import { unroll } from '../backend/webgpu/unroll.ts';
import type { Capabilities, MatrixShape } from '../backend/webgpu/wgsl.ts';
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
      enable: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
      off: ['chromium.subgroup_matrix_uniformity', 'subgroup_uniformity'],
      alias: { ...header.alias, Cell: 'vec4u' },
      constants,
    };
    dispatchTiles(device, kernel, whole, call, ROWS);
  },
};

function lacking(capabilities: Capabilities, { dim, dtype }: AttendShape): string | undefined {
  const { features, limits, subgroupSizes: [smallest, largest] = [0, 0] } = capabilities;
  if (!features.has('chromium-experimental-subgroup-matrix'))
    return 'this GPU or browser has no subgroup matrices (feature chromium-experimental-subgroup-matrix)';
  if (dtype !== 'f16') return `it takes f16, not ${dtype}`;
  if (dim % 8 !== 0 || dim < 8 || dim > 256) return `it takes a head dimension that is a multiple of 8 from 8 to 256, not ${dim}`;
  if (!features.has('shader-f16')) return 'this GPU has no f16 (feature shader-f16)';
  if (smallest !== 32 || largest !== 32) return `it needs subgroups of 32 lanes, and here they have from ${smallest} to ${largest}`;
  if (limits.maxComputeWorkgroupStorageSize < MEMORY)
    return `it needs ${MEMORY} bytes of workgroup memory, and here are ${limits.maxComputeWorkgroupStorageSize}`;
  if (!productOf(capabilities)) return 'this GPU lists no f16 product with f32 sums of 16x16x16, 16x8x16, 8x16x16 or 8x8x8';
  return undefined;
}

/** The product to use, the largest first. */
export function productOf({ matrices }: Capabilities): MatrixShape | undefined {
  const fits = ({ componentType, resultComponentType }: MatrixShape) => componentType === 'f16' && resultComponentType === 'f32';
  for (const [m, n, k] of [
    [16, 16, 16],
    [16, 8, 16],
    [8, 16, 16],
    [8, 8, 8],
  ]) {
    const found = matrices.find((shape) => fits(shape) && shape.M === m && shape.N === n && shape.K === k);
    if (found) return found;
  }
  return undefined;
}
