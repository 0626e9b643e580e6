// How well the embedded model follows prompts whose truth is known, seen in training and held out, by its own judge.
//   node dist/bench/eval.js [--quick] [--device cpu|webgpu] [--model FOLDER] [--size 256x256] [--num-frames 33] [--steps 12]
//     [--prompts 48] [--seeds 1] [--gallery] [--out FILE]
// --prompts counts those of each split; --gallery takes the fixed ones of the model card instead. With --out each clip is kept as it is judged,
// and the same command goes on from there. --quick: 3 prompts of each split, 12 steps, at most 256x256x33.
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resultLog } from '../src/bench/log.ts';
import type { Case } from '../src/bench/results.ts';
import { count, parseSize } from '../src/cli/values.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { anchorsOf, type ClipSettings, type JudgedClip, judgedClip } from '../src/quality/evaluation.ts';
import { evaluationText } from '../src/quality/evaluation-text.ts';
import { loadJudge } from '../src/quality/judge.ts';
import { drawPrompts, galleryPrompts, type TruePrompt } from '../src/quality/prompts.ts';
import { drawingFailure } from '../src/quality/sprites.ts';
import type { World } from '../src/quality/world.ts';
import { root } from './machine.ts';

type ClipCase = Case & JudgedClip;

await main().catch((error: Error) => {
  console.error(process.env.ZOETROPE_DEBUG === '1' ? error : `Error: ${error.message.replace(/\s*\n\s*/g, ' ')}`);
  process.exitCode = 1;
});

async function main(): Promise<void> {
  const args = argumentsOf();
  const failure = await drawingFailure();
  if (failure !== undefined) throw new Error(`Directions are tracked by drawn sprites, and ${failure}; run npm install sharp.`);
  const judge = await loadJudge();
  const pipe = await TextToVideoPipeline.fromPretrained(args.model, { device: args.device as 'cpu' | 'webgpu' });
  try {
    const settings = settingsOf(args, pipe);
    const { version = 'unknown' } = pipe.defaults;
    const options = { model: version, device: pipe.device.name, dtype: pipe.device.dtype, ...settings };
    const log = resultLog<ClipCase>({
      ...{ bench: 'eval', version: packageVersion(), choosing: ['prompts', 'seeds', 'gallery'], out: args.out },
      options: { ...options, prompts: args.prompts, seeds: args.seeds, gallery: args.gallery },
    });
    await log.begin(pipe.device.adapter);
    const trials = promptsOf(judge.world, args).flatMap((prompt, at) =>
      Array.from({ length: args.seeds }, (_, seed) => ({ prompt, seed: 1000 * (seed + 1) + at, id: idOf(prompt, 1000 * (seed + 1) + at) })),
    );
    for (const [at, { prompt, seed, id }] of trials.entries()) {
      if (!log.wants(id)) continue;
      console.error(`${at + 1}/${trials.length}, ${Math.round(performance.now() / 1000)} s: ${prompt.text}`);
      await log.add([{ id, ...(await judgedClip(pipe, judge, prompt, { ...settings, seed })) }]);
    }
    const clips = (log.result.cases as readonly ClipCase[]).filter(({ id }) => log.asked.has(id));
    await report(pipe, settings, clips);
  } finally {
    await pipe.dispose();
    await judge.dispose();
  }
}

async function report(pipe: TextToVideoPipeline, settings: Required<ClipSettings>, clips: readonly ClipCase[]): Promise<void> {
  const { width, height, numFrames, numInferenceSteps } = settings;
  const size = `${width}x${height}x${numFrames}`;
  const file = join(pipe.folder, 'eval.json');
  const measured: unknown = existsSync(file) ? JSON.parse(await readFile(file, 'utf8')) : undefined;
  const anchors = { seen: anchorsOf(measured, size, 'seen'), 'held-out': anchorsOf(measured, size, 'held-out') };
  console.log(`${pipe.defaults.version ?? 'unknown'}, ${size}, ${numInferenceSteps} steps, ${pipe.device.name} ${pipe.device.dtype}`);
  console.log(evaluationText({ clips, anchors }));
}

type Arguments = ReturnType<typeof argumentsOf>;

function argumentsOf() {
  const string = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ quick: { type: 'boolean', default: false }, gallery: { type: 'boolean', default: false } },
      ...{ device: { ...string, default: 'cpu' }, model: string, out: string },
      ...{ size: string, 'num-frames': string, steps: string, prompts: string, seeds: string },
    },
  });
  const counted = (name: 'steps' | 'prompts' | 'seeds' | 'num-frames') =>
    values[name] === undefined ? undefined : count(name, name, 100_000)(values[name]);
  const { quick, gallery, device, model, out } = values;
  return {
    ...{ quick, gallery, device, model, out, seeds: counted('seeds') ?? 1, prompts: counted('prompts') ?? (quick ? 3 : 48) },
    ...{ size: values.size === undefined ? undefined : parseSize(values.size), numFrames: counted('num-frames'), steps: counted('steps') },
  };
}

/** What was asked for, else the model's own; a quick run is no larger than 256x256x33. */
function settingsOf({ quick, size, numFrames, steps }: Arguments, { defaults }: TextToVideoPipeline): Required<ClipSettings> {
  const most = (own: number, limit: number): number => (quick ? Math.min(own, limit) : own);
  return {
    width: size?.width ?? most(defaults.width, 256),
    height: size?.height ?? most(defaults.height, 256),
    numFrames: numFrames ?? most(defaults.numFrames, 33),
    numInferenceSteps: steps ?? most(defaults.numInferenceSteps, 12),
  };
}

function promptsOf(world: World, { gallery, prompts }: Arguments): TruePrompt[] {
  return gallery ? galleryPrompts(world) : [...drawPrompts(world, 'seen', prompts), ...drawPrompts(world, 'held-out', prompts)];
}

function idOf({ split, text }: TruePrompt, seed: number): string {
  return `${split}/${text}/seed ${seed}`;
}

function packageVersion(): string {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
}
