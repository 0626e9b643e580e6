// Subgroup matrices: which product of them kernels use, what they need of a GPU beside it, and the header they stand under.
import type { DType } from '../../tensor.ts';
import type { Capabilities, Header, MatrixShape } from './wgsl.ts';

/** What every kernel with subgroup matrices is compiled under; f16 into f32 sums. */
export const MATRIX_HEADER: Header = {
  enable: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
  off: ['chromium.subgroup_matrix_uniformity', 'subgroup_uniformity'],
};

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

/** Why a kernel with subgroup matrices that takes `bytes` of workgroup memory cannot run here; `own` is its own reason against a call. */
export function lackingMatrices(capabilities: Capabilities, dtype: DType, bytes: number, own?: string): string | undefined {
  const { features, limits, subgroupSizes: [smallest, largest] = [0, 0] } = capabilities;
  const missing = ['chromium-experimental-subgroup-matrix', 'shader-f16', 'subgroup_id'].filter((feature) => !features.has(feature));
  if (missing.length > 0)
    return `this GPU or browser lacks what subgroup matrices of f16 take (${missing.map((feature) => `feature ${feature}`).join(', ')})`;
  if (dtype !== 'f16') return `it takes f16, not ${dtype}`;
  if (own) return own;
  if (smallest !== 32 || largest !== 32) return `it needs subgroups of 32 lanes, and here they have from ${smallest} to ${largest}`;
  const most = limits.maxComputeWorkgroupStorageSize;
  if (most < bytes) return `it needs ${bytes} bytes of workgroup memory, and this GPU gives ${most}`;
  if (!productOf(capabilities)) return 'this GPU lists no f16 product with f32 sums of 16x16x16, 16x8x16, 8x16x16 or 8x8x8';
  return undefined;
}
