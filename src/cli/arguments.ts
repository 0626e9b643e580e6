// What a command line asks for, as data. Nothing is loaded or touched here: `parseArguments` only reads words and checks numbers.
import { Command, CommanderError, Option } from 'commander';

const METHODS = ['dense', 'adaspa', 'psa'] as const;
const RUNTIMES = ['auto', 'onnxruntime-node', 'onnxruntime-web'] as const;

/** What to sample; an absent field leaves the model's own default. Sizes in pixels, `fps` in frames per second. */
export interface SamplingArguments {
  readonly negativePrompt?: string;
  readonly width?: number;
  readonly height?: number;
  readonly numFrames?: number;
  readonly numInferenceSteps?: number;
  readonly guidanceScale?: number;
  readonly guidanceInterval?: readonly [number, number];
  readonly flowShift?: number;
  readonly seed?: number;
  readonly fps?: number;
}

export interface GenerateArguments {
  readonly command: 'generate';
  readonly prompt: string;
  readonly sampling: SamplingArguments;
  readonly model?: string;
  readonly vae?: string;
  readonly runtime: (typeof RUNTIMES)[number];
  readonly method?: (typeof METHODS)[number];
  readonly sparsity?: number;
  readonly output?: string;
  readonly preview?: string;
  readonly json: boolean;
  readonly yes: boolean;
}

export interface VocabularyArguments {
  readonly command: 'vocab';
  readonly model?: string;
  readonly json: boolean;
}

export interface DoctorArguments {
  readonly command: 'doctor';
  readonly json: boolean;
}

/** `text` is for stdout: the help, or the version. */
export interface HelpArguments {
  readonly command: 'help';
  readonly text: string;
}

export type Arguments = GenerateArguments | VocabularyArguments | DoctorArguments | HelpArguments;

/** `832x480`, `832*480` or `832X480` as width and height in pixels. Throws a RangeError that names the value. */
export function parseSize(text: string): { width: number; height: number } {
  const match = /^(\d+)[xX*×](\d+)$/.exec(text.trim());
  const [width, height] = [Number(match?.[1]), Number(match?.[2])];
  if (!(width > 0 && height > 0)) throw new RangeError(`size is "${text}"; give width x height in pixels, as 832x480.`);
  return { width, height };
}

/** `0,0.6` or `0:0.6`: the share of the steps, from and to, that guidance is used on. Throws a RangeError that names the value. */
export function parseInterval(text: string): [number, number] {
  const parts = text.split(/[,:]/).map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const [from, to] = parts;
  if (parts.length !== 2 || !(from >= 0 && from < to && to <= 1)) {
    throw new RangeError(`guidance-interval is "${text}"; give two shares of the steps, from and to, within 0 and 1, as 0,0.6.`);
  }
  return [from, to];
}

/** A reader of numbers from `min` to `max`, for a flag's value; its RangeError names the flag, the value and `wanted`. */
function numberIn(name: string, wanted: string, min: number, max: number, whole = false): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(value >= min && value <= max) || (whole && !Number.isInteger(value)))
      throw new RangeError(`${name} is "${text}"; give ${wanted}.`);
    return value;
  };
}

const count = (name: string, unit: string, max: number) => numberIn(name, `a whole number of ${unit} from 1 to ${max}`, 1, max, true);
const TINY = 1e-6;

const EXAMPLES = `
Examples:
  zoetrope "a rocket flying up over a night sky"
  zoetrope "a red car driving to the left on a city street" -o car.webm --seed 7
  zoetrope "a blue fish swimming underwater" --size 320x320 --num-frames 49 --method adaspa --sparsity 0.8
  zoetrope "a panda playing a guitar" --model ./Wan2.1-T2V-1.3B-Diffusers --size 832x480 --steps 30 --yes
  zoetrope vocab
  zoetrope doctor

Files: .mp4 and .webm (need an ffmpeg), .gif and .webp (animated), name-%05d.png or a folder that ends in "/" (a picture a frame).`;

function generateOptions(program: Command): Command {
  return program
    .argument('[prompt...]', 'what the video shows')
    .option('-o, --output <file>', 'where to write it (default: named after the prompt, as rocket-flying-up.mp4; never over another file)')
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .option('--vae <file>', 'another VAE decoder for that model')
    .addOption(new Option('--method <name>', 'how attention is computed').choices(METHODS))
    .option(
      '--sparsity <share>',
      'share of attention left out by adaspa or psa',
      numberIn('sparsity', 'a share from 0 to below 1', 0, 1 - TINY),
    )
    .option('--size <WxH>', 'width x height in pixels, as 832x480', parseSize)
    .option('-W, --width <pixels>', 'width alone', count('width', 'pixels', 16384))
    .option('-H, --height <pixels>', 'height alone', count('height', 'pixels', 16384))
    .option('--video-frames, --num-frames <n>', 'number of frames', count('num-frames', 'frames', 10000))
    .option('--fps <n>', 'frames per second', numberIn('fps', 'frames per second above 0, up to 1000', TINY, 1000))
    .option('--num-inference-steps, --steps <n>', 'denoising steps', count('steps', 'steps', 1000))
    .option(
      '--cfg-scale, --guidance-scale <n>',
      'how strongly to follow the prompt; 1 is no guidance',
      numberIn('guidance-scale', 'a number from 0 to 100', 0, 100),
    )
    .option('--guidance-interval <from,to>', 'share of the steps that guidance is used on, as 0,0.6', parseInterval)
    .option('--flow-shift <n>', "the noise schedule's shift", numberIn('flow-shift', 'a number above 0, up to 100', TINY, 100))
    .option(
      '-s, --seed <n>',
      'a whole number; the same seed gives the same video',
      numberIn('seed', 'a whole number from 0 to 4294967295', 0, 0xffffffff, true),
    )
    .option('-n, --negative-prompt <text>', 'what the video should not show')
    .option('--preview <file>', 'a still (.png, .jpg, .webp) renewed after every step')
    .addOption(new Option('--runtime <name>', 'what the model runs on').choices(RUNTIMES).default('auto'))
    .option('--json', 'print one JSON object about the run on stdout', false)
    .option('-y, --yes', 'start even if it takes more than an hour', false);
}

/**
 * Reads a command line without the program's own name. `version` is what `--version` shows. Throws a TypeError or RangeError whose message is one
 * sentence for the user.
 */
export function parseArguments(words: readonly string[], version: string): Arguments {
  let parsed: Arguments | undefined;
  let text = '';
  const program = new Command('zoetrope')
    .description('Text to video on a CPU, with sparse attention.')
    .version(version)
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({ helpWidth: 120 })
    .configureOutput({ writeOut: (part) => (text += part), writeErr: () => {} });
  generateOptions(program)
    .usage('[options] "<prompt>"')
    .addHelpText('after', EXAMPLES)
    .action((prompt: string[], options) => {
      parsed = generateArguments(prompt, options);
    });
  program
    .command('vocab')
    .description('list what the model that comes along was trained on')
    .option('--model <folder>', 'another model')
    .option('--json', 'as one JSON object', false)
    .action((options) => {
      parsed = { command: 'vocab', model: options.model, json: options.json };
    });
  program
    .command('doctor')
    .description('look at this machine and test its GPU')
    .option('--json', 'as one JSON object', false)
    .action(({ json }) => {
      parsed = { command: 'doctor', json };
    });
  try {
    const [first, ...rest] = words; // `zoetrope generate "..."` is `zoetrope "..."`
    program.parse(words.length === 0 ? ['--help'] : first === 'generate' && rest.length > 0 ? rest : words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { command: 'help', text };
    throw new TypeError(sentence(error.message));
  }
  return parsed!;
}

/** "error: unknown option '--stesp'\n(Did you mean --steps?)" as a sentence. */
function sentence(message: string): string {
  const plain = message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
  return `${plain.charAt(0).toUpperCase()}${plain.slice(1)}; see zoetrope --help.`;
}

/** The flags as commander hands them over. */
type ParsedOptions = Omit<GenerateArguments, 'command' | 'prompt' | 'sampling'> &
  SamplingArguments & { readonly size?: { width: number; height: number }; readonly steps?: number };

function generateArguments(words: readonly string[], options: ParsedOptions): GenerateArguments {
  const { output, model, vae, runtime, method, sparsity, preview, json, yes, size, width, height, steps, ...sampling } = options;
  const prompt = words.join(' ').trim();
  if (prompt === '')
    throw new TypeError('The prompt is missing; say what the video shows, as zoetrope "a rocket flying up over a night sky".');
  if (size !== undefined && (width !== undefined || height !== undefined))
    throw new TypeError('Give either --size or --width and --height, not both.');
  if (sparsity !== undefined && method !== 'adaspa' && method !== 'psa') {
    throw new TypeError(`--sparsity ${sparsity} needs --method adaspa or --method psa${method === undefined ? '' : `, not ${method}`}.`);
  }
  const given = Object.entries({ ...sampling, ...(size ?? { width, height }), numInferenceSteps: steps }).filter(
    ([, value]) => value !== undefined,
  );
  return {
    command: 'generate',
    prompt,
    sampling: Object.fromEntries(given),
    model,
    vae,
    runtime,
    method,
    sparsity,
    output,
    preview,
    json,
    yes,
  };
}
