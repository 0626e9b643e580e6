// Kernels that no software GPU can run are at least WGSL: Dawn's null backend compiles everything and computes nothing. It is made to look like a
// GPU with subgroup matrices; what it has no room for fails later than the text of a kernel.

import { expect, test } from 'vitest';
import type { GpuDevice } from '../../src/backend/webgpu/device.ts';
import { runChecks } from '../../src/conformance/index.ts';
import { variantSuites } from '../../src/conformance/suites.ts';
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
