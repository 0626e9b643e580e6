// One video as a bench makes it: its frames, what each part took, and what each step computed; and the run before it that is not timed.
import { denoiseOnly } from '../../denoise-only.ts';
import type { Method, Site } from '../../method.ts';
import { fullShare } from '../../method-density.ts';
import type { GenerateOptions, StepReport } from '../../options.ts';
import type { TextToVideoPipeline } from '../../pipeline.ts';
import type { Frame } from '../../video/frame.ts';
import type { VideoContender } from './contenders.ts';

/** Size, steps and what else all videos of a bench have in common. */
export type VideoSettings = Omit<GenerateOptions, 'attention' | 'cache' | 'onStep' | 'signal' | 'seed'> & {
  readonly numFrames: number;
  readonly numInferenceSteps: number;
};

/** What to make. */
export interface ClipOptions {
  readonly prompt: string;
  readonly seed: number;
  readonly settings: VideoSettings;
  readonly contender: VideoContender;
  /** Latents after a step, not to be written to; the time this takes is not counted. */
  readonly onLatents?: (step: number, latents: Float32Array) => void;
  readonly signal?: AbortSignal;
}

/** Parts of a run; `denoise` is the sum of its steps. */
export interface Seconds {
  readonly text: number;
  readonly denoise: number;
  readonly decode: number;
}

export type ClipStep = Pick<StepReport, 'milliseconds' | 'density' | 'skipped'>;

export interface Clip {
  readonly frames: readonly Frame[];
  readonly seconds: Seconds;
  readonly steps: readonly ClipStep[];
  readonly tokens: number;
  readonly layers: number;
  /** Share of attention calls, over steps and layers, that the method's schedule computes in full; 1 of dense attention. */
  readonly warmUp: number;
}

export const totalOf = ({ text, denoise, decode }: Seconds): number => text + denoise + decode;

/** Makes a video to its last frame. @throws Error when its latents are no numbers, and as the pipeline does. */
export async function makeClip(
  pipe: TextToVideoPipeline,
  { prompt, seed, settings, contender, onLatents, signal }: ClipOptions,
): Promise<Clip> {
  const { method, site } = watched(contender.method);
  const steps: ClipStep[] = [];
  const video = pipe(prompt, {
    ...settings,
    ...{ seed, signal, attention: method, cache: contender.cache },
    numInferenceSteps: settings.numInferenceSteps + (contender.moreSteps ?? 0),
    onStep: async ({ step, milliseconds, density, skipped, latents }) => {
      steps.push({ milliseconds, density, skipped });
      const numbers = await latents();
      checkNumbers(numbers, contender, step);
      onLatents?.(step, numbers);
    },
  });
  const frames: Frame[] = [];
  for await (const frame of video) frames.push(frame);
  const { milliseconds, tokens } = await video.report;
  const seconds = {
    text: milliseconds.text / 1000,
    denoise: steps.reduce((sum, step) => sum + step.milliseconds, 0) / 1000,
    decode: milliseconds.decode / 1000,
  };
  return { frames, seconds, steps, tokens, layers: site().layers, warmUp: fullShare(contender.method, site()) };
}

/** A run of so few steps has every phase of the published methods. */
const WARM_UP_STEPS = 5;

/**
 * A short run, after which all sessions and kernels are made; each plan of the method is read back and checked. Frames are decoded for
 * `decode` alone: they are the same work for every contender.
 * @throws RangeError for a plan that breaks the rules, Error for latents that are no numbers, and as the pipeline does.
 */
export async function warmUp(pipe: TextToVideoPipeline, options: ClipOptions, { decode }: { readonly decode: boolean }): Promise<void> {
  const { prompt, seed, settings, contender, signal } = options;
  const steps = Math.min(WARM_UP_STEPS, settings.numInferenceSteps);
  const run: GenerateOptions = {
    ...settings,
    ...{ seed, numInferenceSteps: steps, attention: { ...contender.method, checkPlans: true }, cache: contender.cache, signal },
    onStep: async ({ step, latents }) => checkNumbers(await latents(), contender, step),
  };
  if (!decode) return denoiseOnly(pipe, prompt, run);
  for await (const _ of pipe(prompt, run));
}

function checkNumbers(latents: Float32Array, { label }: VideoContender, step: number): void {
  if (!latents.every(Number.isFinite)) throw new Error(`the latents of ${label} are no numbers after step ${step + 1}`);
}

/** A method that remembers a site of its run, which tells how many layers and steps there are. */
function watched(method: Method): { readonly method: Method; readonly site: () => Site } {
  let seen: Site | undefined;
  const schedule = Object.assign((site: Site) => {
    seen = site;
    return method.schedule(site);
  }, method.schedule);
  return { method: { ...method, schedule }, site: () => seen! };
}
