// The step cache: which steps it skips, by the rule in plain numbers; what it computes always; that it gives all back; that searches are made up for.
import { afterAll, describe, expect, test } from 'vitest';
import { createAttention } from '../../src/attention.ts';
import type { Backend } from '../../src/backend/backend.ts';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import { type DenoiseOptions, type DenoiseStep, denoise } from '../../src/dit/denoise.ts';
import { createSampler } from '../../src/dit/sampler.ts';
import { type StepCache, skippable, stepCache } from '../../src/dit/step-cache.ts';
import type { ForwardInputs, Transformer } from '../../src/dit/transformer.ts';
import { adaSpa, dense } from '../../src/methods.ts';
import { searchAt } from '../../src/search/schedule.ts';
import { raster } from '../../src/sparse3d/layout.ts';
import { openedGpu } from '../gpu/device.ts';
import { numbers } from '../sparse3d/cases.ts';

const device = await openCpu('onnxruntime-web');
afterAll(() => device.dispose());
const gpu = await openedGpu();
const backends: [string, Backend][] = [
  ['cpu', await cpuBackend(device)],
  ...(gpu ? [['webgpu', await webgpuBackend(gpu)] as [string, Backend]] : []),
];

/** Bytes that the GPU's tensors hold. */
const memory = (): number | undefined => {
  gpu?.trim();
  return gpu?.memory.bytes;
};

const euler = { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 1 };
const STEPS = 12;
const shape = [2, 3, 4, 5] as const;
const noise = numbers(120, 3, 1);

/** A model whose velocity is f(timestep) x, on a text's own scale. */
function linear(ops: Backend, forwards: number[], factor: (timestep: number) => number): Transformer {
  const forward = async ({ latents, timesteps }: ForwardInputs) => {
    forwards.push(timesteps[0]);
    return ops.combine([latents], [factor(timesteps[0] / 1000)]);
  };
  return { config: { layers: 1 }, grid: () => ({ frames: 3, height: 4, width: 5, text: 0 }), forward } as unknown as Transformer;
}

const factor = (share: number): number => 0.4 + 0.3 * share ** 3;

interface Seen {
  readonly skipped: boolean[];
  readonly latents: Float32Array;
  readonly forwards: number;
}

async function run(ops: Backend, cache: StepCache | undefined, options: Partial<DenoiseOptions> = {}): Promise<Seen> {
  const forwards: number[] = [];
  const model = linear(ops, forwards, factor);
  const [prompt, negative] = [0, 1].map(() => ops.upload(new Float32Array(1), [1, 1, 1]));
  const skipped: boolean[] = [];
  try {
    const latents = await denoise({
      ...{ ops, shape, latents: noise, prompt, negative, ...(cache && { cache }) },
      sampler: createSampler(euler, { steps: STEPS }),
      attention: createAttention(ops, dense()),
      transformerAt: async () => ({ transformer: model, lowNoise: false }),
      guidance: { scale: 1, interval: [0, 1] },
      onStep: (step) => void skipped.push(step.skipped),
      ...options,
    });
    return { skipped, latents, forwards: forwards.length };
  } finally {
    for (const text of [prompt, negative]) ops.release(text);
  }
}

/** EasyCache's rule in f64, over Euler steps of the same model. */
function expected(threshold: number, warmup: number): { skipped: boolean[]; latents: number[] } {
  const { timesteps, sigmas } = createSampler(euler, { steps: STEPS });
  const size = (a: readonly number[], b?: readonly number[]) => a.reduce((sum, x, i) => sum + Math.abs(x - (b?.[i] ?? 0)), 0) / a.length;
  let x = [...noise];
  let [v, at, rate, error]: [number[], number[], number, number] = [[], [], Number.NaN, Number.NaN];
  let before: number[] = [];
  const skipped: boolean[] = [];
  for (let step = 0; step < STEPS; step++) {
    if (step > 0) error += (rate * size(x, before)) / size(v);
    const skip = step >= warmup && step < STEPS - 1 && error < threshold;
    skipped.push(skip);
    if (!skip) {
      const now = x.map((one) => factor(timesteps[step] / 1000) * one);
      if (step > 0) rate = size(now, v) / size(x, at);
      [v, at, error] = [now, x, 0];
    }
    before = x;
    x = x.map((one, i) => one + (sigmas[step + 1] - sigmas[step]) * v[i]);
  }
  return { skipped, latents: x };
}

describe.each(backends)('on %s', (_, ops) => {
  test.each([0.05, 0.1, 0.3])('threshold %d skips the steps of the rule in plain numbers', async (threshold) => {
    const wanted = expected(threshold, 3);
    const { skipped, latents, forwards } = await run(ops, stepCache({ threshold, warmup: 3 }));
    expect(skipped).toEqual(wanted.skipped);
    expect(wanted.skipped).toContain(true);
    expect(forwards).toBe(skipped.filter((one) => !one).length);
    for (const [i, x] of latents.entries()) expect(x).toBeCloseTo(wanted.latents[i], 5);
  });

  test('a threshold of 0 skips nothing and changes nothing', async () => {
    const [plain, cached] = [await run(ops, undefined), await run(ops, stepCache({ threshold: 0 }))];
    expect(cached).toEqual(plain);
    expect(plain.skipped).not.toContain(true);
  });

  test.each([false, true])(
    'one decision is for both branches, batched: %s; where guidance ends two steps are computed',
    async (batched) => {
      const before = memory();
      const guided = { batched, guidance: { scale: 2, interval: [0, 0.6] as const } };
      const { skipped, forwards } = await run(ops, stepCache({ threshold: 10 }), guided);
      expect(skipped.map(Number).join('')).toBe('001111110010');
      expect(forwards).toBe((batched ? 2 : 4) + 3);
      expect(memory()).toBe(before);
    },
  );

  test('where a second transformer takes over two steps are computed', async () => {
    const [high, low]: number[][] = [[], []];
    const models = { high: linear(ops, high, factor), low: linear(ops, low, (share) => 1 - share) };
    const transformerAt = async (timestep: number) => {
      const lowNoise = timestep < 500;
      return { transformer: lowNoise ? models.low : models.high, lowNoise };
    };
    const { skipped } = await run(ops, stepCache({ threshold: 10 }), { transformerAt });
    expect(skipped.map(Number).join('')).toBe('001111001110');
    expect([high.length, low.length]).toEqual([2, 3]);
  });

  test('a run that fails gives back what the cache held', async () => {
    const before = memory();
    const onStep = ({ step }: DenoiseStep) => {
      if (step === 5) throw new Error('no more');
    };
    await expect(run(ops, stepCache(), { onStep })).rejects.toThrow('no more');
    expect(memory()).toBe(before);
  });
});

test('a search that a skipped step was to make is made at the next one, once', async () => {
  const ops = backends[0][1];
  const method = { ...adaSpa(), layout: raster(16), schedule: searchAt(0.2, 0.6) };
  const { attention, take, reset } = createAttention(ops, method);
  const [q, k, v] = [1, 2, 3].map((seed) => ops.upload(numbers(40 * 16, seed, 2), [1, 40, 16]));
  const phases: string[] = [];
  for (const step of [0, 3, 4, 5, 8, 9]) {
    const site = { step, steps: 10, layer: 0, layers: 1, branches: [0], grid: { frames: 1, height: 5, width: 8, text: 0 } };
    ops.release(attention(q, k, v, site));
    const { dense, searches } = await take();
    phases.push(dense ? 'dense' : searches ? 'search' : 'reuse');
  }
  reset();
  expect(phases).toEqual(['dense', 'search', 'reuse', 'reuse', 'search', 'reuse']);
});

test('what may be skipped is all but the warm-up and the last step', () => {
  expect([1, 2, 3, 4, 24, 50].map((steps) => skippable(stepCache(), steps))).toEqual([0, 0, 0, 1, 18, 39]);
  expect(skippable(stepCache({ warmup: 10 }), 24)).toBe(13);
  expect(skippable(stepCache({ threshold: 0 }), 24)).toBe(0);
});

test.each([
  [{ threshold: Number.NaN }, 'a step cache with threshold NaN is not possible; give a finite number from 0 on, such as 0.05'],
  [{ threshold: -1 }, 'threshold -1'],
  [{ warmup: 1.5 }, 'warmup is 1.5; give a share from 0 to below 1, or a whole number of them'],
])('%o is refused', (options, message) => {
  expect(() => stepCache(options)).toThrow(message);
});
