// `zoetrope doctor`: with no GPU, with one that computes nothing, and what it says of variants.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { create, globals } from 'webgpu';
import type { Capabilities } from '../src/backend/webgpu/wgsl.ts';
import { formatDoctor } from '../src/cli/doctor.ts';
import { main } from '../src/cli/main.ts';
import { type GpuReport, kernelReports } from '../src/doctor/gpu.ts';
import type { DoctorReport } from '../src/doctor/report.ts';

let said = '';
beforeEach(() => {
  said = '';
});
afterEach(() => vi.unstubAllGlobals());

function run(...words: string[]): Promise<number> {
  const out = (text: string) => {
    said += text;
  };
  return main(words, { out, err: () => {}, isScreen: false, columns: 80 }, new AbortController().signal);
}

describe('without a GPU', () => {
  beforeEach(() => vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } }));

  test('says so in one sentence, then the rest, and succeeds', async () => {
    expect(await run('doctor')).toBe(0);
    expect(said).toMatch(/^zoetrope \d+\.\d+\.\d+, Node v\d+.*\n {2}processor .* cores?\n {2}memory .* free\n/);
    expect(said).toMatch(/\nGPU: none\. No GPU adapter was found; .*\.\n/);
    expect(said).toMatch(/\nONNX Runtime: onnxruntime-(node|web) 1\./);
    expect(said).toMatch(/\nffmpeg: /);
    expect(said).toContain('Everything runs on the CPU.');
  });

  test('is an object with --json', async () => {
    expect(await run('doctor', '--json')).toBe(0);
    const report = JSON.parse(said) as DoctorReport;
    expect(report).toMatchObject({ ok: true, gpu: { missing: expect.stringContaining('no GPU adapter') }, version: expect.any(String) });
    expect(report.machine.cores).toBeGreaterThan(0);
    expect(report.machine.memoryBytes).toBeGreaterThanOrEqual(report.machine.freeBytes);
  });
});

test('a GPU that computes nothing fails, and so does the command', async () => {
  vi.stubGlobal('navigator', { gpu: create(['backend=null']) });
  for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
  expect(await run('doctor')).toBe(1);
  expect(said).toMatch(/FAILED +attend portable, f32 +/);
  expect(said).toContain('A self-test failed: results of this GPU cannot be trusted.');
});

describe('of the kernels', () => {
  const offers = (features: readonly string[], more: Partial<Capabilities> = {}): Capabilities => ({
    features: new Set(features),
    limits: { maxComputeWorkgroupStorageSize: 49_152, maxComputeInvocationsPerWorkgroup: 1024 },
    matrices: [],
    ...more,
  });

  test('it names the variant and why better ones cannot run', () => {
    const reports = kernelReports(offers([]));
    const attention = reports.filter(({ kernel }) => kernel === 'attend');
    expect(attention.map(({ call, variant }) => [call, variant])).toEqual([
      ['f16, 128 a head', undefined],
      ['f32, 128 a head', 'portable'],
    ]);
    const passedOver = attention.map(({ rejected }) => rejected.map(({ name }) => name));
    expect(passedOver).toEqual([['matrix', 'subgroups', 'portable'], ['matrix']]);
    const linear = reports.filter(({ kernel }) => kernel === 'matmul');
    expect(linear.map(({ call, variant, rejected }) => [call, variant, rejected.map(({ name }) => name)])).toEqual([
      ['f16, 1536 to 8960', undefined, ['matrix', 'portable']],
      ['f32, 1536 to 8960', 'portable', ['matrix']],
    ]);
    for (const { rejected } of reports) for (const { reason } of rejected) expect(reason).not.toBe('');
  });

  test('it asks the adapter, never its vendor', () => {
    const subgroups = kernelReports(offers(['subgroups', 'shader-f16'], { subgroupSizes: [32, 32] }));
    expect(subgroups.find(({ kernel, call }) => kernel === 'attend' && call.startsWith('f16'))?.variant).toBe('subgroups');
  });
});

test('the text of a GPU is read at a glance', () => {
  const gpu: GpuReport = {
    device: 'Acme Tower 5',
    vendor: 'acme',
    architecture: 'tower',
    description: 'driver 17.0',
    software: false,
    features: ['shader-f16', 'subgroups'],
    subgroupSizes: [8, 32],
    matrices: ['f16 -> f32 16x16x16'],
    limits: {
      maxBufferSize: 2 ** 40,
      maxStorageBufferBindingSize: 2 ** 31,
      maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 49_152,
      maxComputeInvocationsPerWorkgroup: 1024,
    },
    kernels: [
      { kernel: 'attend', call: 'f16, 128 a head', variant: 'subgroups', rejected: [{ name: 'matrix', reason: 'no matrices' }] },
      { kernel: 'sampledScores', call: 'f16, 128 a head, 16 rows of 64', rejected: [] },
    ],
    selfTests: [
      { variant: 'attend subgroups, f16', verdict: 'passed', detail: 'error 3.0e-4, at most 0.002 (out)', milliseconds: 120 },
      { variant: 'attend matrix, f16', verdict: 'skipped', detail: 'no matrices', milliseconds: 1 },
    ],
  };
  const machine = { platform: 'linux x64', node: 'v20.0.0', processor: 'Acme', cores: 1, memoryBytes: 8e9, freeBytes: 4e9 };
  const rest = {
    onnxRuntime: { name: 'onnxruntime-web', version: '1.30.0', hint: 'install more' },
    ffmpeg: { missing: 'no ffmpeg; install one' },
  };
  expect(formatDoctor({ ok: true, machine, gpu, ...rest }, '1.2.3')).toBe(`zoetrope 1.2.3, Node v20.0.0, linux x64
  processor   Acme, 1 core
  memory      8.0 GB, 4.0 GB free

GPU: Acme Tower 5 (driver 17.0, acme tower)
  features    shader-f16, subgroups
  subgroups   of 8 to 32
  matrices    f16 -> f32 16x16x16
  buffers     1.1 TB, bound up to 2.1 GB, 8 at once
  workgroups  1024 threads, 49.2 kB of memory

Kernels
  attend (f16, 128 a head)                        subgroups
    not matrix: no matrices
  sampledScores (f16, 128 a head, 16 rows of 64)  cannot run

Self-test against f64
  passed   attend subgroups, f16  error 3.0e-4, at most 0.002 (out), 120 ms
  skipped  attend matrix, f16     no matrices

ONNX Runtime: onnxruntime-web 1.30.0; install more
ffmpeg: none. No ffmpeg; install one.

All self-tests that can run here passed. --device auto takes this GPU, in f16.
`);
  expect(formatDoctor({ ok: true, machine, gpu: { ...gpu, software: true }, ...rest }, '1.2.3')).toContain(
    'passed. --device auto takes the CPU, because this GPU is software.\n',
  );
});
