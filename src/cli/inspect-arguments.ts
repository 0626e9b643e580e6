// The words of `zoetrope inspect`.
import { type Command, Option } from 'commander';
import type { InspectOnnxArguments } from './inspect-onnx.ts';
import { checkMethod, type MethodArguments, methodOptions } from './method.ts';
import { count, DTYPES, numberIn, parseSize } from './values.ts';

export interface InspectArguments extends MethodArguments {
  readonly command: 'inspect';
  readonly method: string;
  readonly prompt: string;
  readonly size?: { readonly width: number; readonly height: number };
  readonly numFrames?: number;
  readonly numInferenceSteps?: number;
  readonly seed: number;
  readonly layers?: readonly number[] | 'all';
  readonly atSteps?: readonly number[] | 'all';
  readonly queryBlock?: number;
  readonly model?: string;
  readonly device: 'cpu' | 'webgpu' | 'auto';
  readonly dtype?: (typeof DTYPES)[number];
  readonly output?: string;
  readonly json: boolean;
}

/** Adds `inspect`; `done` is given what was asked for: a run of a prompt, or the listing of an ONNX file. */
export function inspectCommand(program: Command, done: (args: InspectArguments | InspectOnnxArguments) => void): void {
  const command = program
    .command('inspect')
    .description(
      "look at a method's plans in a run: density, recall, block maps, and what a query block reads; or list the attention of an ONNX model",
    )
    .argument('[prompt...]', 'what the video shows, or a file ending in .onnx')
    .option('-o, --output <folder>', 'write pictures and inspection.json there')
    .option('--layers <list>', 'layers to look at, as 0,3,7, or all (default: the first, the middle and the last)', parseList('layers'))
    .option('--at-steps <list>', 'steps to look at, counted from 0, or all (default: the last)', parseList('at-steps'))
    .option('--query-block <n>', 'whose neighbourhood is drawn (default: in the middle of the video)', whole('query-block'))
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .addOption(new Option('--device <name>', 'where the video is denoised').choices(['cpu', 'webgpu', 'auto']).default('cpu'))
    .addOption(new Option('--dtype <type>', 'how numbers are stored there').choices(DTYPES))
    .option('--size <WxH>', 'width x height in pixels', parseSize)
    .option('--num-frames <n>', 'number of frames', count('num-frames', 'frames', 10000))
    .option('--num-inference-steps, --steps <n>', 'denoising steps', count('steps', 'steps', 1000))
    .option('-s, --seed <n>', 'a whole number', whole('seed'), 7);
  methodOptions(command, { method: 'adaspa' })
    .option('--json', 'print the figures as one JSON object on stdout', false)
    .action((words: string[], options) => done(inspectArguments(words, options, optionsSet(command))));
}

type ParsedOptions = Omit<InspectArguments, 'command' | 'prompt' | 'numInferenceSteps'> & { readonly steps?: number };

/** @throws TypeError for no prompt, and for flags that do not go together. */
function inspectArguments(
  words: readonly string[],
  { steps, ...options }: ParsedOptions,
  set: readonly string[],
): InspectArguments | InspectOnnxArguments {
  const prompt = words.join(' ').trim();
  if (isOnnx(prompt)) return listingArguments(words, set, options.json);
  if (prompt === '')
    throw new TypeError('The prompt is missing; say what the video shows, as zoetrope inspect "a rocket flying up over a night sky".');
  if (/^\S+\.[a-z]\w{1,8}$/i.test(prompt))
    throw new TypeError(`"${prompt}" looks like a file; inspect takes a prompt, or a file whose name ends in .onnx.`);
  if (options.device === 'cpu' && options.dtype === 'f16')
    throw new TypeError('--dtype f16 needs --device webgpu; the CPU computes in f32.');
  checkMethod(options);
  if (options.queryBlock !== undefined && options.output === undefined)
    throw new TypeError(`--query-block ${options.queryBlock} chooses what is drawn; give --output too, or leave it out.`);
  return { command: 'inspect', prompt, ...options, ...(steps !== undefined && { numInferenceSteps: steps }) };
}

const isOnnx = (text: string): boolean => /\.onnx$/i.test(text);

/** Names of the options that were given. */
const optionsSet = (command: Command): readonly string[] =>
  command.options.filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli').map(({ long }) => long!);

/** @throws TypeError for more than one file, and for options of a run. */
function listingArguments(words: readonly string[], set: readonly string[], json: boolean): InspectOnnxArguments {
  if (words.length > 1) throw new TypeError(`inspect lists one ONNX file, not "${words.join('", "')}"; give the files one by one.`);
  const strange = set.filter((name) => name !== '--json');
  if (strange.length > 0)
    throw new TypeError(
      `${strange.join(', ')} ${strange.length === 1 ? 'is' : 'are'} for a prompt, not for an ONNX file; leave ${strange.length === 1 ? 'it' : 'them'} out.`,
    );
  return { command: 'inspect onnx', path: words[0], json };
}

const whole = (name: string): ((text: string) => number) => numberIn(name, 'a whole number from 0 to 4294967295', 0, 0xffffffff, true);

/** A reader of `0,3,7` or `all`. */
function parseList(name: string): (text: string) => readonly number[] | 'all' {
  const number = numberIn(name, 'whole numbers from 0 with commas between them, as 0,3,7, or all', 0, 100_000, true);
  return (text) => (text.trim() === 'all' ? 'all' : text.split(',').map(number));
}
