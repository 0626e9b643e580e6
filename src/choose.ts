// A method for a wished quality, found by short runs of the user's own prompt: dense once, then presets and sparsities against it.
import { checkOptions as checkNames, checkPipeline, shown } from './checks.ts';
import type { RunOptions } from './generate.ts';
import type { Method } from './method.ts';
import { type Listed, methodNamed } from './methods/catalogue.ts';
import type { GenerateOptions } from './options.ts';
import type { TextToVideoPipeline } from './pipeline.ts';
import { psnr } from './quality/frames.ts';
import { TEXTS, type TextMemory } from './texts.ts';
import type { Frame } from './video/frame.ts';

/** A method with a sparsity: an entry of the catalogue, or one's own. */
export type Preset = Pick<Listed, 'name' | 'preset'>;

/** What is wished for, and what is tried. */
export interface ChooseOptions {
  /** PSNR in dB that the decoded frames of the short sparse run must have against those of the short dense run. Default 30. */
  readonly quality?: number;
  /** What the run itself will have: size, seed, guidance; the same is tried, with fewer steps and without a step cache. */
  readonly settings?: Omit<GenerateOptions, 'attention' | 'cache' | 'onStep' | 'signal'>;
  /** Steps of a short run (default 6, or those of the run where they are fewer). */
  readonly steps?: number;
  /** What to try, in this order (default exactRest, adaSpa). */
  readonly presets?: readonly Preset[];
  /** Rising (default .5, .6, .7, .8, .9). */
  readonly sparsities?: readonly number[];
  /** Told after each short run what it showed. */
  readonly onTrial?: (trial: Trial) => void;
  /** Ends the short runs; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** A short run; that of full attention has sparsity 0 and is the measure of the others. */
export interface Trial {
  /** The preset's name. */
  readonly method: string;
  /** What the preset was given, 0..1. */
  readonly sparsity: number;
  /** dB against the dense short run. */
  readonly psnr: number;
  /** FLOP-equivalent share of full attention over all its steps, 0..1. */
  readonly meanDensity: number;
  /** Of the whole short run, decoding included; the texts are encoded in the first one alone. */
  readonly milliseconds: number;
}

/** The method that was chosen, and why. */
export interface Choice {
  /** To be given to a run, or to `accelerate`. */
  readonly method: Method;
  /** The preset's name. */
  readonly name: string;
  /** The sparsity that the preset was given. */
  readonly sparsity: number;
  /** That of all short runs: the run itself may have it too. */
  readonly seed: number;
  /** PSNR of the short run against the dense one, in dB. */
  readonly psnr: number;
  /** The PSNR that was wished for, in dB. */
  readonly quality: number;
  /** All that was tried, in order, the dense run first. */
  readonly trials: readonly Trial[];
  /** What all short runs took. */
  readonly milliseconds: number;
  /** Why this one: a sentence without its full stop. */
  readonly reason: string;
}

/**
 * Picks the sparsest preset that keeps the wished quality in a short run of this prompt. The first preset's sparsities are halved until the largest
 * that reaches it is found; each other preset must then do better. A short run has fewer and larger steps, and its shares of dense steps are those
 * of a long one: its PSNR orders methods, and is near that of the whole run but not the same.
 * @throws Error when nothing reaches the wish, with what came nearest, and when a short run was dense throughout; RangeError for options out of range; the signal's reason when it is aborted.
 */
export async function chooseMethod(pipe: TextToVideoPipeline, prompt: string, options: ChooseOptions = {}): Promise<Choice> {
  checkPipeline(pipe);
  checkNames('chooseMethod', options, [], OPTIONS);
  const { quality = 30, presets = [methodNamed('exactRest'), methodNamed('adaSpa')], sparsities = [0.5, 0.6, 0.7, 0.8, 0.9] } = options;
  checkOptions(quality, presets, sparsities);
  const start = performance.now();
  const tried = trials(pipe, prompt, options);
  await tried.dense();
  let best: Candidate | undefined;
  for (const preset of presets) {
    const found = await sparsest(
      sparsities,
      best,
      preset === presets[0],
      async (sparsity) => (await tried.run(preset, sparsity)) >= quality,
    );
    if (found !== undefined) best = { preset, sparsity: found };
  }
  const done = tried.done();
  if (!best) throw new Error(nothing(quality, done));
  const { preset, sparsity } = best;
  const reached = done.find((trial) => trial.method === preset.name && trial.sparsity === sparsity)!.psnr;
  return {
    ...{ method: preset.preset({ sparsity }), name: preset.name, sparsity, seed: tried.seed, psnr: reached, quality, trials: done },
    milliseconds: performance.now() - start,
    reason: `of ${done.length - 1} tried it is the sparsest with ${quality} dB, and has ${decibels(reached)}`,
  };
}

const OPTIONS: readonly (keyof ChooseOptions)[] = ['quality', 'settings', 'steps', 'presets', 'sparsities', 'onTrial', 'signal'];

interface Candidate {
  readonly preset: Preset;
  readonly sparsity: number;
}

/**
 * The largest of rising sparsities that reaches the wish, by halving, if one above that of the best so far does; what is sparser is taken to be
 * worse.
 */
async function sparsest(
  sparsities: readonly number[],
  best: Candidate | undefined,
  isFirst: boolean,
  reaches: (sparsity: number) => Promise<boolean>,
): Promise<number | undefined> {
  const open = sparsities.filter((sparsity) => !best || sparsity > best.sparsity);
  let found: number | undefined;
  let [low, high] = [0, open.length - 1];
  // What others did is hard to better: the least that would be is asked for first.
  let middle = isFirst ? (low + high) >> 1 : low;
  while (low <= high) {
    if (await reaches(open[middle])) {
      found = open[middle];
      low = middle + 1;
    } else high = middle - 1;
    middle = (low + high + 1) >> 1;
  }
  return found;
}

function trials(pipe: TextToVideoPipeline, prompt: string, { settings, steps = 6, onTrial, signal }: ChooseOptions) {
  const numInferenceSteps = Math.min(steps, settings?.numInferenceSteps ?? pipe.defaults.numInferenceSteps);
  const seed = settings?.seed ?? Math.floor(Math.random() * 2 ** 32);
  const done: Trial[] = [];
  let exact: readonly Frame[] | undefined;
  const texts: TextMemory = {};
  const short = async (name: string, sparsity: number, attention: Method): Promise<number> => {
    const start = performance.now();
    const run: RunOptions = { ...settings, seed, numInferenceSteps, attention, [TEXTS]: texts, ...(signal && { signal }) };
    const video = pipe(prompt, run);
    const frames: Frame[] = [];
    for await (const frame of video) frames.push(frame);
    exact ??= frames;
    const { meanDensity } = await video.report;
    const trial = { method: name, sparsity, psnr: psnr(frames, exact), meanDensity, milliseconds: performance.now() - start };
    done.push(trial);
    if (sparsity > 0 && meanDensity > 0.999) throw new Error(noTrial(trial, numInferenceSteps));
    onTrial?.(trial);
    return trial.psnr;
  };
  return {
    dense: () => short('dense', 0, methodNamed('dense').preset()),
    run: ({ name, preset }: Preset, sparsity: number) => short(name, sparsity, preset({ sparsity })),
    done: (): readonly Trial[] => done,
    seed,
  };
}

const noTrial = ({ method, sparsity }: Trial, steps: number): string =>
  `${method} at sparsity ${sparsity} computes full attention in all ${steps} steps of a short run, which shows nothing; give more steps, or a larger video`;

function nothing(quality: number, [, ...tried]: readonly Trial[]): string {
  const near = tried.reduce((best, trial) => (trial.psnr > best.psnr ? trial : best));
  return `no method reaches ${quality} dB on this prompt: of ${tried.length} tried ${near.method} at sparsity ${near.sparsity} comes nearest, with ${decibels(near.psnr)}; wish for less, or choose dense`;
}

const decibels = (value: number): string => (Number.isFinite(value) ? `${value.toFixed(1)} dB` : 'no difference at all');

function checkOptions(quality: number, presets: readonly Preset[], sparsities: readonly number[]): void {
  if (!(Number.isFinite(quality) && quality > 0)) throw new RangeError(`quality is ${quality}; give a PSNR in dB above 0, such as 30`);
  for (const list of [presets, sparsities] as readonly unknown[])
    if (!Array.isArray(list)) throw new TypeError(`what is to be tried is ${shown(list)}; give presets and sparsities as lists`);
  const other = presets.find((one: Partial<Preset> | undefined) => typeof one?.preset !== 'function');
  if (presets.includes(other as Preset))
    throw new TypeError(`${shown(other)} cannot be tried; give presets as methodNamed('adaSpa') returns them`);
  if (presets.length === 0) throw new RangeError('there are no presets to try; give at least one');
  for (const [at, sparsity] of sparsities.entries())
    if (!(sparsity > (sparsities[at - 1] ?? 0) && sparsity < 1))
      throw new RangeError(`sparsities [${sparsities.join(', ')}] do not rise within 0..1; give some that do, such as 0.5, 0.8`);
  if (sparsities.length === 0) throw new RangeError('there are no sparsities to try; give at least one');
}
