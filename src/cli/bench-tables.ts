// How the results of benches look on a terminal.
import { KINDS, type KindTime } from '../bench/kinds.ts';
import type { Contender, RunBench } from '../bench/run.ts';
import type { PhaseTimes, StepBench } from '../bench/step.ts';
import type { Setting } from '../bench/subject.ts';
import type { BenchRunArguments, BenchStepArguments } from './bench-arguments.ts';
import { formatBytes, formatDuration } from './progress.ts';

/** The phases with GPU milliseconds by kind of work; with `profile` each kernel below them. */
export function formatStepBench(result: StepBench, { profile, sparsity }: Pick<BenchStepArguments, 'profile' | 'sparsity'>): string {
  const { phases, loadingSeconds, loadedBytes, peakBytes } = result;
  const kinds = KINDS.filter((kind) => phases.some((phase) => phase.kinds?.some((one) => one.kind === kind)));
  const head = ['', 'density', 'ms', 'host ms', ...(kinds.length > 0 ? ['GPU ms', ...kinds] : [])];
  const rows = phases.map((phase) => [
    phase.name,
    phase.density.toFixed(2),
    shown(1000 * phase.seconds),
    shown(phase.hostMilliseconds),
    ...(phase.kinds ? [shown(phase.gpuMilliseconds!), ...kinds.map((kind) => ofKind(phase.kinds!, kind))] : []),
  ]);
  return text([
    ...settingLines(result, sparsity),
    '',
    ...columns([head, ...rows]),
    '',
    ...(kinds.length === 0 ? ['This GPU has no timestamps (feature timestamp-query), so kinds of work are not told apart.'] : []),
    ...(profile ? phases.flatMap(kernelLines) : []),
    `loaded in ${formatDuration(loadingSeconds)}, ${formatBytes(loadedBytes)} of GPU memory, at most ${formatBytes(peakBytes)}`,
  ]);
}

/** Seconds of whole runs, and how much faster the method's is. */
export function formatRunBench(result: RunBench, { sparsity }: Pick<BenchRunArguments, 'sparsity'>): string {
  const { contenders, steps, branches, batched, peakBytes, ratio } = result;
  const row = ({ method, seconds, meanDensity, finite }: Contender) => [
    method,
    seconds.toFixed(2),
    ((1000 * seconds) / steps).toFixed(0),
    meanDensity.toFixed(2),
    finite ? '' : 'NOT FINITE: its numbers mean nothing',
  ];
  return text([
    ...settingLines(result, sparsity),
    `${steps} ${steps === 1 ? 'step' : 'steps'}, ${branches === 1 ? 'one branch' : `two guidance branches${batched ? ' in one batch' : ''}`}, latents of the sampler`,
    '',
    ...columns([['', 'seconds', 'ms a step', 'density', ''], ...contenders.map(row)]),
    '',
    ...(ratio === undefined ? [] : [`${contenders[1].method} is ${ratio.toFixed(2)} times as fast as dense`]),
    `at most ${formatBytes(peakBytes)} of GPU memory`,
  ]);
}

function settingLines(setting: Setting & { readonly method: string }, sparsity: number | undefined): string[] {
  const { model, gpu, dtype, width, height, numFrames, layers, tokens, method, checked } = setting;
  return [
    `${gpu.device || gpu.description || gpu.vendor}${gpu.software ? ', in software' : ''}: ${model}, ${layers} ${layers === 1 ? 'layer' : 'layers'}`,
    `${width}x${height}, ${numFrames} frames, ${tokens.toLocaleString('en')} tokens, ${dtype}${checked ? '' : ', unchecked'}`,
    `${method}${sparsity === undefined ? '' : ` at sparsity ${sparsity}`}`,
  ];
}

function kernelLines({ name, kinds = [] }: PhaseTimes): string[] {
  if (kinds.length === 0) return [];
  const rows = kinds.flatMap(({ kind, milliseconds, launches, kernels }) => [
    [kind, shown(milliseconds), `${launches}`],
    ...kernels.map(({ kernel, ...own }) => [`  ${kernel}`, shown(own.milliseconds), `${own.launches}`]),
  ]);
  return [...columns([[name, 'GPU ms', 'launches'], ...rows]), ''];
}

const ofKind = (kinds: readonly KindTime[], wanted: KindTime['kind']): string => {
  const found = kinds.find(({ kind }) => kind === wanted);
  return found ? shown(found.milliseconds) : '-';
};

/** Milliseconds with three digits or more. */
const shown = (milliseconds: number): string => milliseconds.toFixed(milliseconds < 9.995 ? 2 : milliseconds < 99.95 ? 1 : 0);

/** Rows of cells, the first column flush left and the others right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
  const cell = (value: string, at: number): string => (at === 0 ? value.padEnd(widths[at]) : value.padStart(widths[at]));
  return rows.map((row) => row.map(cell).join('  ').trimEnd());
}

const text = (lines: readonly string[]): string => `${lines.join('\n')}\n`;
