// Videos of every contender beside those of dense attention: prompt by prompt and seed by seed, so that only one dense video is ever held.
import type { TextToVideoPipeline } from '../../pipeline.ts';
import { relativeError } from '../../quality/error.ts';
import type { Frame } from '../../video/frame.ts';
import { type Adherence, caseId, plansId, rounded, type VideoCase } from './case.ts';
import { type Clip, type ClipOptions, makeClip, type Seconds, totalOf, type VideoSettings, warmUp } from './clip.ts';
import { reference, type VideoContender } from './contenders.ts';
import { flickerOf, nearness } from './nearness.ts';
import type { Shrink } from './pictures.ts';
import { plansOf } from './plans.ts';

/** A prompt with the seeds of its videos, and how well a video shows what it asks for, where that is known. */
export interface BenchPrompt {
  readonly text: string;
  readonly seeds: readonly number[];
  readonly judge?: (frames: readonly Frame[]) => Promise<Adherence>;
}

export interface VideoBenchOptions {
  readonly contenders: readonly VideoContender[];
  readonly prompts: readonly BenchPrompt[];
  readonly settings: VideoSettings;
  /** Whether the case of this id is to be measured. */
  readonly isDue: (id: string) => boolean;
  /** Another pipeline of the same model, for contenders that store numbers otherwise. */
  readonly otherPipe?: TextToVideoPipeline;
  /** Keeps small frames of the videos of each prompt's first seed. */
  readonly shrink?: Shrink;
  /** Looks at the plans of so many prompts, each with its first seed (default 0). */
  readonly plansOf?: number;
  /** Leaves out what each step did (default false). */
  readonly brief?: boolean;
  /** No run is started that would end later, unless nothing was measured yet; by `performance.now()`. */
  readonly deadline?: number;
  readonly onStart?: (run: { readonly contender: string; readonly prompt: string; readonly seed: number; readonly done: number }) => void;
  readonly onCase: (measured: VideoCase) => Promise<void>;
  readonly signal?: AbortSignal;
}

/** Whether everything was measured, or a deadline or an abort came first. */
export type Outcome = 'done' | 'stopped';

/** The dense video of the prompt and seed at hand. */
interface Reference {
  readonly clip: Clip;
  readonly latents: readonly Float32Array[];
}

/** What a call remembers from one pair to the next. */
interface Run extends VideoBenchOptions {
  readonly pipe: TextToVideoPipeline;
  readonly warm: Set<string>;
  /** Contenders that failed are left out from then on. */
  readonly failed: Set<string>;
  measured: number;
  longestMilliseconds: number;
}

interface Pair {
  readonly prompt: BenchPrompt;
  readonly seed: number;
  /** Whether small frames are kept, and plans looked at. */
  readonly keepsFrames: boolean;
  readonly showsPlans: boolean;
}

/**
 * Measures what is not known yet. A contender that fails is a case that says so.
 * @throws RangeError when there is nothing to measure, and what the dense run or `onCase` fails with.
 */
export async function benchVideo(pipe: TextToVideoPipeline, options: VideoBenchOptions): Promise<Outcome> {
  if (options.prompts.every(({ seeds }) => seeds.length === 0))
    throw new RangeError('there are no prompts and seeds to make videos of; give at least one');
  const run: Run = { ...options, pipe, warm: new Set(), failed: new Set(), measured: 0, longestMilliseconds: 0 };
  for (const [at, prompt] of options.prompts.entries())
    for (const seed of prompt.seeds) {
      const isFirstSeed = seed === prompt.seeds[0];
      const pair = { prompt, seed, keepsFrames: isFirstSeed, showsPlans: isFirstSeed && at < (options.plansOf ?? 0) };
      if ((await onePair(run, pair)) === 'stopped') return 'stopped';
    }
  return 'done';
}

/** The dense run of a pair and every contender beside it, as far as they are due. */
async function onePair(run: Run, pair: Pair): Promise<Outcome> {
  const { isDue, contenders } = run;
  const { prompt, seed, showsPlans } = pair;
  const denseId = caseId('dense', prompt.text, seed);
  const runs = contenders.filter(({ label }) => isDue(caseId(label, prompt.text, seed)));
  const looks = contenders.filter((one) => showsPlans && one.role === 'contender' && isDue(plansId(one.label, prompt.text, seed)));
  if (runs.length === 0 && looks.length === 0) return 'done';
  if (isLate(run)) return 'stopped';
  const dense = await referenceOf(run, pair);
  if (isDue(denseId)) await emit(run, await caseOf(run, pair, reference(), dense.clip));
  for (const contender of runs) {
    if (run.failed.has(contender.label)) continue;
    if (isLate(run)) return 'stopped';
    await attempt(run, pair, contender, caseId, () => beside(run, pair, contender, dense));
  }
  for (const contender of looks) {
    if (run.failed.has(contender.label)) continue;
    if (isLate(run)) return 'stopped';
    await attempt(run, pair, contender, plansId, async () => ({
      plans: await plansOf(run.pipe, dense.clip.layers, clipOptions(run, pair, contender)),
    }));
  }
  return 'done';
}

const isLate = ({ deadline = Number.POSITIVE_INFINITY, measured, longestMilliseconds }: Run): boolean =>
  measured > 0 && performance.now() + longestMilliseconds > deadline;

async function referenceOf(run: Run, pair: Pair): Promise<Reference> {
  const options = clipOptions(run, pair, reference());
  run.onStart?.({ contender: 'dense', prompt: pair.prompt.text, seed: pair.seed, done: run.measured });
  if (!run.warm.has('dense')) await warmUp(run.pipe, options, { decode: true });
  run.warm.add('dense');
  const latents: Float32Array[] = [];
  const clip = await timed(run, () => makeClip(run.pipe, { ...options, onLatents: (_, numbers) => latents.push(numbers) }));
  return { clip, latents };
}

/** What a contender's video is beside the dense one. */
async function beside(run: Run, pair: Pair, contender: VideoContender, dense: Reference): Promise<Partial<VideoCase>> {
  const pipe = contender.dtype ? run.otherPipe! : run.pipe;
  const options = clipOptions(run, pair, contender);
  if (!run.warm.has(contender.label)) await warmUp(pipe, options, { decode: pipe !== run.pipe });
  run.warm.add(contender.label);
  const errors: number[] = [];
  let last = Number.NaN;
  const onLatents = (step: number, latents: Float32Array) => {
    if (contender.moreSteps) last = relativeError(latents, dense.latents[dense.latents.length - 1]);
    else errors.push(relativeError(latents, dense.latents[step]));
  };
  const clip = await timed(run, () => makeClip(pipe, { ...options, onLatents }));
  const latentError = contender.moreSteps ? last : errors[errors.length - 1];
  return {
    ...(await caseOf(run, pair, contender, clip, contender.moreSteps ? undefined : errors)),
    denseSeconds: roundedSeconds(dense.clip),
    nearness: nearness(clip.frames, dense.clip.frames, latentError),
  };
}

const clipOptions = (run: Run, { prompt, seed }: Pair, contender: VideoContender): ClipOptions => ({
  ...{ prompt: prompt.text, seed, settings: run.settings, contender, signal: run.signal },
});

async function timed<Value>(run: Run, work: () => Promise<Value>): Promise<Value> {
  const start = performance.now();
  const value = await work();
  run.longestMilliseconds = Math.max(run.longestMilliseconds, performance.now() - start);
  return value;
}

const roundedSeconds = ({ seconds: { text, denoise, decode } }: Clip): Seconds => ({
  ...{ text: rounded(text), denoise: rounded(denoise), decode: rounded(decode) },
});

/** What a clip says of itself. */
async function caseOf(run: Run, pair: Pair, { label }: VideoContender, clip: Clip, errors?: readonly number[]): Promise<VideoCase> {
  const { frames, seconds, steps, warmUp: full } = clip;
  const { prompt, seed, keepsFrames } = pair;
  const milliseconds = rounded(1000 * totalOf(seconds), 5);
  const flicker = flickerOf(frames);
  return {
    ...{ id: caseId(label, prompt.text, seed), contender: label, prompt: prompt.text, seed },
    milliseconds: { median: milliseconds, best: milliseconds, low: milliseconds, high: milliseconds, runs: 1 },
    seconds: roundedSeconds(clip),
    density: rounded(steps.reduce((sum, { density }) => sum + density, 0) / steps.length),
    warmUp: rounded(full),
    cached: rounded(steps.filter(({ skipped }) => skipped).length / steps.length),
    ...(!run.brief && {
      steps: {
        milliseconds: steps.map((step) => rounded(step.milliseconds)),
        density: steps.map(({ density }) => rounded(density, 3)),
        ...(errors && { error: errors.map((error) => rounded(error, 3)) }),
      },
    }),
    ...(flicker !== undefined && { flicker }),
    ...(prompt.judge && { adherence: await prompt.judge(frames) }),
    ...(run.shrink && keepsFrames && { frames: await run.shrink(frames) }),
  };
}

/** Measures a contender, or keeps why that failed; an abort is no failure. */
async function attempt(
  run: Run,
  { prompt, seed }: Pair,
  { label }: VideoContender,
  idOf: typeof caseId,
  work: () => Promise<Partial<VideoCase>>,
): Promise<void> {
  run.onStart?.({ contender: label, prompt: prompt.text, seed, done: run.measured });
  const base = { id: idOf(label, prompt.text, seed), contender: label, prompt: prompt.text, seed };
  let rest: Partial<VideoCase>;
  try {
    rest = await work();
  } catch (error) {
    run.signal?.throwIfAborted();
    run.failed.add(label);
    rest = { failed: (error as Error).message };
  }
  await emit(run, { ...base, ...rest });
}

async function emit(run: Run, measured: VideoCase): Promise<void> {
  run.measured++;
  await run.onCase(measured);
}
