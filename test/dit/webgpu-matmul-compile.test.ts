// Kernels of linear layers that no software GPU can run are at least WGSL: Dawn's null backend compiles everything and computes nothing. It is
// made to look like a GPU with subgroup matrices and room for every tiling.
import { expect, test } from 'vitest';
import { tilings } from '../../bench/matmul-tilings.ts';
import { type MatmulVariant, matmulVariants } from '../../src/dit/webgpu/matmul.ts';
import { bytesOfTiling, matrixWith, TILING } from '../../src/dit/webgpu/matmul-matrix.ts';
import { nullGpu } from '../gpu/null.ts';
import { matmulKernels } from './webgpu-matmul-cases.ts';

const device = nullGpu();

/** What is wrong with the kernel's text; a tiling that this backend has no room for fails later. */
async function wrongWith(variant: MatmulVariant, [M, N, K]: readonly number[], rows: number, dtype: 'f16' | 'f32'): Promise<string> {
  const adapter = {
    ...device().adapter,
    subgroupSizes: [32, 32] as const,
    matrices: [{ componentType: 'f16', resultComponentType: 'f32', M, N, K }],
    limits: { ...device().adapter.limits, maxComputeWorkgroupStorageSize: 2 ** 16, maxComputeInvocationsPerWorkgroup: 1024 },
  };
  const gpu = Object.assign(device(), { adapter });
  const [inputs, outputs] = [40, 24];
  expect(variant.lacking(adapter, { rows, inputs, outputs, dtype })).toBeUndefined();
  return gpu.scope(() => {
    const [x, weight, out] = [gpu.tensor([rows, inputs], dtype), gpu.tensor([outputs, inputs], dtype), gpu.tensor([rows, outputs], dtype)];
    const others = {
      bias: gpu.tensor([outputs], 'f32'),
      gate: gpu.tensor([1, outputs], dtype),
      residual: gpu.tensor([rows, outputs], dtype),
    };
    gpu.dispatch(variant.launch(gpu, matmulKernels, { rows, inputs, outputs, dtype, x, weight, ...others, activation: 'gelu_tanh', out }));
    return gpu.idle().then(
      () => '',
      (error: Error) => (/\.wgsl:\d+:\d+|the header of/.test(error.message) ? error.message : ''),
    );
  });
}

const named = (name: string) => matmulVariants.find((variant) => variant.name === name)!;

test.each(['f16', 'f32'] as const)('without matrices, %s', async (dtype) => {
  expect(await wrongWith(named('few'), [16, 16, 16], 5, dtype)).toBe('');
  expect(await wrongWith(named('portable'), [16, 16, 16], 20, dtype)).toBe('');
});

test.each([...tilings])('tiling %s', async (_, tiling) => {
  expect(await wrongWith(matrixWith(tiling), [16, 16, 16], 20, 'f16')).toBe('');
});

test.each([
  [16, 8, 16],
  [8, 16, 16],
  [8, 8, 8],
])('matrices of %i x %i x %i', async (...shape) => {
  expect(await wrongWith(matrixWith(TILING), shape, 20, 'f16')).toBe('');
});

test('room', () => {
  expect(bytesOfTiling(TILING)).toBe(20_480);
});
