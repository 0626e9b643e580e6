// What a run is said to take: seconds by the rates of what it runs on, and bytes on each side.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { AdapterReport } from '../src/backend/webgpu/adapter.ts';
import type { WanConfig } from '../src/dit/wan.ts';
import { estimate, type Machine, type Workload } from '../src/estimate.ts';

/** Wan 2.1 T2V-1.3B at 480 x 832, 81 frames. */
const config: WanConfig = {
  patch: [1, 2, 2],
  ...{ heads: 12, headDim: 128, inChannels: 16, outChannels: 16, textDim: 4096, freqDim: 256, ffnDim: 8960, layers: 30 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 1024 },
};
const work: Workload = {
  ...{ tokens: 32_760, textTokens: 512, forwards: 10, density: 1, megapixels: 32, decoderBytes: 5e9, held: false },
  ...{ weightBytes: 2.84e9, weightElements: 1.42e9 },
};
const cpu: Machine = { runtime: { name: 'onnxruntime-node', threads: 8 } };

const h100: AdapterReport = {
  ...{ vendor: 'nvidia', architecture: 'hopper', device: 'nvidia-h100-80gb-hbm3', description: '', software: false },
  features: new Set(['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix', 'subgroup_id']),
  limits: { maxComputeWorkgroupStorageSize: 49_152, maxComputeInvocationsPerWorkgroup: 1024 },
  subgroupSizes: [32, 32],
  matrices: [{ componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 }],
};
const on = (adapter: Partial<AdapterReport>, dtype: 'f32' | 'f16' = 'f16'): Machine => ({
  runtime: { name: 'onnxruntime-node', threads: 8 },
  gpu: { adapter: { ...h100, ...adapter }, dtype, bytes: { weights: 2.84e9, kept: 2e8, values: 1e9 }, batch: 1 },
});

test('seconds follow the rates of the kernels that a GPU would take, and say when they are those of another', () => {
  const decoding = estimate(config, { ...work, forwards: 0 }, on({})).seconds;
  const forwards = (machine: Machine) => estimate(config, work, machine).seconds - decoding;
  // An H100 takes 1.40 seconds for a dense forward and 0.63 at this density (bench/results/step-gpu-480p.json).
  const dense = forwards(on({})) / 10;
  const sparse = (estimate(config, { ...work, density: 0.201 }, on({})).seconds - decoding) / 10;
  expect(dense / 1.4).toBeCloseTo(1, 1);
  expect(sparse / 0.63).toBeCloseTo(1, 1);
  for (const slower of [on({ matrices: [] }), on({}, 'f32')]) expect(forwards(slower)).toBeGreaterThan(5 * forwards(on({})));
  expect(estimate(config, work, on({})).rough).toBeUndefined();
  expect(estimate(config, work, on({ device: 'intel-arc' })).rough).toBe('they are those of an NVIDIA H100, and this GPU was not measured');
  expect(estimate(config, work, cpu)).not.toHaveProperty('rough');
  expect(estimate(config, work, cpu).seconds).toBeGreaterThan(100 * forwards(on({})));
});

test.each([
  ['demo-onnxruntime-node-2304', 33 * 256 ** 2],
  ['demo-onnxruntime-node-5200', 49 * 320 ** 2],
  ['demo-onnxruntime-web-2304', 33 * 256 ** 2],
])('seconds on a CPU are near those of %s', (name, pixels) => {
  const { options, machine, cases } = JSON.parse(readFileSync(new URL(`../bench/results/${name}.json`, import.meta.url), 'utf8'));
  const small: WanConfig = { ...config, ...{ heads: 4, headDim: 64, textDim: 256, ffnDim: 1024, layers: 8 } };
  const runs = cases.filter(({ rounds }: { rounds?: unknown }) => rounds);
  expect(runs).toHaveLength(3);
  for (const { tokens, density, milliseconds } of runs) {
    // 24 steps, of which 15 have a second branch.
    const job = { ...work, textTokens: 64, forwards: 39, tokens, density, megapixels: pixels / 1e6 };
    const { seconds } = estimate(small, job, { runtime: { name: options.runtime, threads: machine.cores } });
    expect(Math.abs(1000 * seconds - milliseconds.best) / milliseconds.best).toBeLessThan(density === 1 ? 0.1 : 0.15);
  }
});

test('bytes are counted where they lie', () => {
  const small = { ...work, decoderBytes: 1e9 };
  const dense = estimate(config, small, on({}));
  expect(dense.gpuBytes).toBe(2.84e9 + 2e8 + 1e9);
  expect(dense.bytes).toBeLessThan(1e9);
  expect(estimate(config, { ...small, density: 0.2 }, on({})).gpuBytes).toBeGreaterThan(dense.gpuBytes!);
  // The decoder works on the GPU too, after the transformer or beside it.
  expect(estimate(config, work, on({})).gpuBytes).toBe(5e9);
  expect(estimate(config, { ...work, held: true }, on({})).gpuBytes).toBe(5e9 + dense.gpuBytes!);
  const host = estimate(config, work, cpu);
  expect(host).not.toHaveProperty('gpuBytes');
  expect(host.bytes).toBeGreaterThan(4 * work.weightElements);
  // Seen at 480 x 832, 5 frames with the shapes of the 1.3B model: 7.3e9 with weights of zeros, which take less.
  const few = estimate(config, { ...work, tokens: 3120 }, cpu);
  expect(few.bytes).toBeGreaterThan(7.3e9);
  expect(few.bytes).toBeLessThan(1.3 * 7.3e9);
});
