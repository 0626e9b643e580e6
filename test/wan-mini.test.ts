// The embedded model against PyTorch: what the code that trained it computed from the shipped weights, part by part and as a whole.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import { type CpuDevice, openCpu } from '../src/backend/cpu.ts';
import { cpuBackend } from '../src/backend/cpu-backend.ts';
import { readJson } from '../src/dit/config.ts';
import { denoise } from '../src/dit/denoise.ts';
import { cpuExecutor } from '../src/dit/onnx/executor.ts';
import { createSampler } from '../src/dit/sampler.ts';
import { loadTransformer } from '../src/dit/transformer.ts';
import { openWeights, type Weights } from '../src/dit/weights.ts';
import { embeddedModel } from '../src/embedded-model.ts';
import { dense } from '../src/methods.ts';
import { encodePrompt, loadTextEncoder } from '../src/text/encoder.ts';
import { cleanPrompt } from '../src/text/prompt.ts';
import { loadTokenizer } from '../src/text/tokenizer.ts';
import { loadVae } from '../src/vae/index.ts';
import { runtimePlace } from '../src/vae/place.ts';

const model = embeddedModel();
const folder = fileURLToPath(new URL('../samples/train/parity/', import.meta.url));
const { tokenizer: tokenizerCases } = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8')) as {
  tokenizer: Record<string, number[]>;
};

/** Largest difference as a share of the largest wanted value. */
function relativeError(got: ArrayLike<number>, want: Float32Array): number {
  expect(got.length).toBe(want.length);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < want.length; i++) {
    difference = Math.max(difference, Math.abs(got[i] - want[i]));
    largest = Math.max(largest, Math.abs(want[i]));
  }
  return difference / largest;
}

test('the tokenizer gives the ids that the model was trained on', async () => {
  const tokenizer = await loadTokenizer(join(model, 'tokenizer'));
  for (const [text, ids] of Object.entries(tokenizerCases)) {
    const encoded = tokenizer.encode(cleanPrompt(text), 64);
    expect([...encoded.ids.subarray(0, encoded.length)], text).toEqual(ids);
  }
});

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('on %s', (runtime) => {
  let device: CpuDevice;
  let golden: Weights;
  const upload = async (name: string, shape = golden.get(name).shape) => device.upload(await golden.floats(name), shape);
  beforeAll(async () => {
    device = await openCpu(runtime);
    golden = await openWeights(join(folder, 'parity.safetensors'));
  });
  afterAll(async () => {
    await golden.close();
    await device.dispose();
  });

  test('text encoder', async () => {
    const encoder = await loadTextEncoder(join(model, 'text_encoder'), device);
    const tokenizer = await loadTokenizer(join(model, 'tokenizer'));
    const want = await golden.floats('text_embeddings');
    const [, rows, width] = golden.get('text_embeddings').shape;
    const { ids, length } = tokenizer.encode('a rocket flying up over a night sky', rows);
    const got = await encodePrompt(encoder, [...ids.subarray(0, length)], rows);
    expect(relativeError(got, want.subarray(0, rows * width))).toBeLessThan(2e-5);
    await encoder.dispose();
  });

  test('one transformer forward', async () => {
    const transformer = await loadTransformer(join(model, 'transformer'), cpuExecutor(device));
    const { attention } = createAttention(cpuBackend(device), dense());
    const out = await transformer.forward(
      {
        latents: await upload('transformer_latents'),
        timesteps: await golden.floats('transformer_timestep'),
        text: await upload('transformer_text'),
      },
      (q, k, v, layer, grid) => attention(q, k, v, { step: 0, steps: 1, layer, layers: 8, branches: [0], grid }),
    );
    expect(relativeError(await device.read(out), await golden.floats('transformer_output'))).toBeLessThan(2e-5);
    await transformer.dispose();
  });

  test('VAE decoder', async () => {
    const [, ...shape] = golden.get('vae_latents').shape;
    expect(relativeError(await decoded(await golden.floats('vae_latents'), shape), await golden.floats('vae_video'))).toBeLessThan(3e-4);
  });

  test('six steps with guidance, and the video', async () => {
    const transformer = await loadTransformer(join(model, 'transformer'), cpuExecutor(device));
    const text = await golden.floats('text_embeddings');
    const [, rows, width] = golden.get('text_embeddings').shape;
    const encoder = await loadTextEncoder(join(model, 'text_encoder'), device);
    const [, ...shape] = golden.get('pipeline_noise').shape;
    const latents = await denoise({
      ops: cpuBackend(device),
      transformerAt: async () => ({ transformer, lowNoise: false }),
      sampler: createSampler(await readJson(join(model, 'scheduler', 'scheduler_config.json')), { steps: 6 }),
      attention: createAttention(cpuBackend(device), dense()),
      latents: await golden.floats('pipeline_noise'),
      shape: shape as [number, number, number, number],
      prompt: device.upload(text.slice(0, rows * width), [1, rows, width]),
      negative: device.upload(await encodePrompt(encoder, [1], rows), [1, rows, width]),
      guidance: { scale: 3.5, interval: [0, 0.6] },
    });
    expect(relativeError(latents, await golden.floats('pipeline_latents_6_steps'))).toBeLessThan(1e-4);
    expect(relativeError(await decoded(latents, shape), await golden.floats('pipeline_video'))).toBeLessThan(1e-3);
    await transformer.dispose();
    await encoder.dispose();
  });

  /** Every second frame, as the reference keeps them. */
  async function decoded(latents: Float32Array, shape: readonly number[]): Promise<number[]> {
    const vae = await loadVae(join(model, 'vae'), runtimePlace(device));
    const video: number[] = [];
    let at = 0;
    for await (const { data, frames } of vae.decode(latents, shape))
      for (let frame = 0; frame < frames; frame++, at++)
        if (at % 2 === 0) video.push(...data.subarray((frame * data.length) / frames, ((frame + 1) * data.length) / frames));
    await vae.dispose();
    return video;
  }
});
