// The words of `zoetrope "<prompt>"`.
import { type Command, Option } from 'commander';
import { AUTO, checkMethod, type MethodArguments, methodOptions } from './method.ts';
import { count, DTYPES, numberIn, parseInterval, parseSize, TINY } from './values.ts';

const RUNTIMES = ['auto', 'onnxruntime-node', 'onnxruntime-web', 'onnxruntime-webgpu'] as const;
const DEVICES = ['cpu', 'webgpu', 'auto'] as const;

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

export interface GenerateArguments extends MethodArguments {
  readonly command: 'generate';
  readonly prompt: string;
  readonly sampling: SamplingArguments;
  readonly model?: string;
  readonly vae?: string;
  readonly device: (typeof DEVICES)[number];
  readonly dtype?: (typeof DTYPES)[number];
  readonly runtime: (typeof RUNTIMES)[number];
  readonly output?: string;
  readonly preview?: string;
  /** PSNR in dB that `--method auto` must keep. */
  readonly quality?: number;
  /** Threshold of a step cache. */
  readonly cache?: number;
  readonly json: boolean;
  readonly yes: boolean;
}

/** Adds the prompt and its flags to a command. */
export function generateOptions(program: Command): Command {
  program
    .argument('[prompt...]', 'what the video shows')
    .option(
      '-o, --output <file>',
      'where to write it; a file there is replaced (default: named after the prompt, as rocket-flying-up.mp4, never over another file)',
    )
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .option('--vae <file>', 'another VAE decoder for that model')
    .addOption(
      new Option('--device <name>', 'where the video is denoised; auto takes a GPU if there is one').choices(DEVICES).default('cpu'),
    )
    .addOption(new Option('--dtype <type>', 'how numbers are stored there (default: f16 on a GPU that has it, else f32)').choices(DTYPES));
  methodOptions(program, { auto: true })
    .option(
      '--quality <dB>',
      'with --method auto: PSNR that a short sparse run must have against a dense one (default: 30)',
      numberIn('quality', 'a number of dB above 0, up to 100', TINY, 100),
    )
    .option('--calibration <file>', 'tables that "zoetrope calibrate" wrote, for methods that choose by layer and head beforehand')
    .option(
      '--cache <threshold>',
      'skip steps where the model is expected to change less than this, as 0.05 (EasyCache)',
      numberIn('cache', 'a number above 0, up to 10', TINY, 10),
    );
  return runOptions(program);
}

function runOptions(program: Command): Command {
  return program
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
    .addOption(
      new Option('--runtime <name>', 'which ONNX Runtime runs the rest; onnxruntime-webgpu needs --device webgpu')
        .choices(RUNTIMES)
        .default('auto'),
    )
    .option('--json', 'print one JSON object about the run on stdout', false)
    .option('-y, --yes', 'start even if it takes more than an hour', false);
}

/** The flags as commander hands them over. */
type ParsedOptions = Omit<GenerateArguments, 'command' | 'prompt' | 'sampling'> &
  SamplingArguments & { readonly size?: { width: number; height: number }; readonly steps?: number };

/** @throws TypeError for flags that do not go together, and for no prompt. */
export function generateArguments(words: readonly string[], options: ParsedOptions): GenerateArguments {
  const { output, model, vae, device, dtype, runtime, method, sparsity, queryTokens, calibration, quality, cache, ...others } = options;
  const { preview, json, yes, size, width, height, steps, ...sampling } = others;
  const prompt = words.join(' ').trim();
  if (prompt === '')
    throw new TypeError('The prompt is missing; say what the video shows, as zoetrope "a rocket flying up over a night sky".');
  if (size !== undefined && (width !== undefined || height !== undefined))
    throw new TypeError('Give either --size or --width and --height, not both.');
  if (device === 'cpu' && dtype === 'f16') throw new TypeError('--dtype f16 needs --device webgpu; the CPU computes in f32.');
  if (quality !== undefined && method !== AUTO) throw new TypeError(`--quality ${quality} needs --method auto, which chooses by it.`);
  if (method === AUTO && sparsity !== undefined)
    throw new TypeError(`--method auto chooses the sparsity; leave out --sparsity ${sparsity}.`);
  if (method === AUTO && queryTokens !== undefined)
    throw new TypeError(`--method auto takes methods as they are; leave out --query-tokens ${queryTokens}.`);
  if (method === AUTO && calibration !== undefined)
    throw new TypeError(`--method auto takes no calibration; leave out --calibration ${calibration}.`);
  if (method !== AUTO) checkMethod({ method, sparsity, queryTokens, calibration });
  const given = Object.entries({ ...sampling, ...(size ?? { width, height }), numInferenceSteps: steps }).filter(
    ([, value]) => value !== undefined,
  );
  return {
    ...{ command: 'generate', prompt, sampling: Object.fromEntries(given), model, vae, device, dtype, runtime },
    ...{ method, sparsity, output, preview, json, yes, ...(cache !== undefined && { cache }) },
    ...(quality !== undefined && { quality }),
    ...(queryTokens !== undefined && { queryTokens }),
    ...(calibration !== undefined && { calibration }),
  };
}
