// Generation options: what a caller may set, and the checks that turn them into complete settings before anything is loaded.
import { checkMethod, checkOptions as checkNames } from './checks.ts';
import type { GenerationDefaults } from './dit/config.ts';
import { type StepCache, stepCache } from './dit/step-cache.ts';
import type { Attention, Method } from './method.ts';
import type { Frame } from './video/frame.ts';

/** What happened in one denoising step. */
export interface StepReport {
  /** Counts from 0. */
  readonly step: number;
  /** Steps of the run. */
  readonly steps: number;
  /** 0..1000 */
  readonly timestep: number;
  /** What the step took. */
  readonly milliseconds: number;
  /** FLOP-equivalent share of all attention block pairs that was computed, 0..1; 0 in a skipped step. */
  readonly density: number;
  /** Whether the step cache gave the velocity, and nothing of the model was computed. */
  readonly skipped: boolean;
  /** Decodes the first frame of the current estimate of the clean video. Call it before `onStep` is done: what it needs is freed then. */
  preview(): Promise<Frame>;
  /** Latents after the step, [channels, frames, height, width]; do not write to them. To be called before `onStep` is done as well. */
  latents(): Promise<Float32Array>;
}

/** Options of one call; what is left out comes from the checkpoint's `model_index.json`, else from Wan's defaults. */
export interface GenerateOptions {
  /** What guidance leads away from; empty by default. */
  readonly negativePrompt?: string;
  /** Pixels. */
  readonly height?: number;
  /** Pixels. */
  readonly width?: number;
  /** 4k + 1 for Wan. */
  readonly numFrames?: number;
  /** Denoising steps, 1 to 1000. */
  readonly numInferenceSteps?: number;
  /** Scale of classifier-free guidance, from 0 on; at 1 and below there is none, and a step is one forward instead of two. */
  readonly guidanceScale?: number;
  /** Guidance below the boundary timestep of a two-transformer checkpoint; default guidanceScale. */
  readonly guidanceScale2?: number;
  /** Shares of the steps between which guidance is on. */
  readonly guidanceInterval?: readonly [number, number];
  /** Shift of the flow-matching ladder; default that of the scheduler's config. */
  readonly flowShift?: number;
  /** Frames per second written into the video; changes no pixel. */
  readonly fps?: number;
  /** Whole number, 0..2^32-1. The same seed means the same noise on every device. Default: drawn at random and reported. */
  readonly seed?: number;
  /** How self-attention is computed: a method (default: the pipeline's own, dense unless accelerated) or a bare function. */
  readonly attention?: Method | Attention;
  /** Skips steps at which the model is expected to give nearly what it gave before; see `stepCache`. Default: every step is computed. */
  readonly cache?: StepCache;
  /** Told after each denoising step; the run waits for it. */
  readonly onStep?: (report: StepReport) => void | Promise<void>;
  /** Ends the run before its next forward, step or frame; the iteration then throws its reason. */
  readonly signal?: AbortSignal;
}

/** Complete, checked settings of one run. */
export interface Settings {
  /** What the video is of. */
  readonly prompt: string;
  /** What guidance leads away from. */
  readonly negativePrompt: string;
  /** Pixels. */
  readonly height: number;
  /** Pixels. */
  readonly width: number;
  /** Frames of the video. */
  readonly numFrames: number;
  /** Denoising steps. */
  readonly numInferenceSteps: number;
  /** Scale of classifier-free guidance. */
  readonly guidanceScale: number;
  /** The same below the boundary timestep of a checkpoint with two transformers. */
  readonly guidanceScale2: number;
  /** Shares of the steps between which guidance is on. */
  readonly guidanceInterval: readonly [number, number];
  /** Shift of the flow-matching ladder; that of the scheduler's config where it is absent. */
  readonly flowShift?: number;
  /** Frames per second. */
  readonly fps: number;
  /** Seed of the noise. */
  readonly seed: number;
  /** Text tokens that the model reads; longer prompts are cut. */
  readonly maxSequenceLength: number;
}

/** What sizes a checkpoint can make. */
export interface Granularity {
  /** Pixels that height and width must be multiples of: VAE cell times patch. */
  readonly height: number;
  readonly width: number;
  /** Frames per latent frame: numFrames must be 1 more than a multiple of it. */
  readonly frames: number;
}

/** Characters of a prompt; no model reads more than a few hundred words, and the tokenizer's search is quadratic. */
const LONGEST_PROMPT = 10_000;

/** Options of a run, and what `Settings` adds: a run may be given the settings of another. */
const OPTIONS: readonly (keyof GenerateOptions | keyof Settings)[] = [
  ...(['numInferenceSteps', 'width', 'height', 'numFrames', 'seed', 'attention', 'cache', 'onStep', 'signal', 'fps'] as const),
  ...(['negativePrompt', 'guidanceScale', 'guidanceScale2', 'guidanceInterval', 'flowShift', 'prompt', 'maxSequenceLength'] as const),
];

/** Checks a call's options and completes them. @throws TypeError | RangeError with one sentence: the option, its value, what to do. */
export function checkOptions(prompt: string, options: GenerateOptions, defaults: GenerationDefaults, granularity: Granularity): Settings {
  checkText('the prompt', prompt);
  checkNames('a run', options, [], OPTIONS);
  checkText('the negative prompt', options.negativePrompt ?? '');
  const settings = {
    prompt,
    negativePrompt: options.negativePrompt ?? '',
    height: options.height ?? defaults.height,
    width: options.width ?? defaults.width,
    numFrames: options.numFrames ?? defaults.numFrames,
    numInferenceSteps: options.numInferenceSteps ?? defaults.numInferenceSteps,
    guidanceScale: options.guidanceScale ?? defaults.guidanceScale,
    guidanceScale2: options.guidanceScale2 ?? options.guidanceScale ?? defaults.guidanceScale,
    guidanceInterval: options.guidanceInterval ?? defaults.guidanceInterval,
    ...(options.flowShift !== undefined && { flowShift: options.flowShift }),
    fps: options.fps ?? defaults.fps,
    seed: options.seed ?? Math.floor(Math.random() * 2 ** 32),
    maxSequenceLength: defaults.maxSequenceLength,
  };
  checkSize('height', settings.height, granularity.height);
  checkSize('width', settings.width, granularity.width);
  checkFrames(settings.numFrames, granularity.frames);
  whole('numInferenceSteps', settings.numInferenceSteps, 1, 1000);
  whole('seed', settings.seed, 0, 2 ** 32 - 1);
  finite('guidanceScale', settings.guidanceScale, 0);
  finite('guidanceScale2', settings.guidanceScale2, 0);
  if (settings.flowShift !== undefined) positive('flowShift', settings.flowShift);
  positive('fps', settings.fps);
  if (options.attention !== undefined) checkMethod(options.attention, true);
  if (options.cache !== undefined) stepCache(options.cache);
  const [from, to] = settings.guidanceInterval;
  if (!(from >= 0 && to <= 1 && from <= to)) {
    throw new RangeError(
      `guidanceInterval is [${settings.guidanceInterval}]; give two rising shares of the steps within 0..1, such as [0, 0.6]`,
    );
  }
  return settings;
}

function checkText(name: string, text: string): void {
  if (typeof text !== 'string') throw new TypeError(`${name} is ${String(text)}; pass a string (an empty one is allowed)`);
  if (text.length > LONGEST_PROMPT) throw new RangeError(`${name} has ${text.length} characters; give at most ${LONGEST_PROMPT}`);
}

/** @throws RangeError for a side in pixels that is no multiple of `unit`. */
export function checkSize(name: string, value: number, unit: number): void {
  whole(name, value, 1, 65536);
  if (value % unit === 0) return;
  const nearest = Math.max(unit, Math.round(value / unit) * unit);
  throw new RangeError(`${name} ${value} is not a multiple of ${unit}, which this model needs; the nearest is ${nearest}`);
}

/** @throws RangeError for a number of frames that is not 1 more than a multiple of `unit`. */
export function checkFrames(value: number, unit: number): void {
  whole('numFrames', value, 1, 100_000);
  if (value % unit === 1 || unit === 1) return;
  const nearest = Math.max(0, Math.round((value - 1) / unit)) * unit + 1;
  throw new RangeError(`numFrames ${value} is not ${unit}k + 1, which this model needs; the nearest is ${nearest}`);
}

function whole(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} is ${value}; give a whole number from ${min} to ${max}`);
  }
}

function finite(name: string, value: number, min: number): void {
  if (!Number.isFinite(value) || value < min) throw new RangeError(`${name} is ${value}; give a finite number of at least ${min}`);
}

function positive(name: string, value: number): void {
  if (!Number.isFinite(value) || value <= 0) throw new RangeError(`${name} is ${value}; give a finite number above 0`);
}
