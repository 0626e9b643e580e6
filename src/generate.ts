// One run: prompt to latents to frames, with what it reports. The steps of the pipeline, one line each, are in `run`.
import { prepareRun } from './ahead.ts';
import { type AttentionOptions, type BoundAttention, createAttention } from './attention.ts';
import type { Backend } from './backend/backend.ts';
import type { RuntimeName } from './backend/runtime.ts';
import type { DeviceReport } from './device.ts';
import { type DenoiseStep, denoise } from './dit/denoise.ts';
import type { Sampler } from './dit/sampler.ts';
import type { Attention, Method } from './method.ts';
import { gaussianNoise } from './noise.ts';
import type { GenerateOptions, Settings } from './options.ts';
import { gridOf, guidanceOf, isBatched, isHeld, latentShape, lossOf, type Parts, revive, samplerOf, transformerAt } from './parts.ts';
import { tokensOf } from './sparse3d/plan.ts';
import { type AttentionStatistics, callLog } from './statistics.ts';
import { elements } from './tensor.ts';
import { encodeTexts, TEXTS, type TextMemory, type Texts } from './texts.ts';
import { firstFrame, rgbFrames } from './vae/rgb.ts';
import type { Frame, Video } from './video/frame.ts';

/** What a finished run reports. */
export interface RunReport {
  /** Seed of the noise, drawn where none was given. */
  readonly seed: number;
  /** Where the transformer ran. */
  readonly device: DeviceReport['name'];
  /** How the transformer stored numbers. */
  readonly dtype: DeviceReport['dtype'];
  /** The GPU's name. */
  readonly adapter?: string;
  /** What the text encoder ran on, and on the CPU transformer and decoder too. */
  readonly runtime: RuntimeName;
  /** Name of the method, or of the bare function. */
  readonly method: string;
  /** Denoising steps. */
  readonly steps: number;
  /** Tokens of a self-attention call. */
  readonly tokens: number;
  /** Text tokens of the prompt, end token included. */
  readonly promptTokens: number;
  /** Whether the prompt was longer than the model takes. */
  readonly promptTruncated: boolean;
  /** What the parts of the run took. */
  readonly milliseconds: {
    /** Reading the prompts. */
    readonly text: number;
    /** All denoising steps. */
    readonly denoise: number;
    /** Making frames, without the time that they were waited for to be taken. */
    readonly decode: number;
  };
  /** Over all steps; skipped ones count as 0. */
  readonly meanDensity: number;
  /** Steps whose velocity the step cache gave. */
  readonly stepsSkipped: number;
}

/** Frames made while they are iterated, once. `report` resolves when the last frame was taken. */
export interface GeneratedVideo extends Video {
  /** What the run is made with, all defaults filled in. */
  readonly settings: Settings;
  /** What the run did; it is rejected where the iteration throws. */
  readonly report: Promise<RunReport>;
  /** What attention did, call by call: there when denoising is done, unless attention is a bare function. */
  readonly attentionStats?: AttentionStatistics;
}

/** Options of a run whose attention is settled. */
export type RunOptions = GenerateOptions & {
  readonly attention: Method | Attention;
  /** What runs of the same prompts share. */
  readonly [TEXTS]?: TextMemory;
  /** Called when denoising is done, unless attention is a bare function. */
  readonly onStatistics?: (statistics: AttentionStatistics) => void;
};

/** The frames of one run; the work starts when they are iterated. */
export function generatedVideo(parts: Parts, settings: Settings, options: RunOptions): GeneratedVideo {
  let settle: { resolve(report: RunReport): void; reject(reason: unknown): void };
  const report = new Promise<RunReport>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // The caller learns of a failure through the iteration; an unread report must not end the process.
  report.catch(() => undefined);
  let started = false;
  let statistics: AttentionStatistics | undefined;
  const onStatistics = (done: AttentionStatistics): void => {
    statistics = done;
    options.onStatistics?.(done);
  };
  return {
    get attentionStats() {
      return statistics;
    },
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
        settle.resolve(yield* run(parts, settings, { ...options, onStatistics }));
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
  const prepared = prepareRun(parts, settings, options.attention);
  // What goes wrong with it is thrown where it is waited for.
  prepared.catch(() => undefined);
  const text = await encodeTexts(parts, settings, options[TEXTS]);
  const textEnd = performance.now();
  const { latents, density, skipped } = await denoised(parts, settings, options, sampler, text, prepared);
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

/** Latents from noise, the mean density of the steps, and how many were skipped; the prompts' handles are freed. */
async function denoised(
  parts: Parts,
  settings: Settings,
  options: RunOptions,
  sampler: Sampler,
  { prompt, negative }: Texts,
  prepared: Promise<void>,
): Promise<{ latents: Float32Array; density: number; skipped: number }> {
  const { device } = parts;
  const { ops } = device.executor;
  const shape = latentShape(parts, settings);
  const { attention, cache, signal } = options;
  const log = typeof attention === 'function' ? undefined : callLog(attention.name, attention.measure);
  const { onStep, counts } = counted(parts, options, shape);
  try {
    await prepared;
    const latents = await denoise({
      ...{ ops, sampler, shape, prompt, signal, onStep },
      transformerAt: transformerAt(parts),
      attention: bind(ops, attention, log?.note),
      latents: gaussianNoise(settings.seed, elements(shape)),
      ...(negative && { negative }),
      guidance: guidanceOf(parts, settings),
      batched: isBatched(parts, settings),
      ...(cache && { cache }),
    });
    if (log) options.onStatistics?.(await log.statistics());
    return { latents, ...counts };
  } catch (error) {
    throw device.lost() === undefined ? error : new Error(lossOf(device), { cause: error });
  } finally {
    for (const text of [prompt, negative]) if (text) ops.release(text);
  }
}

/** Counts steps as they are done, and tells the caller of each. */
function counted({ vae }: Parts, options: RunOptions, shape: ReturnType<typeof latentShape>) {
  const counts = { density: 0, skipped: 0 };
  const onStep = async (step: DenoiseStep): Promise<void> => {
    counts.density += step.density / step.steps;
    if (step.skipped) counts.skipped++;
    await options.onStep?.({
      ...stepReport(step),
      latents: step.latents,
      preview: async () => firstFrame(vae, await step.clean(), shape),
    });
  };
  return { onStep, counts };
}

/** A bare attention function reports no density of its own: it counts as dense. */
function bind(ops: Backend, attention: Method | Attention, onCall: AttentionOptions['onCall']): BoundAttention {
  if (typeof attention !== 'function') return createAttention(ops, attention, { onCall });
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
