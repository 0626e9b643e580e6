// The denoising loop over a small random transformer, on the CPU and on a GPU: the same latents, alone or in batches; what it waits for, what a step
// shows, and what it frees, however it ends.
import { afterAll, describe, expect, test } from 'vitest';
import { type BoundAttention, createAttention } from '../../src/attention.ts';
import type { Backend } from '../../src/backend/backend.ts';
import { openCpu } from '../../src/backend/cpu.ts';
import { type DenoiseOptions, denoise } from '../../src/dit/denoise.ts';
import type { Executor } from '../../src/dit/executor.ts';
import { cpuExecutor } from '../../src/dit/onnx/executor.ts';
import { createSampler } from '../../src/dit/sampler.ts';
import { type ForwardInputs, type Transformer, transformer } from '../../src/dit/transformer.ts';
import { wanTransformer } from '../../src/dit/wan.ts';
import { gpuExecutor } from '../../src/dit/webgpu/executor.ts';
import { memoryWeights, type TensorData } from '../../src/dit/weights.ts';
import type { Attention, Method } from '../../src/method.ts';
import { adaSpa, dense } from '../../src/methods.ts';
import { raster } from '../../src/sparse3d/layout.ts';
import { elements } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';
import { numbers, relativeError } from '../sparse3d/cases.ts';

const device = await openCpu('onnxruntime-web');
afterAll(() => device.dispose());
const gpu = await openedGpu();
const executors = { cpu: cpuExecutor(device), ...(gpu && { webgpu: await gpuExecutor(gpu) }) };
const named = Object.entries(executors) as [string, Executor][];

const unipc = { _class_name: 'UniPCMultistepScheduler', prediction_type: 'flow_prediction', use_flow_sigmas: true, flow_shift: 3 };
const STEPS = 4;
// 40 tokens: three blocks, the last of them short.
const shape = [4, 2, 8, 10] as const;
const wan = {
  patch: [1, 2, 2] as const,
  ...{ heads: 2, headDim: 16, inChannels: 4, outChannels: 4, textDim: 12, freqDim: 16, ffnDim: 48, layers: 1 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
};

/** What a transformer says of itself that computes something else. */
const oneLayer = { config: { layers: 1 }, grid: () => ({ frames: 1, height: 1, width: 1, text: 0 }) };

function randomWeights(seed: number) {
  const tensors: Record<string, TensorData> = {};
  for (const { operation, shape, id } of wanTransformer(wan, { batch: 1, frames: 1, height: 2, width: 2, textTokens: 1 }).nodes)
    if (operation.op === 'weight')
      tensors[operation.name] = { dtype: 'F32', shape, data: numbers(elements(shape), seed + id, 2).map((x) => x / 4) };
  return memoryWeights(tensors);
}

/** A run on an executor with a transformer of its own, which sees every call; the transformer and the texts are freed afterwards. */
async function run({ ops, ...executor }: Executor, method: Method, options: Partial<DenoiseOptions> = {}, watch: Watch = {}) {
  const watched = { ...ops, ...watch.ops?.(ops) };
  const model = transformer(wan, randomWeights(100), { ...executor, ops });
  const attention = createAttention(watched, method);
  const expert = {
    lowNoise: false,
    transformer: {
      ...model,
      forward(...[inputs, seam, layout]: Parameters<Transformer['forward']>) {
        watch.forward?.(inputs);
        return model.forward(inputs, seam, layout);
      },
    },
  };
  const seen: Attention = (q, k, v, site) => {
    watch.branches?.(site.branches);
    return attention.attention(q, k, v, site);
  };
  const text = (seed: number) => ops.upload(numbers(7 * 12, seed, 1), [1, 7, 12]);
  const texts = { prompt: text(1), negative: text(2) };
  try {
    return await denoise({
      ops: watched,
      transformerAt: async () => expert,
      sampler: createSampler(unipc, { steps: STEPS }),
      attention: { ...attention, attention: seen },
      latents: numbers(elements(shape), 3, 1),
      shape,
      ...texts,
      guidance: { scale: 4, interval: [0, 0.7] },
      ...options,
    });
  } finally {
    await model.dispose();
    for (const text of Object.values(texts)) ops.release(text);
  }
}

interface Watch {
  readonly ops?: (ops: Backend) => Partial<Backend>;
  readonly forward?: (inputs: ForwardInputs) => void;
  readonly branches?: (branches: readonly number[]) => void;
}

const sparse = { ...adaSpa({ sparsity: 0.6 }), layout: raster(16) };
/** Bytes that the GPU's tensors hold. */
const memory = (): number | undefined => {
  gpu?.trim();
  return gpu?.memory.bytes;
};

const methods: readonly Method[] = [dense(), sparse];
const alone = new Map<string, Promise<Float32Array>>();
/** Latents of a run whose branches come one after the other, made once. */
const unbatched = (executor: Executor, method: Method): Promise<Float32Array> => {
  const key = `${executor.ops.name} ${method.name}`;
  alone.set(key, alone.get(key) ?? run(executor, method));
  return alone.get(key)!;
};

describe.each(methods)('denoising, $name,', (method) => {
  test.skipIf(!gpu)('is the same on a GPU as on the CPU', async () => {
    const [onCpu, onGpu] = [await unbatched(executors.cpu, method), await unbatched(executors.webgpu!, method)];
    expect(relativeError(onGpu, [...onCpu])).toBeLessThan(1e-4);
  });

  test.each(named)('is the same on %s when branches go in batches, and what that takes is given back', async (_, executor) => {
    const sites: (readonly number[])[] = [];
    const inputs: ForwardInputs[] = [];
    const watch: Watch = { branches: (branches) => void sites.push(branches), forward: (given) => void inputs.push(given) };
    const apart = await unbatched(executor, method);
    const before = memory();
    const during: (number | undefined)[] = [];
    const batched = await run(executor, method, { batched: true, onStep: () => void during.push(memory()) }, watch);
    expect(relativeError(batched, [...apart])).toBeLessThan(1e-5);
    // From the second step on, when the sampler has its history, a step takes no more than the one before.
    expect(during[2]).toBe(during[1]);
    expect(memory()).toBe(before);
    // Guidance ends at .7 of four steps: three steps of two branches, one of the prompt alone.
    expect(sites).toEqual([[0, 1], [0, 1], [0, 1], [0]]);
    expect(inputs.map(({ text }) => text.shape[0])).toEqual([2, 2, 2, 1]);
    expect(new Set(inputs.map(({ text }) => text)).size).toBe(2);
    expect(inputs.every(({ timesteps, latents }) => timesteps.length === latents.shape[0])).toBe(true);
  });
});

test('sparse attention changes the latents', async () => {
  const [all, some] = await Promise.all(methods.map((method) => unbatched(executors.cpu, method)));
  expect(relativeError(some, [...all])).toBeGreaterThan(1e-3);
});

test.each(named)('a step on %s waits once, and reads nothing that nobody asks for', async (_, executor) => {
  const order: string[] = [];
  const noted = <T>(what: string, done: T): T => {
    order.push(what);
    return done;
  };
  const ops = ({ wait, read, density }: Backend): Partial<Backend> => ({
    wait: (x) => noted('wait', wait(x)),
    read: (x) => noted('read', read(x)),
    density: (plan) => noted('density', density(plan)),
  });
  await run(executor, dense(), { onStep: ({ step }) => void order.push(`step ${step}`) }, { ops });
  expect(order).toEqual([...Array(STEPS).keys()].flatMap((step) => ['wait', `step ${step}`]).concat('read'));
});

test.each(named)('a step on %s shows its latents and the clean ones it points to, while it lasts', async (_, executor) => {
  const { sigmas } = createSampler(unipc, { steps: STEPS });
  const samples = [numbers(elements(shape), 3, 1)];
  const late: (() => Promise<Float32Array>)[] = [];
  let once: Promise<Float32Array>[] = [];
  let cleanest: Float32Array | undefined;
  const end = await run(executor, dense(), {
    async onStep({ step, latents, clean }) {
      if (step === 1) late.push(latents, clean);
      else samples.push(await latents());
      if (step === 2) once = [clean(), clean()];
      if (step === STEPS - 1) cleanest = await clean();
      if (step === 0) late.push(clean);
    },
  });
  expect(end).toEqual(samples.at(-1));
  // At the last step the next sample is the clean one; before, the clean one is another.
  expect(relativeError(cleanest!, [...end])).toBeLessThan(1e-6);
  expect(sigmas.at(-1)).toBe(0);
  expect(await once[0]).toBe(await once[1]);
  expect(relativeError(await once[0], [...samples[2]])).toBeGreaterThan(1e-3);
  for (const [at, ask] of late.entries())
    await expect(ask()).rejects.toThrow(`the latents of step ${at < 1 ? 0 : 1} are freed; ask for them before onStep is done`);
});

test.skipIf(!gpu)('what a run takes on a GPU is given back after a failure, and after an abort', async () => {
  const webgpu = executors.webgpu!;
  await unbatched(webgpu, sparse);
  const before = memory();
  const fail = ({ step }: { step: number }) => {
    if (step === 1) throw new Error('no more');
  };
  await expect(run(webgpu, sparse, { onStep: fail })).rejects.toThrow('no more');
  expect(memory()).toBe(before);
  for (const last of [2, 3]) {
    const controller = new AbortController();
    let forwards = 0;
    const watch = { forward: () => void (++forwards === last && controller.abort(new Error('enough'))) };
    await expect(run(webgpu, sparse, { signal: controller.signal, batched: last === 3 }, watch)).rejects.toThrow('enough');
    expect(memory()).toBe(before);
  }
});

test('each expert has its guidance scale, while guidance lasts; plans of the first are forgotten by the second', async () => {
  const { ops } = executors.cpu;
  const [prompt, negative] = [0, 1].map(() => ops.upload(new Float32Array(1), [1, 1, 1]));
  /** v = factor x, with a factor for each text. */
  const linear = (conditional: number, unconditional: number) => ({
    ...oneLayer,
    forward: async ({ latents, text }: ForwardInputs) => ops.combine([latents], [text === prompt ? conditional : unconditional]),
  });
  const experts = [linear(0.5, 0.25), linear(0.375, 0.125)] as unknown as Transformer[];
  const sampler = createSampler(unipc, { steps: 4 });
  const told: string[] = [];
  const samples: Float32Array[] = [Float32Array.of(0.5, -2, 4, 1)];
  const factors: number[] = [];
  await denoise({
    ...{ ops, sampler, prompt, negative, latents: samples[0], shape: [1, 1, 2, 2] },
    attention: {
      take: async () => ({ density: 1 }),
      reset: () => void told.push('reset'),
      order: () => undefined,
    } as unknown as BoundAttention,
    transformerAt: async (timestep) => {
      const lowNoise = timestep < sampler.timesteps[1];
      told.push(lowNoise ? 'low' : 'high');
      return { transformer: experts[lowNoise ? 1 : 0], lowNoise };
    },
    guidance: { scale: 3, lowNoiseScale: 2, interval: [0, 0.75] },
    async onStep({ step, latents, clean }) {
      // x0 = x - sigma factor x
      factors.push((1 - (await clean())[2] / samples[step][2]) / sampler.sigmas[step]);
      samples.push(await latents());
    },
  });
  expect(told).toEqual(['high', 'high', 'low', 'reset', 'low', 'reset']);
  const wanted = [0.25 + 3 * 0.25, 0.25 + 3 * 0.25, 0.125 + 2 * 0.25, 0.375];
  for (const [step, factor] of factors.entries()) expect(factor).toBeCloseTo(wanted[step], 5);
});

test('a step that fails on the way ends the run with its reason, before it is shown', async () => {
  const { ops } = executors.cpu;
  const broken = () => device.enqueue([{ shape: [1, 1, 1, 2, 2] }], () => Promise.reject(new Error('no such number')))[0];
  const expert = { transformer: { ...oneLayer, forward: async () => broken() } as unknown as Transformer, lowNoise: false };
  const shown: number[] = [];
  const failing = denoise({
    ...{ ops, sampler: createSampler(unipc, { steps: 2 }), attention: createAttention(ops, dense()), transformerAt: async () => expert },
    ...{ latents: new Float32Array(4), shape: [1, 1, 2, 2], prompt: ops.upload(new Float32Array(1), [1, 1, 1]) },
    guidance: { scale: 1, interval: [0, 1] },
    onStep: ({ step }) => void shown.push(step),
  });
  await expect(failing).rejects.toThrow('no such number');
  expect(shown).toEqual([]);
});

test('an abort between two branches is told when nothing is computed any more', async () => {
  const { ops } = executors.cpu;
  const text = () => ops.upload(new Float32Array(1), [1, 1, 1]);
  const controller = new AbortController();
  let computed = false;
  const slow = async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    computed = true;
    return [new Float32Array(4)];
  };
  const forward = async () => {
    controller.abort(new Error('enough'));
    return device.enqueue([{ shape: [1, 1, 1, 2, 2] }], slow)[0];
  };
  const aborted = denoise({
    ...{ ops, sampler: createSampler(unipc, { steps: 2 }), attention: createAttention(ops, dense()), signal: controller.signal },
    transformerAt: async () => ({ transformer: { ...oneLayer, forward } as unknown as Transformer, lowNoise: false }),
    ...{ latents: new Float32Array(4), shape: [1, 1, 2, 2], prompt: text(), negative: text() },
    guidance: { scale: 2, interval: [0, 1] },
  });
  await expect(aborted).rejects.toThrow('enough');
  expect(computed).toBe(true);
});
