// `zoetrope calibrate`: records a few runs with full attention and writes what they say about each layer and head.
import { rename, writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Calibration } from '../calibration/calibration.ts';
import { linesOn, type Terminal } from './terminal.ts';
import { count, parseSize } from './values.ts';

export interface CalibrateArguments {
  readonly command: 'calibrate';
  readonly output: string;
  readonly model?: string;
  readonly device: 'cpu' | 'webgpu';
  readonly size?: { readonly width: number; readonly height: number };
  readonly numFrames?: number;
  readonly steps?: number;
  readonly prompt?: readonly string[];
  readonly prompts: number;
  readonly seeds: number;
  readonly json: boolean;
}

/** Adds the command; `done` is given what was asked for. */
export function calibrateCommand(program: Command, done: (args: CalibrateArguments) => void): void {
  program
    .command('calibrate')
    .description('record a model with full attention, for methods that choose by layer and head beforehand (--calibration)')
    .option('-o, --output <file>', 'where to write the tables', 'calibration.json')
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .option('--device <name>', 'cpu or webgpu', 'cpu')
    .option('--size <WxH>', 'width x height in pixels, as 832x480: tables are for one size', parseSize)
    .option('--video-frames, --num-frames <n>', 'number of frames', count('num-frames', 'frames', 10000))
    .option('--num-inference-steps, --steps <n>', 'denoising steps', count('steps', 'steps', 1000))
    .option('--prompt <text...>', 'what to record; left out, prompts that the model knows')
    .option('--prompts <n>', 'how many of those', count('prompts', 'prompts', 1000), 2)
    .option('--seeds <n>', 'runs of each prompt', count('seeds', 'seeds', 1000), 1)
    .option('--json', 'print the tables on stdout too', false)
    .action((options) => done({ command: 'calibrate', ...options }));
}

/** Runs it. Throws an Error, TypeError or RangeError with one sentence for the user, or the signal's reason when it is aborted. */
export async function calibrateModel(args: CalibrateArguments, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const lines = linesOn(terminal);
  const { TextToVideoPipeline } = await import('../pipeline.ts');
  const { calibrate } = await import('../calibration/calibrate.ts');
  const pipe = await TextToVideoPipeline.fromPretrained(args.model, { device: args.device });
  try {
    const { size, numFrames, steps: numInferenceSteps, output, json } = args;
    const known = pipe.vocabulary?.prompts ?? [];
    const prompts = args.prompt ?? known.slice(0, args.prompts);
    if (!args.prompt && known.length < args.prompts)
      throw new RangeError(`the model names ${known.length} prompts, not ${args.prompts}; give each with --prompt`);
    const found = await calibrate(pipe, {
      prompts,
      seeds: Array.from({ length: args.seeds }, (_, seed) => seed + 1),
      settings: { ...size, ...(numFrames && { numFrames }), ...(numInferenceSteps && { numInferenceSteps }) },
      onStep: ({ run, runs, step, steps }) => lines.show(`run ${run + 1}/${runs}, step ${step + 1}/${steps}`),
      signal,
    });
    const text = `${JSON.stringify(found)}\n`;
    await writeFile(`${output}.part`, text);
    await rename(`${output}.part`, output);
    lines.note(told(found, output));
    if (json) terminal.out(text);
  } finally {
    lines.clear();
    await pipe.dispose();
  }
}

const told = ({ shape, recorded }: Calibration, file: string): string =>
  `${file}: ${shape.layers} layers of ${shape.heads} heads on ${shape.frames} x ${shape.height} x ${shape.width} tokens, from ${recorded.calls} calls. Use it with --method slidingTile --calibration ${file}.`;
