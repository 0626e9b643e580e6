// Linear layers on the GPU without matrices, at sizes that fill no tile.
import { describe, expect, test } from 'vitest';
import { type MatmulCall, matmulOnGpu, matmulVariants } from '../../src/dit/webgpu/matmul.ts';
import { openedGpu } from '../gpu/device.ts';
import { type Case, epilogues, errorOf, matmulKernels } from './webgpu-matmul-cases.ts';

const gpu = (await openedGpu())!;
const name = ({ rows, inputs, outputs, ...parts }: Case) => `${rows} x ${inputs} x ${outputs} ${JSON.stringify(parts)}`;

describe.skipIf(!gpu)('linear layers on the GPU', () => {
  const few = epilogues([
    [1, 4, 1],
    [3, 260, 7],
    [16, 36, 13],
    [6, 64, 32],
  ]);
  test.each(few.map((one) => [name(one), one] as const))('few rows: %s', async (_, one) => {
    expect(await errorOf(gpu, one, (call) => matmulOnGpu(gpu, matmulKernels, { ...call, dtype: 'f32' }, 'few'))).toBeLessThan(1e-6);
  });

  const any = epilogues([
    [1, 4, 3],
    [70, 52, 65],
    [33, 20, 130],
    [17, 128, 64],
  ]);
  test.each(any.map((one) => [name(one), one] as const))('portable: %s', async (_, one) => {
    expect(await errorOf(gpu, one, (call) => matmulOnGpu(gpu, matmulKernels, { ...call, dtype: 'f32' }, 'portable'))).toBeLessThan(1e-6);
  });

  test('tiles of 128 x 128 where there are many', async () => {
    const one = { rows: 1030, inputs: 12, outputs: 1000, bias: true };
    expect(await errorOf(gpu, one, (call) => matmulOnGpu(gpu, matmulKernels, { ...call, dtype: 'f32' }))).toBeLessThan(1e-6);
  });

  test('large sums neither overflow nor turn to NaN in an activation', async () => {
    const big = [1e30, -1e30, 200, -200];
    const x = gpu.upload(
      Float32Array.from({ length: 4 * 4 }, (_, at) => (at % 4 === 0 ? big[at / 4] : 0)),
      [4, 4],
    );
    const weight = gpu.upload(Float32Array.of(1, 0, 0, 0), [1, 4]);
    const outputs: Record<string, number[]> = {};
    for (const activation of ['silu', 'gelu_tanh', 'relu', 'tanh'] as const) {
      const out = gpu.tensor([4, 1], 'f32');
      matmulOnGpu(gpu, matmulKernels, { rows: 4, inputs: 4, outputs: 1, dtype: 'f32', x, weight, activation, out });
      outputs[activation] = [...(await gpu.read(out))].map((y, at) => Math.round(y / Math.abs(big[at])) + 0);
    }
    expect(outputs).toEqual({ silu: [1, 0, 1, 0], gelu_tanh: [1, 0, 1, 0], relu: [1, 0, 1, 0], tanh: [0, 0, 0, 0] });
  });

  test('says what it does not take', () => {
    const shape = { rows: 20, inputs: 6, outputs: 5, dtype: 'f32' } as const;
    const call = { ...shape, x: gpu.tensor([20, 6], 'f32'), weight: gpu.tensor([5, 6], 'f32'), out: gpu.tensor([20, 5], 'f32') };
    expect(() => matmulOnGpu(gpu, matmulKernels, call)).toThrow('portable (it takes a multiple of 4 inputs, not 6)');
    expect(() => matmulOnGpu(gpu, matmulKernels, call, 'few')).toThrow('few (it takes at most 16 rows, not 20)');
    const gated: MatmulCall = { ...call, inputs: 4, gate: gpu.tensor([3, 5], 'f32') };
    expect(() => matmulOnGpu(gpu, matmulKernels, gated)).toThrow('a gate of shape [3,5] does not fit 20 rows of 5');
    expect(matmulVariants.map((variant) => variant.name)).toEqual(['few', 'matrix', 'portable']);
  });
});
