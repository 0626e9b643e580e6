// Kernels that no software GPU can run are at least WGSL: Dawn's null backend compiles everything and computes nothing. It is made to look like a
// GPU with subgroup matrices; what it has no room for fails later than the text of a kernel.

import { expect, test } from 'vitest';
import type { GpuDevice } from '../../src/backend/webgpu/device.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { runChecks } from '../../src/conformance/index.ts';
import { variantSuites } from '../../src/conformance/suites.ts';
import { dispatchWide } from '../../src/sparse3d/gpu-attend-matrix.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import { nullGpu } from './null.ts';

const OTHERS = [
  [16, 8, 16],
  [8, 16, 16],
  [8, 8, 8],
];

const device = nullGpu();

function withMatrices([M, N, K]: readonly number[]): GpuDevice {
  const results = ['f32', 'f16'];
  const adapter = {
    ...device().adapter,
    subgroupSizes: [32, 32] as const,
    matrices: results.map((resultComponentType) => ({ componentType: 'f16', resultComponentType, M, N, K })),
    limits: { ...device().adapter.limits, maxComputeWorkgroupStorageSize: 2 ** 17, maxComputeInvocationsPerWorkgroup: 1024 },
  };
  return Object.assign(device(), { adapter });
}

/** Names of the suites whose kernels were compiled. */
async function compile(device: GpuDevice, concerned: (suite: string) => boolean): Promise<Set<string>> {
  const compiled = new Set<string>();
  for (const { name, ops, checks } of (await variantSuites(device, ['quick', 'medium'])).filter(({ name }) => concerned(name)))
    for await (const outcome of runChecks(checks, ops)) {
      if ('failed' in outcome) expect(outcome.failed, `${name}: ${outcome.name}`).not.toMatch(/\.wgsl:\d+:\d+|the header of/);
      if (!('skipped' in outcome)) compiled.add(name);
    }
  return compiled;
}

test('every variant compiles, in every storage', async () => {
  const compiled = await compile(withMatrices([16, 16, 16]), () => true);
  for (const name of ['attend matrix, f16', 'attend subgroups, f16', 'attend portable, f16', 'attend portable, f32', 'score matrix, f16'])
    expect(compiled).toContain(name);
});

test.each(OTHERS)('attention compiles with matrices of %i x %i x %i', async (...shape) => {
  expect([...(await compile(withMatrices(shape), (name) => name.startsWith('attend matrix')))]).toEqual(['attend matrix, f16']);
});

test.each([[16, 16, 16], ...OTHERS])('attention of 128 rows compiles with matrices of %i x %i x %i', async (...shape) => {
  const gpu = withMatrices(shape);
  const x = gpu.tensor([2, 128, 128], 'f16');
  const rows = { q: 128, k: 128 };
  const tensors = { q: x, k: x, v: x, out: gpu.tensor(x.shape, 'f16'), lse: gpu.tensor([2, 128], 'f32') };
  const call = {
    heads: 2,
    dim: 128,
    dtype: 'f16' as const,
    rows,
    block: { q: 1, k: 1 },
    blocks: rows,
    levels: [{ pool: 1, base: 0 }],
    ...tensors,
  };
  dispatchWide(4)(gpu, await loadKernels(sparse3dKernels), call);
  // The null GPU has no room for it: that is said behind the text.
  await expect(gpu.idle()).rejects.toThrow(/total use of workgroup storage/);
});
