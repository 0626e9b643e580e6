// Checks of whole Wan checkpoints: prompt to ids and embeddings, the denoising loop step by step from stored noise, and the decoded video.
import { readFile } from 'node:fs/promises';
import { createAttention } from '../../src/attention.ts';
import type { CpuDevice } from '../../src/backend/cpu.ts';
import { number, readJson, readModelIndex } from '../../src/dit/config.ts';
import { denoise, type Guidance } from '../../src/dit/denoise.ts';
import { createSampler } from '../../src/dit/sampler.ts';
import { loadTransformer } from '../../src/dit/transformer.ts';
import { dense } from '../../src/methods.ts';
import type { Tensor } from '../../src/tensor.ts';
import { encodePrompt, loadTextEncoder } from '../../src/text/encoder.ts';
import { cleanPrompt } from '../../src/text/prompt.ts';
import { loadTokenizer, type Tokenizer } from '../../src/text/tokenizer.ts';
import { loadVae } from '../../src/vae/index.ts';
import { type Comparison, compare, type Fixture, type FixtureArray, floats, onHost, TOLERANCE } from './fixture.ts';
import type { Target } from './target.ts';
import { asSigned, decodeAll } from './vae.ts';

interface Call {
  readonly num_inference_steps: number;
  readonly guidance_scale: number;
}

/** The reference made its case without guidance in this many steps; meta.json does not say so. */
const UNGUIDED_STEPS = 3;

/** A denoising loop over the checkpoint of a fixture: [1, rows, width] embeddings and noise to latents after each step. */
type Loop = (
  prompt: Tensor,
  negative: Tensor | undefined,
  noise: FixtureArray,
  steps: number,
  guidance: Guidance,
  batched?: boolean,
) => Promise<Float32Array[]>;

/** Opens the transformers and scheduler of a checkpoint as a loop with dense attention. */
async function openLoop(fixture: Fixture, { executor }: Target): Promise<{ loop: Loop; close(): Promise<void> }> {
  const index = await readModelIndex(fixture.path('pipeline'));
  const config = await readJson(fixture.path('pipeline', 'scheduler', 'scheduler_config.json'));
  const first = await loadTransformer(fixture.path('pipeline', 'transformer'), executor);
  const second = index.parts.transformer_2 && (await loadTransformer(fixture.path('pipeline', 'transformer_2'), executor));
  const boundary = 1000 * number(index.config, 'boundary_ratio', 0);
  const loop: Loop = async (prompt, negative, noise, steps, guidance, batched = false) => {
    const after: Float32Array[] = [];
    const [, channels, frames, height, width] = noise.shape;
    await denoise({
      ops: executor.ops,
      transformerAt: async (timestep) =>
        second && timestep < boundary ? { transformer: second, lowNoise: true } : { transformer: first, lowNoise: false },
      sampler: createSampler(config, { steps }),
      attention: createAttention(executor.ops, dense()),
      latents: noise.data as Float32Array,
      shape: [channels, frames, height, width],
      prompt,
      ...(negative && { negative }),
      guidance,
      batched,
      onStep: async ({ latents }) => void after.push(await latents()),
    });
    return after;
  };
  return {
    loop,
    close: async () => {
      await first.dispose();
      await second?.dispose();
    },
  };
}

/** Wan 2.2 A14B form: two transformers, each with its guidance scale. */
export async function* checkTwoTransformers(fixture: Fixture, target: Target): AsyncGenerator<Comparison> {
  const spec = fixture.meta.spec as { readonly steps: number; readonly guidance: number; readonly guidance_2: number };
  const { loop, close } = await openLoop(fixture, target);
  try {
    const guidance: Guidance = { scale: spec.guidance, lowNoiseScale: spec.guidance_2, interval: [0, 1] };
    yield* compareSteps(fixture, target, await loop(...(await embeddings(fixture, target)), spec.steps, guidance));
  } finally {
    await close();
  }
}

/** A complete checkpoint, from stored embeddings and from prompt strings, with and without guidance. */
export async function* checkPipeline(fixture: Fixture, target: Target): AsyncGenerator<Comparison> {
  const { num_inference_steps: steps, guidance_scale: scale } = fixture.meta.call as Call;
  const { loop, close } = await openLoop(fixture, target);
  try {
    const [prompt, negative, noise] = await embeddings(fixture, target);
    const guidance: Guidance = { scale, interval: [0, 1] };
    const guided = await loop(prompt, negative, noise, steps, guidance);
    yield* compareSteps(fixture, target, guided);
    const last = async (name: string, file: string, after: readonly Float32Array[]): Promise<Comparison> =>
      compare(`${fixture.name}.${name}`, after.at(-1)!, await floats(fixture, file, 'latents'), target.tolerance.loop);
    yield await last('batched', 'outputs', await loop(prompt, negative, noise, steps, guidance, true));
    const unguided = await loop(prompt, undefined, noise, UNGUIDED_STEPS, { scale: 1, interval: [0, 1] });
    yield await last('noguidance', 'outputs.noguidance', unguided);
    yield await compareVideo(fixture, target, guided.at(-1)!, noise.shape, 'outputs', 'video');
    yield* checkPrompts(fixture, target, loop);
  } finally {
    await close();
  }
}

async function embeddings(fixture: Fixture, { executor }: Target): Promise<[Tensor, Tensor, FixtureArray]> {
  const upload = async (name: string): Promise<Tensor> => {
    const { data, shape } = await fixture.array('inputs', name);
    return executor.ops.upload(data, shape);
  };
  return [await upload('prompt_embeds'), await upload('negative_prompt_embeds'), await fixture.array('inputs', 'latents')];
}

async function* compareSteps(fixture: Fixture, { tolerance }: Target, after: readonly Float32Array[]): AsyncGenerator<Comparison> {
  for (const [step, latents] of after.entries()) {
    const expected = await floats(fixture, 'outputs', `latents_after_step_${step}`);
    yield compare(`${fixture.name}.latents_after_step_${step}`, latents, expected, tolerance.loop);
  }
  yield compare(`${fixture.name}.latents`, after.at(-1)!, await floats(fixture, 'outputs', 'latents'), tolerance.loop);
}

/**
 * Decodes latents and compares as many frames as the fixture keeps. Random decoders make a difference of latents up to a hundred
 * times as large: where that of f16 is allowed, the reference's latents are decoded instead.
 */
async function compareVideo(
  fixture: Fixture,
  { tolerance, decoding }: Target,
  latents: Float32Array,
  shape: readonly number[],
  file: string,
  name: string,
): Promise<Comparison> {
  const { data, shape: kept } = await fixture.array(file, name);
  const decoded = tolerance.loop > TOLERANCE.loop ? await floats(fixture, file, 'latents') : latents;
  const vae = await loadVae(fixture.path('pipeline', 'vae'), decoding);
  try {
    const frames = await decodeAll(vae, decoded, shape.slice(1));
    const own = asSigned(frames.subarray(0, data.length), kept[2]);
    return compare(`${fixture.name}${file.replace('outputs', '')}.${name}`, own, data, TOLERANCE.loop);
  } finally {
    await vae.dispose();
  }
}

interface TokenizerCase {
  readonly prompt: string;
  readonly cleaned: string;
  readonly padded_24: readonly number[];
}

/** From prompt strings: ids of all tokenizer cases, embeddings, latents and the first frame. */
async function* checkPrompts(fixture: Fixture, target: Target, loop: Loop): AsyncGenerator<Comparison> {
  const call = fixture.meta.e2e as Call & { prompt: string; negative_prompt: string; max_sequence_length: number };
  const tokenizer = await loadTokenizer(fixture.path('pipeline', 'tokenizer'));
  const { cases } = JSON.parse(await readFile(fixture.path('tokenizer_cases.json'), 'utf8')) as { cases: TokenizerCase[] };
  for (const [index, { prompt, cleaned, padded_24 }] of cases.entries()) {
    const own = cleanPrompt(prompt);
    yield onHost(compare(`${fixture.name}.tokenizer_cases.${index}.cleaned`, codePoints(own), codePoints(cleaned), 0));
    yield onHost(compare(`${fixture.name}.tokenizer_cases.${index}.ids`, tokenizer.encode(own, 24).ids, padded_24, 0));
  }
  const rows = call.max_sequence_length;
  const texts: Tensor[] = [];
  for (const [name, prompt] of Object.entries({ prompt_embeds: call.prompt, negative_prompt_embeds: call.negative_prompt })) {
    const { data, width } = await embed(fixture, await target.cpu(), tokenizer, prompt, rows);
    yield onHost(compare(`${fixture.name}.e2e.${name}`, data, await floats(fixture, 'outputs.e2e', name), TOLERANCE.forward));
    texts.push(target.executor.ops.upload(data, [1, rows, width]));
  }
  const noise = await fixture.array('inputs.e2e', 'latents');
  const after = await loop(texts[0], texts[1], noise, call.num_inference_steps, { scale: call.guidance_scale, interval: [0, 1] });
  yield compare(`${fixture.name}.e2e.latents`, after.at(-1)!, await floats(fixture, 'outputs.e2e', 'latents'), target.tolerance.loop);
  yield await compareVideo(fixture, target, after.at(-1)!, noise.shape, 'outputs.e2e', 'video_first_frame');
}

const codePoints = (text: string): number[] => Array.from(text, (character) => character.codePointAt(0)!);

async function embed(
  fixture: Fixture,
  device: CpuDevice,
  tokenizer: Tokenizer,
  prompt: string,
  rows: number,
): Promise<{ data: Float32Array; width: number }> {
  const { ids, length } = tokenizer.encode(cleanPrompt(prompt), rows);
  const encoder = await loadTextEncoder(fixture.path('pipeline', 'text_encoder'), device);
  try {
    return { data: await encodePrompt(encoder, [...ids.subarray(0, length)], rows), width: encoder.config.width };
  } finally {
    await encoder.dispose();
  }
}
