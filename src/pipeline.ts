// Text to video: a checkpoint folder becomes a function from a prompt to frames.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BoundAttention, bindAttention } from './attention.ts';
import { type CpuDevice, openCpu } from './backend/cpu.ts';
import { cpuBackend } from './backend/cpu-backend.ts';
import type { RuntimeChoice, RuntimeName } from './backend/runtime.ts';
import { type GenerationDefaults, type ModelIndex, number, readDefaults, readJson, readModelIndex } from './dit/config.ts';
import { type DenoiseStep, denoise, isGuided } from './dit/denoise.ts';
import { createSampler, type Sampler } from './dit/sampler.ts';
import { loadTransformer, type Transformer } from './dit/transformer.ts';
import { UnsupportedError } from './errors.ts';
import { type Estimate, estimate } from './estimate.ts';
import type { Attention, Method } from './method.ts';
import { dense } from './methods.ts';
import { gaussianNoise } from './noise.ts';
import { checkOptions, type GenerateOptions, type Granularity, type Settings } from './options.ts';
import { tokensOf } from './sparse3d/plan.ts';
import type { Tensor } from './tensor.ts';
import { encodePrompt, loadTextEncoder } from './text/encoder.ts';
import { cleanPrompt } from './text/prompt.ts';
import { loadTokenizer, type Tokenizer } from './text/tokenizer.ts';
import { type DecodedFrames, loadVae, type VideoDecoder } from './vae/index.ts';
import type { Frame, Video } from './video/frame.ts';

export interface PipelineOptions {
  /** Only `cpu` so far. */
  readonly device?: 'cpu';
  /** Only `f32` on the CPU. */
  readonly dtype?: 'f32';
  /** A VAE to use instead of the checkpoint's: a folder, or a TAEHV .safetensors file. */
  readonly vae?: string;
  /** Which ONNX Runtime; `auto` takes onnxruntime-node when it is installed. */
  readonly runtime?: RuntimeChoice;
}

/** What a finished run reports. */
export interface RunReport {
  readonly seed: number;
  readonly runtime: RuntimeName;
  readonly method: string;
  readonly steps: number;
  readonly tokens: number;
  /** Text tokens of the prompt, end token included, and whether the prompt was longer than the model takes. */
  readonly promptTokens: number;
  readonly promptTruncated: boolean;
  readonly milliseconds: { readonly text: number; readonly denoise: number; readonly decode: number };
  readonly meanDensity: number;
}

/** Frames made while they are iterated, once. `report` resolves when the last frame was taken. */
export interface GeneratedVideo extends Video {
  readonly settings: Settings;
  readonly report: Promise<RunReport>;
}

/** A loaded checkpoint, called as `pipe(prompt, options)`. */
export interface TextToVideoPipeline {
  /** Checks the options at once; the work starts when the frames are iterated. */
  (prompt: string, options?: GenerateOptions): GeneratedVideo;
  readonly folder: string;
  readonly defaults: GenerationDefaults;
  readonly runtime: { readonly name: RuntimeName; readonly version: string; readonly hint?: string };
  /** How self-attention is computed where a call does not say; see `accelerate`. */
  attention: Method | Attention;
  /** Seconds and bytes that a call with these options will take. */
  estimate(options?: GenerateOptions): Estimate;
  dispose(): Promise<void>;
}

/** Parts of a loaded checkpoint. */
interface Parts {
  readonly index: ModelIndex;
  readonly defaults: GenerationDefaults;
  readonly device: CpuDevice;
  readonly tokenizer: Tokenizer;
  readonly transformer: Transformer;
  readonly transformer2?: Transformer;
  /** Timestep below which the second transformer takes over. */
  readonly boundary: number;
  readonly vae: VideoDecoder;
  readonly scheduler: Readonly<Record<string, unknown>>;
}

export const TextToVideoPipeline = {
  /**
   * Opens a checkpoint in the diffusers folder layout; without a folder, the embedded model. Headers and configs are read and checked here,
   * weights when they are first needed.
   */
  async fromPretrained(folder: string = embeddedModel(), options: PipelineOptions = {}): Promise<TextToVideoPipeline> {
    if ((options.device ?? 'cpu') !== 'cpu') throw new UnsupportedError(`device ${options.device} is not supported; use cpu`);
    if ((options.dtype ?? 'f32') !== 'f32') throw new UnsupportedError(`dtype ${options.dtype} is not supported on the CPU; use f32`);
    const index = await readModelIndex(folder);
    if (index.className !== 'WanPipeline')
      throw new UnsupportedError(`${folder} is a ${index.className}; WanPipeline checkpoints are supported`);
    const device = await openCpu(options.runtime);
    return pipeline(await openParts(folder, index, device, options));
  },
};

/** Folder of the model that ships with the package. */
export function embeddedModel(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'samples', 'wan-mini');
    if (existsSync(join(candidate, 'model_index.json'))) return candidate;
    if (folder === dirname(folder))
      throw new Error('the embedded model samples/wan-mini is missing from this installation; install zoetrope again');
  }
}

async function openParts(folder: string, index: ModelIndex, device: CpuDevice, options: PipelineOptions): Promise<Parts> {
  const part = (name: string): string => join(folder, name);
  const ratio = index.config.boundary_ratio == null ? 0 : number(index.config, 'boundary_ratio');
  const transformer = await loadTransformer(part('transformer'), device);
  return {
    index,
    defaults: readDefaults(index),
    device,
    tokenizer: await loadTokenizer(part('tokenizer')),
    transformer,
    ...(index.parts.transformer_2 && { transformer2: await loadTransformer(part('transformer_2'), device) }),
    boundary: ratio * 1000,
    vae: await loadVae(options.vae ?? part('vae'), device),
    scheduler: await readJson(join(part('scheduler'), 'scheduler_config.json')),
  };
}

function pipeline(parts: Parts): TextToVideoPipeline {
  const { device, defaults, index, vae } = parts;
  const { name, version, hint } = device.runtime;
  const granularity = granularityOf(parts);
  const call = (prompt: string, options: GenerateOptions = {}): GeneratedVideo => {
    const settings = checkOptions(prompt, options, defaults, granularity);
    return generatedVideo(parts, settings, { ...options, attention: options.attention ?? pipe.attention });
  };
  const pipe: TextToVideoPipeline = Object.assign(call, {
    folder: index.folder,
    defaults,
    runtime: { name, version, ...(hint && { hint }) },
    attention: dense() as Method | Attention,
    estimate: (options: GenerateOptions = {}) =>
      estimateRun(parts, checkOptions('', options, defaults, granularity), options.attention ?? pipe.attention),
    async dispose() {
      await parts.transformer.dispose();
      await parts.transformer2?.dispose();
      await vae.dispose();
      await device.dispose();
    },
  });
  return pipe;
}

function granularityOf({ vae, transformer }: Parts): Granularity {
  const [, ph, pw] = transformer.config.patch;
  return { height: vae.spatial * ph, width: vae.spatial * pw, frames: vae.temporal };
}

/** [channels, frames, height, width] of a run's latents. */
function latentShape({ vae, transformer }: Parts, { height, width, numFrames }: Settings): [number, number, number, number] {
  return [transformer.config.inChannels, Math.floor((numFrames - 1) / vae.temporal) + 1, height / vae.spatial, width / vae.spatial];
}

function gridTokens(parts: Parts, settings: Settings): number {
  const [, frames, height, width] = latentShape(parts, settings);
  return tokensOf(parts.transformer.grid({ frames, height, width }));
}

function guidanceOf(parts: Parts, settings: Settings): { scale: number; lowNoiseScale?: number; interval: readonly [number, number] } {
  return {
    scale: settings.guidanceScale,
    ...(parts.transformer2 && { lowNoiseScale: settings.guidanceScale2 }),
    interval: settings.guidanceInterval,
  };
}

function estimateRun(parts: Parts, settings: Settings, attention: Method | Attention): Estimate {
  const guidance = guidanceOf(parts, settings);
  const { numInferenceSteps: steps, height, width, numFrames } = settings;
  const guided = Array.from({ length: steps }, (_, step) => isGuided(guidance, step, steps)).filter(Boolean).length;
  const { config, bytes, parameters } = parts.transformer;
  const expected = typeof attention === 'function' ? undefined : attention.expectedDensity?.(steps);
  return estimate(
    config,
    {
      tokens: gridTokens(parts, settings),
      textTokens: settings.maxSequenceLength,
      forwards: steps + guided,
      density: expected ?? 1,
      megapixels: (height * width * numFrames) / 1e6,
      weightBytes: bytes,
      weightElements: parameters,
    },
    parts.device.runtime,
  );
}

function generatedVideo(parts: Parts, settings: Settings, options: GenerateOptions & { attention: Method | Attention }): GeneratedVideo {
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

async function* run(
  parts: Parts,
  settings: Settings,
  options: GenerateOptions & { attention: Method | Attention },
): AsyncGenerator<Frame, RunReport> {
  const { device, defaults, vae } = parts;
  const { signal } = options;
  const attention = bindAttention(cpuBackend(device), options.attention);
  const start = performance.now();
  const text = await encodeTexts(parts, settings);
  const textEnd = performance.now();
  let density = 0;
  const sampler = samplerOf(parts, settings);
  const shape = latentShape(parts, settings);
  const latents = await denoise({
    device,
    transformerAt: transformerAt(parts),
    sampler,
    attention,
    latents: gaussianNoise(
      settings.seed,
      shape.reduce((product, size) => product * size, 1),
    ),
    shape,
    ...text,
    guidance: guidanceOf(parts, settings),
    signal,
    onStep: async (step) => {
      density += step.density / step.steps;
      await options.onStep?.({ ...stepReport(step), preview: () => preview(vae, step.clean, shape) });
    },
  });
  const denoiseEnd = performance.now();
  let index = 0;
  for await (const piece of vae.decode(latents, shape, { signal }))
    for (const data of rgbFrames(piece)) yield { index: index++, width: piece.width, height: piece.height, data };
  return {
    seed: settings.seed,
    runtime: device.runtime.name,
    method: attention.name,
    steps: sampler.timesteps.length,
    tokens: gridTokens(parts, settings),
    promptTokens: text.promptTokens,
    promptTruncated: text.promptTokens >= defaults.maxSequenceLength,
    milliseconds: { text: textEnd - start, denoise: denoiseEnd - textEnd, decode: performance.now() - denoiseEnd },
    meanDensity: density,
  };
}

function stepReport({ step, steps, timestep, milliseconds, density }: DenoiseStep): Omit<DenoiseStep, 'latents' | 'clean'> {
  return { step, steps, timestep, milliseconds, density };
}

function samplerOf(parts: Parts, { numInferenceSteps: steps, flowShift }: Settings): Sampler {
  return createSampler(parts.scheduler, { steps, ...(flowShift !== undefined && { flowShift }) });
}

/** Above the boundary the first transformer works, below it the second; the one that is done gives its memory back. */
function transformerAt({
  transformer,
  transformer2,
  boundary,
}: Parts): (timestep: number) => Promise<{ transformer: Transformer; lowNoise: boolean }> {
  return async (timestep) => {
    if (!transformer2 || timestep >= boundary) return { transformer, lowNoise: false };
    await transformer.release();
    return { transformer: transformer2, lowNoise: true };
  };
}

/** Prompt and, when any step is guided, negative prompt as [1, rows, width] handles. */
async function encodeTexts(parts: Parts, settings: Settings): Promise<{ prompt: Tensor; negative?: Tensor; promptTokens: number }> {
  const { device, tokenizer, index } = parts;
  const rows = settings.maxSequenceLength;
  const encoder = await loadTextEncoder(join(index.folder, 'text_encoder'), device);
  try {
    const encode = async (prompt: string): Promise<{ tensor: Tensor; tokens: number }> => {
      const { ids, length } = tokenizer.encode(cleanPrompt(prompt), rows);
      const embeddings = await encodePrompt(encoder, [...ids.subarray(0, length)], rows);
      return { tensor: device.upload(embeddings, [1, rows, encoder.config.width]), tokens: length };
    };
    const { tensor: prompt, tokens: promptTokens } = await encode(settings.prompt);
    const guided = Math.max(settings.guidanceScale, parts.transformer2 ? settings.guidanceScale2 : 0) > 1;
    return { prompt, promptTokens, ...(guided && { negative: (await encode(settings.negativePrompt)).tensor }) };
  } finally {
    await encoder.dispose();
  }
}

/** Planar [frames, 3, height, width] in [0, 1] -> RGB bytes of each frame. */
function* rgbFrames({ data, frames, height, width }: DecodedFrames): Generator<Uint8Array> {
  const pixels = height * width;
  for (let frame = 0; frame < frames; frame++) {
    const bytes = new Uint8Array(pixels * 3);
    for (let channel = 0; channel < 3; channel++) {
      const plane = (frame * 3 + channel) * pixels;
      for (let i = 0; i < pixels; i++) bytes[i * 3 + channel] = Math.round(255 * Math.min(1, Math.max(0, data[plane + i])));
    }
    yield bytes;
  }
}

/** The first frame of latents: one latent frame is decoded. */
async function preview(vae: VideoDecoder, latents: Float32Array, [channels, frames, height, width]: readonly number[]): Promise<Frame> {
  const area = height * width;
  const first = new Float32Array(channels * area);
  for (let channel = 0; channel < channels; channel++)
    first.set(latents.subarray(channel * frames * area, channel * frames * area + area), channel * area);
  for await (const piece of vae.decode(first, [channels, 1, height, width])) {
    const [data] = rgbFrames(piece);
    return { index: 0, width: piece.width, height: piece.height, data };
  }
  throw new Error('the decoder gave no frame for a preview');
}

export type { BoundAttention };
