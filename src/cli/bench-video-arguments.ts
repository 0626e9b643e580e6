// The words of `zoetrope bench video`.
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { catalogue, methodNamed } from '../methods/catalogue.ts';
import { takesSparsity } from './method.ts';
import { anotherPrompt, count, DTYPES, listOf, numberIn, parseSize, TINY } from './values.ts';

export interface BenchVideoArguments {
  readonly command: 'bench video';
  readonly model?: string;
  readonly device: 'cpu' | 'webgpu' | 'auto';
  readonly dtype?: (typeof DTYPES)[number];
  readonly size?: { readonly width: number; readonly height: number };
  readonly numFrames?: number;
  readonly steps?: number;
  /** Given ones, or how many of the model's own, or of captions that are drawn. */
  readonly prompt?: readonly string[];
  readonly prompts: number;
  readonly captions?: 'seen' | 'held-out';
  readonly seeds: number;
  /** Names of the catalogue and files, as they were typed. */
  readonly methods: readonly string[];
  readonly sparsities: readonly number[];
  /** Thresholds of the step cache; 0 is without one. */
  readonly cache: readonly number[];
  readonly floor: boolean;
  /** Frames to keep of each prompt, and prompts whose plans are looked at. */
  readonly frames: number;
  readonly recall: number;
  readonly brief: boolean;
  readonly filter?: string;
  readonly minutes?: number;
  readonly compare?: string;
  readonly out?: string;
  /** Where the result is written without its cases. */
  readonly summary?: string;
  readonly json: boolean;
}

/** What `--quick` sets where nothing else was said: under a minute on two cores, at the smallest size whose videos show what was asked for. */
const QUICK = {
  ...{ size: { width: 256, height: 256 }, numFrames: 17, steps: 6, prompts: 1, seeds: 1 },
  ...{ methods: ['adaSpa', 'pyramidSparse'], sparsities: [0.8], cache: [0, 0.6] },
} as const;
/** What holds where nothing was said. */
const USUAL = { prompts: 1, seeds: 1, methods: namesOf('all'), sparsities: [0.8], cache: [0] } as const;

type Parsed = Omit<BenchVideoArguments, 'command'> & { readonly quick: boolean };

/** Adds `video` to the benches; `done` is given what was asked for. */
export function benchVideoCommand(bench: Command, done: (args: BenchVideoArguments) => void): void {
  const video = bench
    .command('video')
    .description('videos of each contender beside those of dense attention: speed, and what it costs in quality');
  whatToMake(video);
  contenders(video)
    .option('--frames <n>', 'keep so many small frames of each prompt in the result', count('frames', 'frames', 100), 0)
    .option(
      '--recall [prompts]',
      'look at the plans of so many prompts, apart from the timing: densities and recall',
      count('recall', 'prompts', 100_000),
    )
    .option('--brief', 'leave out what each step did, for a small file', false)
    .option('--quick', 'a small bench that takes under a minute on two cores', false)
    .option('--filter <text>', 'only cases whose id has all of these words')
    .option(
      '--minutes <n>',
      'stop after so many minutes; the same command with the same --out goes on',
      numberIn('minutes', 'minutes above 0', TINY, 1e6),
    )
    .option('--compare <file>', 'hold the times against those of an earlier result')
    .option('--out <file>', 'write the result as JSON; what is there is not measured again')
    .option('--summary <file>', 'write what the cases come to as JSON, without the cases: a small file for reports')
    .option('--json', 'print the result as JSON', false)
    .action((options: Parsed) => done(argumentsOf(options)));
}

function whatToMake(video: Command): Command {
  return video
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .addOption(new Option('--device <name>', 'where videos are denoised').choices(['cpu', 'webgpu', 'auto']).default('cpu'))
    .addOption(new Option('--dtype <type>', 'how numbers are stored there (default: f16 on a GPU that has it, else f32)').choices(DTYPES))
    .option('--size <WxH>', 'width x height in pixels', parseSize)
    .option('--num-frames <n>', 'number of frames', count('num-frames', 'frames', 10000))
    .option('--num-inference-steps, --steps <n>', 'denoising steps', count('steps', 'steps', 1000))
    .option('--prompt <text>', 'a prompt; may be given more than once', anotherPrompt)
    .option('--prompts <n>', "so many of the model's own prompts, or of --captions (default: 1)", count('prompts', 'prompts', 100_000))
    .addOption(
      new Option('--captions <split>', 'draw prompts that the small model was trained on, or whose combinations it never saw').choices([
        ...['seen', 'held-out'],
      ]),
    )
    .option('--seeds <n>', 'seeds for each prompt (default: 1)', count('seeds', 'seeds', 100_000));
}

function contenders(video: Command): Command {
  return video
    .option(
      '--methods <names>',
      'methods with commas between, "all" or "published" (default: all)',
      listOf((word) => word),
    )
    .option(
      '--sparsities <shares>',
      'of methods that take one, with commas between (default: 0.8)',
      listOf(numberIn('sparsities', 'shares from 0 to below 1, as 0.8,0.9', 0, 1 - TINY)),
    )
    .option(
      '--cache <thresholds>',
      'thresholds of the step cache, alone and with each method; 0 is without it (default: 0)',
      listOf(numberIn('cache', 'thresholds from 0 to 10, as 0,0.05', 0, 10)),
    )
    .option('--no-floor', 'leave out dense rows in the other dtype and with one step more');
}

/** @throws TypeError | RangeError for names that there are not and for options that do not go together. */
function argumentsOf({ quick, ...options }: Parsed): BenchVideoArguments {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Parsed;
  const { recall = 0, ...all } = { ...USUAL, ...(quick && QUICK), ...given };
  const { prompt, captions, prompts, device, dtype } = given;
  if (device === 'cpu' && dtype === 'f16') throw new TypeError('--dtype f16 needs --device webgpu; the CPU computes in f32.');
  if (prompt !== undefined && (prompts !== undefined || captions !== undefined))
    throw new TypeError('Give either --prompt, or --prompts with or without --captions, not both.');
  if (given.minutes !== undefined && given.out === undefined)
    throw new TypeError('--minutes needs --out: a later call goes on with that file.');
  if (given.summary !== undefined && given.out !== undefined && resolve(given.summary) === resolve(given.out))
    throw new TypeError(`--summary and --out are both "${given.out}"; give each a file of its own.`);
  const methods = all.methods.flatMap(namesOf);
  if (given.sparsities !== undefined && methods.every((name) => takesSparsity(name) === false))
    throw new TypeError(`--sparsities ${given.sparsities.join(',')} has no use: none of ${methods.join(', ')} takes one.`);
  // Without a value the flag alone is true.
  return { command: 'bench video', ...all, methods, recall: (recall as number | true) === true ? 1 : recall };
}

/** `all`, `published`, or one method by its own name; files stay as they are. */
function namesOf(word: string): string[] {
  const sparse = catalogue.filter(({ name }) => name !== 'dense');
  if (word === 'all') return sparse.map(({ name }) => name);
  if (word === 'published') return sparse.filter(({ mark }) => mark === 'published' || mark === 'own').map(({ name }) => name);
  if (takesSparsity(word) === undefined) return [word];
  const { name } = methodNamed(word);
  return name === 'dense' ? [] : [name];
}
