// One run: prompt to latents to frames, with what it reports. The steps of the pipeline, one line each, are in `run`.
import { join } from 'node:path';
import { type BoundAttention, createAttention } from './attention.ts';
import type { Backend } from './backend/backend.ts';
import type { RuntimeName } from './backend/runtime.ts';
import type { DeviceReport, OpenedDevice } from './device.ts';
import type { GenerationDefaults, ModelIndex } from './dit/config.ts';
import { type DenoiseStep, denoise, type Expert, type Guidance } from './dit/denoise.ts';
import type { ProgramBytes } from './dit/executor.ts';
import { createSampler, type Sampler } from './dit/sampler.ts';
import type { Transformer } from './dit/transformer.ts';
import type { Attention, Method } from './method.ts';
import { gaussianNoise } from './noise.ts';
import type { GenerateOptions, Settings } from './options.ts';
import { type Grid, tokensOf } from './sparse3d/plan.ts';
import { elements, type Tensor } from './tensor.ts';
import { encodePrompt, loadTextEncoder } from './text/encoder.ts';
import { cleanPrompt } from './text/prompt.ts';
import type { Tokenizer } from './text/tokenizer.ts';
import type { VideoDecoder } from './vae/index.ts';
import { firstFrame, rgbFrames } from './vae/rgb.ts';
import type { Frame, Video } from './video/frame.ts';

/** What a finished run reports. */
export interface RunReport {
  readonly seed: number;
  /** Where the transformer ran, and how it stored numbers. */
  readonly device: DeviceReport['name'];
  readonly dtype: DeviceReport['dtype'];
  /** The GPU's name. */
  readonly adapter?: string;
  /** What the text encoder and the decoder ran on, and on the CPU the transformer too. */
  readonly runtime: RuntimeName;
  readonly method: string;
  readonly steps: number;
  readonly tokens: number;
  /** Text tokens of the prompt, end token included, and whether the prompt was longer than the model takes. */
  readonly promptTokens: number;
  readonly promptTruncated: boolean;
  readonly milliseconds: { readonly text: number; readonly denoise: number; readonly decode: number };
  /** Over all steps; skipped ones count as 0. */
  readonly meanDensity: number;
  /** Steps whose velocity the step cache gave. */
  readonly stepsSkipped: number;
}

/** Frames made while they are iterated, once. `report` resolves when the last frame was taken. */
export interface GeneratedVideo extends Video {
  readonly settings: Settings;
  readonly report: Promise<RunReport>;
}

/** Parts of a loaded checkpoint. */
export interface Parts {
  readonly index: ModelIndex;
  readonly defaults: GenerationDefaults;
  readonly device: OpenedDevice;
  readonly tokenizer: Tokenizer;
  readonly transformer: Transformer;
  readonly transformer2?: Transformer;
  /** Timestep below which the second transformer takes over. */
  readonly boundary: number;
  readonly vae: VideoDecoder;
  readonly scheduler: Readonly<Record<string, unknown>>;
}

/** [channels, frames, height, width] of a run's latents. */
export function latentShape({ vae, transformer }: Parts, { height, width, numFrames }: Settings): [number, number, number, number] {
  return [transformer.config.inChannels, Math.floor((numFrames - 1) / vae.temporal) + 1, height / vae.spatial, width / vae.spatial];
}

/** The token grid of a run. */
export function gridOf(parts: Parts, settings: Settings): Grid {
  const [, frames, height, width] = latentShape(parts, settings);
  return parts.transformer.grid({ frames, height, width });
}

export function guidanceOf(parts: Parts, settings: Settings): Guidance {
  return {
    scale: settings.guidanceScale,
    ...(parts.transformer2 && { lowNoiseScale: settings.guidanceScale2 }),
    interval: settings.guidanceInterval,
  };
}

/** Options of a run whose attention is settled. */
export type RunOptions = GenerateOptions & { readonly attention: Method | Attention };

/** The frames of one run; the work starts when they are iterated. */
export function generatedVideo(parts: Parts, settings: Settings, options: RunOptions): GeneratedVideo {
  let settle: { resolve(report: RunReport): void; reject(reason: unknown): void };
  const report = new Promise<RunReport>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // The caller learns of a failure through the iteration; an unread report must not end the process.
  report.catch(() => undefined);
  let started = false;
  return {
    width: settings.width,
    height: settings.height,
    numFrames: settings.numFrames,
    fps: settings.fps,
    settings,
    report,
    async *[Symbol.asyncIterator]() {
      if (started) throw new Error('the frames of a generated video can be taken once; call the pipeline again for another run');
      started = true;
      try {
        settle.resolve(yield* run(parts, settings, options));
      } catch (error) {
        settle.reject(error);
        throw error;
      }
    },
  };
}

async function* run(parts: Parts, settings: Settings, options: RunOptions): AsyncGenerator<Frame, RunReport> {
  const { defaults, vae } = parts;
  const { signal } = options;
  await revive(parts);
  const sampler = samplerOf(parts, settings);
  const start = performance.now();
  const text = await encodeTexts(parts, settings);
  const textEnd = performance.now();
  const { latents, density, skipped } = await denoised(parts, settings, options, sampler, text);
  const denoiseEnd = performance.now();
  if (!isHeld(parts)) {
    await parts.transformer.release();
    await parts.transformer2?.release();
  }
  let taken = 0;
  let index = 0;
  for await (const { data, width, height } of rgbFrames(vae.decode(latents, latentShape(parts, settings), { signal }))) {
    const handedOver = performance.now();
    yield { index: index++, width, height, data };
    taken += performance.now() - handedOver;
  }
  return {
    seed: settings.seed,
    ...deviceOf(parts),
    method: nameOf(options.attention),
    steps: sampler.timesteps.length,
    tokens: tokensOf(gridOf(parts, settings)),
    promptTokens: text.promptTokens,
    promptTruncated: text.promptTokens >= defaults.maxSequenceLength,
    milliseconds: { text: textEnd - start, denoise: denoiseEnd - textEnd, decode: performance.now() - denoiseEnd - taken },
    meanDensity: density,
    stepsSkipped: skipped,
  };
}

function deviceOf({ device }: Parts): Pick<RunReport, 'device' | 'dtype' | 'adapter' | 'runtime'> {
  const { name, dtype, adapter } = device.report;
  return { device: name, dtype, ...(adapter !== undefined && { adapter }), runtime: device.host.runtime.name };
}

/** Opens a GPU anew that was lost since the last run; what was loaded on it is loaded again. */
async function revive({ device, transformer, transformer2 }: Parts): Promise<void> {
  if (device.lost() === undefined) return;
  if (!device.renew) throw new Error(lossOf(device));
  await transformer.release();
  await transformer2?.release();
  await device.renew();
}

const lossOf = (device: OpenedDevice): string =>
  `the GPU was lost (${device.lost()}); ${device.renew ? 'call the pipeline again: it opens the GPU anew' : 'open the pipeline again'}`;

/** Latents from noise, the mean density of the steps, and how many were skipped; the prompts' handles are freed. */
async function denoised(
  parts: Parts,
  settings: Settings,
  options: RunOptions,
  sampler: Sampler,
  { prompt, negative }: Texts,
): Promise<{ latents: Float32Array; density: number; skipped: number }> {
  const { device, vae } = parts;
  const { ops } = device.executor;
  const shape = latentShape(parts, settings);
  let [density, skipped] = [0, 0];
  try {
    const latents = await denoise({
      ops,
      transformerAt: transformerAt(parts),
      sampler,
      attention: bind(ops, options.attention),
      latents: gaussianNoise(settings.seed, elements(shape)),
      shape,
      prompt,
      ...(negative && { negative }),
      guidance: guidanceOf(parts, settings),
      batched: isBatched(parts, settings),
      ...(options.cache && { cache: options.cache }),
      signal: options.signal,
      onStep: async (step) => {
        density += step.density / step.steps;
        if (step.skipped) skipped++;
        await options.onStep?.({
          ...stepReport(step),
          latents: step.latents,
          preview: async () => firstFrame(vae, await step.clean(), shape),
        });
      },
    });
    return { latents, density, skipped };
  } catch (error) {
    throw device.lost() === undefined ? error : new Error(lossOf(device), { cause: error });
  } finally {
    for (const text of [prompt, negative]) if (text) ops.release(text);
  }
}

/**
 * A forward whose values take less leaves a GPU waiting for launches, so both guidance branches run as one batch of two. Larger forwards fill
 * it: a batch would only take twice the memory.
 */
const BATCHED_BYTES = 2 ** 28;

/** Whether both guidance branches of a step run as one batch. */
export function isBatched(parts: Parts, settings: Settings): boolean {
  const bytes = forwardBytes(parts, settings);
  return bytes !== undefined && bytes.values < BATCHED_BYTES;
}

/** What a forward takes on the device; undefined on the CPU. */
export const forwardBytes = (parts: Parts, settings: Settings): ProgramBytes | undefined =>
  parts.transformer.deviceBytes(latentShape(parts, settings), settings.maxSequenceLength);

/** A bare attention function reports no density of its own: it counts as dense. */
function bind(ops: Backend, attention: Method | Attention): BoundAttention {
  if (typeof attention !== 'function') return createAttention(ops, attention);
  const density = async (): Promise<number> => 1;
  return {
    attention,
    density,
    take: async () => ({ calls: 0, dense: 0, searches: 0, reuses: 0, density: 1 }),
    reset: () => undefined,
    order: () => undefined,
  };
}

const nameOf = (attention: Method | Attention): string => attention.name || 'custom';

function stepReport({ step, steps, timestep, milliseconds, density, skipped }: DenoiseStep): Omit<DenoiseStep, 'latents' | 'clean'> {
  return { step, steps, timestep, milliseconds, density, skipped };
}

function samplerOf(parts: Parts, { numInferenceSteps: steps, flowShift }: Settings): Sampler {
  return createSampler(parts.scheduler, { steps, ...(flowShift !== undefined && { flowShift }) });
}

/** Larger weights make room for the decoder: the seconds to load them again are little beside a run of such a model. */
const HELD_BYTES = 1e9;

/** Whether the transformer stays loaded while frames are decoded, for the next call: where it is small, or in other memory than the decoder. */
export function isHeld({ device, transformer }: Parts): boolean {
  const isApart = device.report.name === 'webgpu' && device.host.runtime.name !== 'onnxruntime-webgpu';
  return isApart || 4 * transformer.parameters <= HELD_BYTES;
}

/** Above the boundary the first transformer works, below it the second; the one that is done gives its memory back. */
function transformerAt({ transformer, transformer2, boundary }: Parts): (timestep: number) => Promise<Expert> {
  return async (timestep) => {
    if (!transformer2 || timestep >= boundary) return { transformer, lowNoise: false };
    await transformer.release();
    return { transformer: transformer2, lowNoise: true };
  };
}

/** Embeddings [1, rows, width], as handles of the transformer's backend. */
interface Texts {
  readonly prompt: Tensor;
  readonly negative?: Tensor;
  readonly promptTokens: number;
}

/** The prompt and, when any step is guided, the negative prompt. */
async function encodeTexts(parts: Parts, settings: Settings): Promise<Texts> {
  const { device, tokenizer, index } = parts;
  const rows = settings.maxSequenceLength;
  const encoder = await loadTextEncoder(join(index.folder, 'text_encoder'), device.host);
  try {
    const encode = async (prompt: string): Promise<{ tensor: Tensor; tokens: number }> => {
      const { ids, length } = tokenizer.encode(cleanPrompt(prompt), rows);
      const embeddings = await encodePrompt(encoder, [...ids.subarray(0, length)], rows);
      return { tensor: device.executor.ops.upload(embeddings, [1, rows, encoder.config.width]), tokens: length };
    };
    const { tensor: prompt, tokens: promptTokens } = await encode(settings.prompt);
    const guided = Math.max(settings.guidanceScale, parts.transformer2 ? settings.guidanceScale2 : 0) > 1;
    return { prompt, promptTokens, ...(guided && { negative: (await encode(settings.negativePrompt)).tensor }) };
  } finally {
    await encoder.dispose();
  }
}
