// The pipeline with its transformer on the GPU: the same videos as on the CPU, what auto takes, refusals, and how GPUs are closed and lost.
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { UnsupportedError } from '../src/errors.ts';
import type { Attention, Method } from '../src/method.ts';
import { adaSpa, dense } from '../src/methods.ts';
import type { GenerateOptions } from '../src/options.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { openedGpu } from './gpu/device.ts';

const SMALL = { height: 48, width: 64, numFrames: 5, numInferenceSteps: 2, guidanceScale: 3, seed: 1 } satisfies GenerateOptions;
const PROMPT = 'a rocket flying up over a night sky';
/** A complete checkpoint with random weights, of two layers. */
const tiny = fileURLToPath(new URL('golden/wan-pipeline/pipeline', import.meta.url));

const bare: Attention = (_q, _k, v) => v;

const opened = await openedGpu();
const isSoftware = opened?.adapter.software;

async function pixels(pipe: TextToVideoPipeline, options: GenerateOptions = {}): Promise<Uint8Array> {
  const frames: Uint8Array[] = [];
  for await (const { data } of pipe(PROMPT, { ...SMALL, ...options })) frames.push(data);
  return Buffer.concat(frames);
}

const largestDifference = (a: Uint8Array, b: Uint8Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), a.length === b.length ? 0 : 256);

/** Devices that are opened from here on. */
function devicesOpened(): () => Promise<GPUDevice[]> {
  const asked = vi.spyOn(GPUAdapter.prototype, 'requestDevice');
  return () => Promise.all(asked.mock.results.map(({ value }) => value as Promise<GPUDevice>));
}

afterEach(() => void vi.restoreAllMocks());

describe.skipIf(!opened)('on webgpu', () => {
  let cpu: TextToVideoPipeline;
  let gpu: TextToVideoPipeline;
  let device: GPUDevice;
  beforeAll(async () => {
    const devices = devicesOpened();
    cpu = await TextToVideoPipeline.fromPretrained(tiny);
    gpu = await TextToVideoPipeline.fromPretrained(tiny, { device: 'webgpu', dtype: 'f32' });
    [device] = await devices();
  });
  afterAll(async () => {
    await cpu.dispose();
    await gpu.dispose();
  });

  test.each<[string, Method | Attention, GenerateOptions]>([
    ['dense', dense(), {}],
    ['adaSpa, whose third step reads by a plan', adaSpa({ sparsity: 0.6 }), { width: 128, height: 128, numInferenceSteps: 3 }],
    ['a bare function, without guidance', bare, { guidanceScale: 1 }],
  ])('%s gives the frames of the CPU', async (_name, attention, size) => {
    const densities = { cpu: [] as number[], gpu: [] as number[] };
    const options = (name: 'cpu' | 'gpu') => ({
      ...size,
      attention,
      onStep: ({ density }: { density: number }) => void densities[name].push(density),
    });
    const [want, got] = [await pixels(cpu, options('cpu')), await pixels(gpu, options('gpu'))];
    expect(largestDifference(want, got)).toBeLessThanOrEqual(1);
    expect(densities.cpu.at(-1)! < 1).toBe(size.numInferenceSteps === 3);
    expect(densities.gpu).toEqual(densities.cpu.map((density) => expect.closeTo(density, 6)));
  });

  test('the embedded model gives the frames of the CPU', async () => {
    const size = { height: 32, width: 32, numFrames: 1, guidanceScale: 1 };
    const frames: Uint8Array[] = [];
    for (const device of ['cpu', 'webgpu'] as const) {
      const pipe = await TextToVideoPipeline.fromPretrained(undefined, { device, dtype: 'f32' });
      frames.push(await pixels(pipe, size));
      await pipe.dispose();
    }
    expect(largestDifference(frames[0], frames[1])).toBeLessThanOrEqual(1);
  });

  test('encoder and decoder may run on the same GPU', async () => {
    const options = { device: 'webgpu', dtype: 'f32', runtime: 'onnxruntime-webgpu' } as const;
    const whole = await TextToVideoPipeline.fromPretrained(tiny, options);
    const quick = { attention: bare, guidanceScale: 1, numInferenceSteps: 1 };
    expect(whole.runtime.name).toBe('onnxruntime-webgpu');
    expect(largestDifference(await pixels(cpu, quick), await pixels(whole, quick))).toBeLessThanOrEqual(1);
    await whole.dispose();
  });

  test('a report says where it ran', async () => {
    expect(cpu.device).toEqual({ name: 'cpu', dtype: 'f32', reason: 'the CPU is the default' });
    expect(gpu.device).toMatchObject({ name: 'webgpu', dtype: 'f32', reason: 'webgpu was asked for' });
    expect(gpu.device.adapter).toBe(opened?.adapter.device);
    const video = gpu(PROMPT, { ...SMALL, numInferenceSteps: 1 });
    for await (const _ of video);
    const { name: device, dtype, adapter } = gpu.device;
    expect(await video.report).toMatchObject({ device, dtype, adapter, runtime: cpu.runtime.name });
    const whole = cpu(PROMPT, { ...SMALL, numInferenceSteps: 1 });
    for await (const _ of whole);
    expect(await whole.report).toMatchObject({ device: 'cpu', dtype: 'f32' });
    expect(await whole.report).not.toHaveProperty('adapter');
  });

  test('an abort ends the run, and the pipeline works on', async () => {
    const controller = new AbortController();
    const options = { signal: controller.signal, onStep: () => controller.abort(new Error('enough')) };
    await expect(pixels(gpu, options)).rejects.toThrow('enough');
    expect((await pixels(gpu)).length).toBe(5 * 48 * 64 * 3);
  });

  test('a GPU that is lost is said once, and the next call opens it anew', async () => {
    const devices = devicesOpened();
    const quick = { attention: bare, guidanceScale: 1 };
    const before = await pixels(gpu, quick);
    await expect(pixels(gpu, { ...quick, onStep: () => device.destroy() })).rejects.toThrow(
      /^the GPU was lost \(destroyed.*\); call the pipeline again: it opens the GPU anew$/,
    );
    expect(await pixels(gpu, quick)).toEqual(before);
    const [anew, ...others] = await devices();
    expect(others).toEqual([]);
    await gpu.dispose();
    expect((await anew.lost).reason).toBe('destroyed');
  });
});

describe.skipIf(!opened)('GPUs are closed', () => {
  test('by dispose, and when a part is refused', async () => {
    const devices = devicesOpened();
    const open = (vae?: string) => TextToVideoPipeline.fromPretrained(tiny, { device: 'webgpu', ...(vae && { vae }) });
    await (await open()).dispose();
    await expect(open('/nowhere.safetensors')).rejects.toThrow('/nowhere.safetensors');
    const all = await devices();
    expect(all.length).toBe(2);
    for (const device of all) expect((await device.lost).reason).toBe('destroyed');
  });
});

describe('choices and refusals', () => {
  const open = (options: object) => TextToVideoPipeline.fromPretrained(tiny, options);

  test('names that are none', async () => {
    await expect(open({ device: 'gpu' })).rejects.toThrow('there is no device "gpu"; choose cpu, webgpu, auto');
    await expect(open({ dtype: 'bf16' })).rejects.toThrow('there is no dtype "bf16"; choose f32 or f16');
  });

  test('f16 on the CPU', async () => {
    await expect(open({ dtype: 'f16' })).rejects.toThrow(UnsupportedError);
    await expect(open({ dtype: 'f16' })).rejects.toThrow(
      'the CPU computes in f32 and has no f16 (the CPU is the default); choose f32, or device webgpu',
    );
  });

  test('no GPU: webgpu is refused, auto takes the CPU and says why', async () => {
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } });
    try {
      await expect(open({ device: 'webgpu' })).rejects.toThrow(/^no GPU adapter was found; /);
      await expect(open({ device: 'webgpu' })).rejects.toThrow(UnsupportedError);
      const pipe = await open({ device: 'auto' });
      expect(pipe.device).toMatchObject({ name: 'cpu', dtype: 'f32' });
      expect(pipe.device.reason).toMatch(/^auto took the CPU: no GPU adapter was found; /);
      await pipe.dispose();
      await expect(open({ device: 'auto', dtype: 'f16' })).rejects.toThrow(/no f16 \(auto took the CPU: no GPU adapter/);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test.skipIf(!isSoftware)('a software GPU: auto leaves it, f16 is refused, and it is closed', async () => {
    const devices = devicesOpened();
    const pipe = await open({ device: 'auto' });
    expect(pipe.device.name).toBe('cpu');
    expect(pipe.device.reason).toBe(`auto took the CPU: the only GPU, ${opened?.adapter.device}, is software and slower`);
    await pipe.dispose();
    await expect(open({ device: 'webgpu', dtype: 'f16' })).rejects.toThrow(
      `the GPU ${opened?.adapter.device} stores no f16 (feature shader-f16 is missing); choose f32`,
    );
    for (const device of await devices()) expect((await device.lost).reason).toBe('destroyed');
  });
});
