// What `zoetrope bench video` needs before its first video: contenders, prompts, the result that it goes on with.
import { isWanted, machineOf } from '../bench/results.ts';
import type { BenchPrompt } from '../bench/video/bench.ts';
import { caseId, plansId } from '../bench/video/case.ts';
import type { VideoSettings } from '../bench/video/clip.ts';
import { type NamedMethod, reference, type VideoContender, videoContenders } from '../bench/video/contenders.ts';
import { type Judging, openJudging } from '../bench/video/judging.ts';
import { type Shrink, shrinker } from '../bench/video/pictures.ts';
import { benchPrompts } from '../bench/video/prompts.ts';
import { factsOf, openVideoResult, type VideoWriter } from '../bench/video/result.ts';
import { embeddedModel } from '../embedded-model.ts';
import { UnsupportedError } from '../errors.ts';
import { TextToVideoPipeline } from '../pipeline.ts';
import type { BenchVideoArguments } from './bench-video-arguments.ts';
import { methodOf, takesSparsity } from './method.ts';
import type { Lines } from './terminal.ts';

/** Everything that is settled before the first video. */
export interface VideoSetup {
  readonly contenders: readonly VideoContender[];
  readonly prompts: readonly BenchPrompt[];
  readonly settings: VideoSettings;
  readonly writer: VideoWriter;
  /** Whether the case of this id is asked for and not there yet. */
  readonly isDue: (id: string) => boolean;
  /** How many cases are due. */
  readonly due: number;
}

/**
 * Checks everything that was asked for, and opens the result file.
 * @throws Error with one sentence for what cannot be measured, and as `openVideoResult`.
 */
export async function videoSetup(
  args: BenchVideoArguments,
  version: string,
  pipe: TextToVideoPipeline,
  { otherDtype, judging }: { readonly otherDtype?: 'f32' | 'f16'; readonly judging?: Judging },
): Promise<VideoSetup> {
  const settings = settingsOf(args, pipe);
  pipe.estimate(settings); // refuses a size that the model cannot make
  const prompts = await benchPrompts(pipe, { ...args, ...(judging && { judge: judging.judge }) });
  const contenders = videoContenders({ methods: await methodsOf(args), caches: args.cache, floor: args.floor, otherDtype });
  const ids = everyId(args, prompts, contenders);
  const wanted = (id: string): boolean => isWanted(id, args.filter);
  if (!ids.some(wanted))
    throw new RangeError(
      ids.length === 0
        ? 'there is nothing to hold against dense attention; name --methods, a --cache above 0, or leave out --no-floor'
        : `--filter "${args.filter}" leaves nothing to measure; its words must be in ids such as "${ids[0]}"`,
    );
  const writer = await openVideoResult(args.out, freshResult(args, version, pipe, settings, contenders));
  const isDue = (id: string): boolean => !writer.known.has(id) && (id.startsWith('dense/') || wanted(id));
  return { contenders, prompts, settings, writer, isDue, due: dueOf(ids.filter(isDue), isDue) };
}

/** With the dense cases that these are held against. */
function dueOf(ids: readonly string[], isDue: (id: string) => boolean): number {
  const dense = new Set(ids.map((id) => `dense${id.slice(id.indexOf('/'))}`.replace(/\/plans$/, '')));
  return ids.length + [...dense].filter(isDue).length;
}

const settingsOf = ({ size, numFrames, steps }: BenchVideoArguments, { defaults }: TextToVideoPipeline): VideoSettings => ({
  ...(size ?? { width: defaults.width, height: defaults.height }),
  numFrames: numFrames ?? defaults.numFrames,
  numInferenceSteps: steps ?? defaults.numInferenceSteps,
});

/** Ids of all cases but the dense ones. */
function everyId({ recall }: BenchVideoArguments, prompts: readonly BenchPrompt[], contenders: readonly VideoContender[]): string[] {
  return prompts.flatMap(({ text, seeds }, at) =>
    contenders.flatMap(({ label, role }) => [
      ...seeds.map((seed) => caseId(label, text, seed)),
      ...(at < recall && role === 'contender' ? [plansId(label, text, seeds[0])] : []),
    ]),
  );
}

function freshResult(
  args: BenchVideoArguments,
  version: string,
  { device, runtime, folder }: TextToVideoPipeline,
  settings: VideoSettings,
  contenders: readonly VideoContender[],
) {
  const { command, json, out, summary, compare, minutes, model, size, numFrames, steps, dtype, device: asked, ...choosing } = args;
  const embedded = folder === embeddedModel();
  const where = { device: device.name, dtype: device.dtype, runtime: runtime.name };
  return {
    ...{ bench: 'video', date: new Date().toISOString().slice(0, 10), version, machine: machineOf(device.adapter) },
    options: { model: embedded ? 'wan-mini' : folder, ...settings, ...where, ...choosing },
    ...{ device, runtime: `${runtime.name} ${runtime.version}`, embedded, contenders: [reference(), ...contenders].map(factsOf) },
  };
}

async function methodsOf({ methods, sparsities }: BenchVideoArguments): Promise<readonly NamedMethod[]> {
  const named = async (method: string, sparsity?: number): Promise<NamedMethod> => {
    const made = await methodOf({ method, sparsity });
    return { name: made.name, method: made, ...(sparsity !== undefined && { sparsity }) };
  };
  return Promise.all(
    methods.flatMap((name) => (takesSparsity(name) ? sparsities.map((sparsity) => named(name, sparsity)) : [named(name)])),
  );
}

/** The model once more, with numbers stored the other way: on a GPU that can, and where the floor is measured. */
export async function otherPipe(
  { model, floor }: BenchVideoArguments,
  { device }: TextToVideoPipeline,
  lines: Lines,
): Promise<TextToVideoPipeline | undefined> {
  if (!floor || device.name === 'cpu') return undefined;
  const dtype = device.dtype === 'f16' ? 'f32' : 'f16';
  try {
    return await TextToVideoPipeline.fromPretrained(model, { device: 'webgpu', dtype });
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    lines.note(`There is no row in ${dtype}: ${error.message}.`);
    return undefined;
  }
}

/** The judge of the model's videos, if there is one for them; says what is not judged and why. */
export async function judgingOf(args: BenchVideoArguments, pipe: TextToVideoPipeline, lines: Lines): Promise<Judging | undefined> {
  const judging = await openJudging(pipe.vocabulary, settingsOf(args, pipe).numFrames);
  const without = typeof judging === 'string' ? judging : judging.without;
  if (without !== undefined) lines.note(`Note: ${without}.`);
  return typeof judging === 'string' ? undefined : judging;
}

/** What makes small frames, if any are to be kept; says why where there can be none. */
export async function shrinkOf({ frames }: BenchVideoArguments, lines: Lines): Promise<Shrink | undefined> {
  const shrink = frames > 0 ? await shrinker(frames) : undefined;
  if (typeof shrink !== 'string') return shrink;
  lines.note(`Note: ${shrink}.`);
  return undefined;
}
