// `zoetrope bench`: measures what its result file does not have yet, writes it case by case, and prints a table or JSON on stdout.
import { type ResultLog, resultLog } from '../bench/log.ts';
import { type Case, compareResults, type ReadResult, readResults } from '../bench/results.ts';
import type { SubjectOptions } from '../bench/subject.ts';
import { checkPlace } from '../video/place.ts';
import type { BenchArguments, BenchRunArguments, BenchStepArguments } from './bench-arguments.ts';
import { formatCompared, formatRunBench, formatStepBench } from './bench-tables.ts';
import { onScreen } from './layout.ts';
import { labelOf, methodOf } from './method.ts';
import { type Lines, linesOn, type Terminal } from './terminal.ts';

// Options that ids tell apart, or that choose how much is measured: the results of one file may differ in them.
const CHOOSING = [
  ...[
    'filter',
    'method',
    'methods',
    'sparsity',
    'queryTokens',
    'size',
    'numFrames',
    'layers',
    'dtype',
    'profile',
    'dense',
    'steps',
    'branches',
    'batched',
  ],
  ...['device', 'runtime', 'shapes', 'readings', 'variants'],
];
// What a mean was taken over is not in the ids of methods.
const CHOOSING_METHODS = ['filter', 'methods', 'queryTokens', 'size', 'numFrames', 'steps', 'device'];

/**
 * Runs one bench. An abort after the first case with `out` ends it there: what was measured is in the file. Throws an Error with one sentence for
 * the user (no GPU, a size that the model cannot make, a file that cannot be written), or the signal's reason when it is aborted before that.
 */
export async function bench(args: BenchArguments, version: string, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const { command, json, out, compare, ...options } = args;
  if (out !== undefined) await checkPlace(out);
  const before = compare === undefined ? undefined : await earlier(compare, command.replace('bench ', ''));
  const choosing = command === 'bench methods' ? CHOOSING_METHODS : CHOOSING;
  const log = resultLog({
    ...{ bench: command.replace('bench ', ''), version, options: plain(options), choosing, out, filter: args.filter },
  });
  const lines = linesOn(terminal);
  try {
    const format = await measured(args, log, lines, signal);
    const cases = log.result.cases.filter(({ id }) => log.asked.has(id));
    if (cases.length === 0) throw new RangeError(`no case has all words of the filter "${args.filter}"; give fewer`);
    lines.clear();
    // First what was measured: there may be nothing to compare it with.
    if (!json) terminal.out(args.command === 'bench methods' ? onScreen(format(cases), terminal.outColumns) : format(cases));
    const compared = before && { file: before.file, ...compareResults(before, { ...log.result, cases }) };
    if (json) terminal.out(`${JSON.stringify({ ...log.result, ...(compared && { compared }) }, null, 1)}\n`);
    else if (compared) terminal.out(`\n${formatCompared(compared)}`);
    if (signal.aborted) lines.note(`Stopped before all was measured: the same command goes on with "${out}".`);
    if (cases.some(({ failed }) => failed !== undefined)) lines.note('Some cases failed, with their reasons in the result.');
  } finally {
    lines.clear();
  }
}

/** @throws Error for a file that is no result of this bench. */
export async function earlier(file: string, bench: string, taking = '--compare takes'): Promise<ReadResult> {
  const [found] = await readResults([file]);
  if (found.bench !== bench) throw new Error(`"${file}" is a result of "bench ${found.bench}"; ${taking} one of "bench ${bench}".`);
  return found;
}

type Format = (cases: readonly Case[]) => string;

/** Measures, and gives back how the cases look as text. */
async function measured(args: BenchArguments, log: ResultLog, lines: Lines, signal: AbortSignal): Promise<Format> {
  lines.show(args.command === 'bench attention' ? 'Opening the device ...' : 'Loading the model ...');
  const format = await formatOf(args);
  try {
    if (args.command === 'bench step') await step(args, log, lines, signal);
    else if (args.command === 'bench run') await run(args, log, lines, signal);
    else if (args.command === 'bench methods') await (await import('./bench-methods.ts')).methods(args, log, lines, signal);
    else await (await import('./bench-attention.ts')).attention(args, log, lines, signal);
  } catch (error) {
    const isKept = args.out !== undefined && log.result.cases.length > 0;
    if (!signal.aborted || !isKept) throw error;
  }
  return format;
}

async function formatOf(args: BenchArguments): Promise<Format> {
  const format =
    args.command === 'bench step'
      ? (cases: Parameters<typeof formatStepBench>[0]) => formatStepBench(cases, args)
      : args.command === 'bench run'
        ? formatRunBench
        : args.command === 'bench methods'
          ? (await import('./bench-methods.ts')).formatMethods
          : (await import('./bench-attention.ts')).formatAttention;
  return format as Format;
}

async function step(args: BenchStepArguments, log: ResultLog, lines: Lines, signal: AbortSignal): Promise<void> {
  const { benchStep } = await import('../bench/step.ts');
  await benchStep({
    ...(await subjectOf(args)),
    ...{ runs: args.runs, log, signal },
    onPhase: ({ name }) => lines.show(`Measuring ${name} ...`),
  });
}

async function run(args: BenchRunArguments, log: ResultLog, lines: Lines, signal: AbortSignal): Promise<void> {
  const { benchRun } = await import('../bench/run.ts');
  const { steps, branches, batched, dense } = args;
  await benchRun({
    ...(await subjectOf(args)),
    ...{ steps, branches, batched, dense, log, signal },
    onStep: ({ run, step, steps, seconds }) => lines.show(`${run}, step ${step}/${steps}  ${Math.round(1000 * seconds)} ms`),
  });
}

async function subjectOf(args: BenchStepArguments | BenchRunArguments) {
  const { model, size, numFrames, layers, dtype, checks } = args;
  const method = await methodOf(args);
  const subject: SubjectOptions = { model, ...size, numFrames, layers, dtype, checked: checks };
  return { ...subject, method, label: labelOf(method.name, args) };
}

/** Options as a file keeps them: shapes, plans and methods by their names. */
function plain(options: object): Record<string, unknown> {
  const named = (value: { readonly label?: string; readonly name?: string }) => value.label ?? value.name ?? value;
  return Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, Array.isArray(value) ? value.map(named) : value]),
  );
}
