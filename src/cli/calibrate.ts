// `zoetrope calibrate`: records a few runs with full attention and writes what they say about each layer and head.
import { existsSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { CalibrateOptions } from '../calibration/calibrate.ts';
import type { Calibration } from '../calibration/calibration.ts';
import { readCalibration } from '../calibration/file.ts';
import { checkPlace, writeWhole } from '../video/place.ts';
import { formatDuration } from './progress.ts';
import { givenPrompts } from './prompts.ts';
import { linesOn, type Terminal } from './terminal.ts';
import { anotherPrompt, count, parseSize } from './values.ts';

export interface CalibrateArguments {
  readonly command: 'calibrate';
  readonly output: string;
  readonly model?: string;
  readonly device: 'cpu' | 'webgpu';
  readonly size?: { readonly width: number; readonly height: number };
  readonly numFrames?: number;
  readonly steps?: number;
  readonly prompt?: readonly string[];
  readonly prompts?: number;
  readonly seeds: number;
  readonly json: boolean;
}

/** Of the model's own, where none is given. */
const PROMPTS = 2;

/** Adds the command; `done` is given what was asked for. */
export function calibrateCommand(program: Command, done: (args: CalibrateArguments) => void): void {
  program
    .command('calibrate')
    .description('record a model with full attention, for methods that choose by layer and head beforehand (--calibration)')
    .argument('[prompt...]', 'what to record (default: prompts that the model knows)')
    .option('-o, --output <file>', 'where to write the tables; an earlier calibration is replaced', 'calibration.json')
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .addOption(new Option('--device <name>', 'where videos are denoised').choices(['cpu', 'webgpu']).default('cpu'))
    .option('--size <WxH>', 'width x height in pixels, as 832x480: tables are for one size', parseSize)
    .option('--video-frames, --num-frames <n>', 'number of frames', count('num-frames', 'frames', 10000))
    .option('--num-inference-steps, --steps <n>', 'denoising steps', count('steps', 'steps', 1000))
    .option('--prompt <text>', 'a prompt; may be given more than once', anotherPrompt)
    .option('--prompts <n>', `so many of the model's own prompts (default: ${PROMPTS})`, count('prompts', 'prompts', 1000))
    .option('--seeds <n>', 'seeds for each prompt', count('seeds', 'seeds', 1000), 1)
    .option('--json', 'print the tables on stdout too', false)
    .action((words: string[], options) => done(calibrateArguments(words, options)));
}

/** @throws TypeError for prompts that are both given and counted. */
function calibrateArguments(
  words: readonly string[],
  { prompt = [], ...options }: Omit<CalibrateArguments, 'command'>,
): CalibrateArguments {
  const given = words.length > 0 ? [...anotherPrompt(words.join(' ')), ...prompt] : prompt;
  if (given.length > 0 && options.prompts !== undefined)
    throw new TypeError(`--prompts ${options.prompts} counts the model's own prompts; leave it out where prompts are given.`);
  return { command: 'calibrate', ...options, ...(given.length > 0 && { prompt: given }) };
}

/** Runs it. Throws an Error, TypeError or RangeError with one sentence for the user, or the signal's reason when it is aborted. */
export async function calibrateModel(args: CalibrateArguments, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const { size, numFrames, steps, output, json } = args;
  await checkReplaced(output);
  const lines = linesOn(terminal);
  lines.show('Loading the model ...');
  const { TextToVideoPipeline } = await import('../pipeline.ts');
  const { calibrate } = await import('../calibration/calibrate.ts');
  const pipe = await TextToVideoPipeline.fromPretrained(args.model, { device: args.device });
  try {
    const prompts = givenPrompts(pipe, args.prompt, args.prompts ?? PROMPTS);
    const seeds = Array.from({ length: args.seeds }, (_, seed) => seed + 1);
    const settings = { ...size, ...(numFrames && { numFrames }), ...(steps && { numInferenceSteps: steps }) };
    const runs = prompts.length * seeds.length;
    lines.note(`${runs} ${runs === 1 ? 'run' : 'runs'}: about ${formatDuration(runs * pipe.estimate(settings).seconds)}.`);
    const onStep = progressOn(lines.show);
    const found = await calibrate(pipe, { prompts, seeds, settings, onStep, signal });
    const text = `${JSON.stringify(found)}\n`;
    await writeWhole(output, text);
    lines.note(told(found, output));
    if (json) terminal.out(text);
  } finally {
    lines.clear();
    await pipe.dispose();
  }
}

/** @throws Error for a place that takes no file, and for a file there that is something else. */
async function checkReplaced(output: string): Promise<void> {
  await checkPlace(output);
  if (!existsSync(output)) return;
  await readCalibration(output).catch(() => {
    throw new Error(`The file "${output}" is no calibration, so it is not replaced; give another --output.`);
  });
}

function progressOn(show: (text: string) => void): NonNullable<CalibrateOptions['onStep']> {
  const start = performance.now();
  return ({ run, runs, step, steps }) => {
    const done = run * steps + step + 1;
    const left = ((performance.now() - start) / 1000 / done) * (runs * steps - done);
    show(`run ${run + 1}/${runs}, step ${step + 1}/${steps}  ${formatDuration(left)} left`);
  };
}

const told = ({ shape, recorded }: Calibration, file: string): string =>
  `${file}: ${shape.layers} layers of ${shape.heads} heads on ${shape.frames} x ${shape.height} x ${shape.width} tokens, from ${recorded.calls} calls. Use it with --method slidingTile --calibration ${file}.`;
