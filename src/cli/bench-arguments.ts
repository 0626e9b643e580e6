// The words of `zoetrope bench`.
import { type Command, Option } from 'commander';
import {
  type BenchAttentionArguments,
  type BenchMethodsArguments,
  benchAttentionCommand,
  benchMethodsCommand,
  type ResultArguments,
  resultOptions,
} from './bench-attention-arguments.ts';
import { type BenchVideoArguments, benchVideoCommand } from './bench-video-arguments.ts';
import { checkMethod, methodOptions, takesSparsity } from './method.ts';
import { count, DTYPES, parseSize } from './values.ts';

/** What every bench of a transformer is told. */
interface SubjectArguments extends ResultArguments {
  readonly model?: string;
  readonly size?: { readonly width: number; readonly height: number };
  readonly numFrames?: number;
  readonly layers?: number;
  readonly dtype?: (typeof DTYPES)[number];
  readonly method: string;
  readonly sparsity?: number;
  readonly queryTokens?: number;
  /** false: the GPU's work is not checked. */
  readonly checks: boolean;
}

export interface BenchStepArguments extends SubjectArguments {
  readonly command: 'bench step';
  readonly runs: number;
  readonly profile: boolean;
}

export interface BenchRunArguments extends SubjectArguments {
  readonly command: 'bench run';
  readonly steps: number;
  readonly branches: number;
  readonly batched: boolean;
  /** false: only the method is measured. */
  readonly dense: boolean;
}

/** Of methods that have one, when none is given. */
const SPARSITY = 0.8;

export type BenchArguments = BenchStepArguments | BenchRunArguments | BenchAttentionArguments | BenchMethodsArguments;

/** Adds `bench` and its commands; `done` is given what was asked for. */
export function benchCommand(program: Command, done: (args: BenchArguments | BenchVideoArguments) => void): void {
  const bench = program.command('bench').description('measure this machine');
  const accept =
    <Args extends BenchStepArguments | BenchRunArguments>(command: Args['command']) =>
    (options: Omit<Args, 'command'>): void => {
      checkMethod(options);
      const sparsity = options.sparsity ?? (takesSparsity(options.method) ? SPARSITY : undefined);
      done({ command, ...options, sparsity } as Args);
    };
  benchAttentionCommand(bench, done);
  subjectOptions(bench.command('step').description('one denoising step of a transformer on the GPU, by phase and by kind of work'))
    .option('--runs <n>', 'timed runs of a phase', count('runs', 'runs', 1000), 5)
    .option('--profile', 'show every kernel', false)
    .action(accept<BenchStepArguments>('bench step'));
  subjectOptions(bench.command('run').description('a whole denoising run of a transformer on the GPU, dense and with a method'))
    .option('--num-inference-steps, --steps <n>', 'denoising steps', count('steps', 'steps', 1000), 50)
    .option('--branches <n>', 'forwards of a step: 2 is with guidance', count('branches', 'branches', 2), 2)
    .option('--batched', 'both branches in one forward', false)
    .option('--no-dense', 'measure the method alone')
    .action(accept<BenchRunArguments>('bench run'));
  benchMethodsCommand(bench, done);
  benchVideoCommand(bench, done);
}

function subjectOptions(command: Command): Command {
  const options = command
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the shape of Wan 2.1 1.3B with random weights)')
    .option('--size <WxH>', 'width x height in pixels (default: 832x480)', parseSize)
    .option('--num-frames <n>', 'number of frames (default: 81)', count('num-frames', 'frames', 10000))
    .option('--layers <n>', 'only the first so many layers', count('layers', 'layers', 1000))
    .addOption(new Option('--dtype <type>', 'how numbers are stored (default: f16 where the GPU has it, else f32)').choices(DTYPES));
  return resultOptions(
    methodOptions(options, { method: 'adaspa', sparsity: SPARSITY }).option(
      '--no-checks',
      'without validation and bounds checks on the GPU',
    ),
  );
}
