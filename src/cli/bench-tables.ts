// How the results of benches look on a terminal.
import { KINDS, type KindTime } from '../bench/kinds.ts';
import type { Compared } from '../bench/results.ts';
import type { RunCase } from '../bench/run.ts';
import type { PhaseTimes, StepCase } from '../bench/step.ts';
import type { Setting } from '../bench/subject.ts';
import type { BenchStepArguments } from './bench-arguments.ts';
import { formatBytes, formatDuration } from './progress.ts';

/** The phases of each method with GPU milliseconds by kind of work; with `profile` each kernel below them. */
export function formatStepBench(cases: readonly StepCase[], { profile }: Pick<BenchStepArguments, 'profile'>): string {
  return parts(
    cases,
    ({ setting, method }) => [setting, method],
    (own) => phaseLines(own, profile),
  );
}

function phaseLines(phases: readonly StepCase[], profile: boolean): string[] {
  const [{ setting, method, loadingSeconds, loadedBytes }] = phases;
  const kinds = KINDS.filter((kind) => phases.some((phase) => phase.kinds?.some((one) => one.kind === kind)));
  const head = ['', 'density', 'ms', 'host ms', ...(kinds.length > 0 ? ['GPU ms', ...kinds] : [])];
  const rows = phases.map((phase) => [
    ...[phase.name, phase.density.toFixed(2), milliseconds(phase.milliseconds.median), milliseconds(phase.hostMilliseconds)],
    ...(phase.kinds ? [milliseconds(phase.gpuMilliseconds!), ...kinds.map((kind) => ofKind(phase.kinds!, kind))] : []),
  ]);
  const peakBytes = Math.max(...phases.map((phase) => phase.peakBytes));
  return [
    ...settingLines(setting),
    ...[method, '', ...columns([head, ...rows]), ''],
    ...(kinds.length === 0 ? ['This GPU has no timestamps (feature timestamp-query), so kinds of work are not told apart.'] : []),
    ...(profile ? phases.flatMap(kernelLines) : []),
    `loaded in ${formatDuration(loadingSeconds)}, ${formatBytes(loadedBytes)} of GPU memory, at most ${formatBytes(peakBytes)}`,
  ];
}

/** Seconds of whole runs, and how much faster than dense each method's is. */
export const formatRunBench = (cases: readonly RunCase[]): string =>
  parts(cases, ({ setting, steps, branches, batched }) => [setting, steps, branches, batched], runLines);

function runLines(runs: readonly RunCase[]): string[] {
  const [{ setting, steps, branches, batched }] = runs;
  const row = ({ method, milliseconds: { median }, density, finite }: RunCase) => [
    ...[method, (median / 1000).toFixed(2), (median / steps).toFixed(0), density.toFixed(2)],
    finite ? '' : 'NOT FINITE: its numbers mean nothing',
  ];
  const dense = runs.find(({ method }) => method === 'dense');
  const faster = runs.filter((one) => dense && one !== dense);
  const times = ({ milliseconds }: RunCase) => (dense!.milliseconds.median / milliseconds.median).toFixed(2);
  return [
    ...settingLines(setting),
    `${steps} ${steps === 1 ? 'step' : 'steps'}, ${branches === 1 ? 'one branch' : `two guidance branches${batched ? ' in one batch' : ''}`}, latents of the sampler`,
    ...['', ...columns([['', 'seconds', 'ms a step', 'density', ''], ...runs.map(row)]), ''],
    ...faster.map((one) => `${one.method} is ${times(one)} times as fast as dense`),
    `at most ${formatBytes(Math.max(...runs.map(({ peakBytes }) => peakBytes)))} of GPU memory`,
  ];
}

/** Times beside those of an earlier result. */
export function formatCompared({
  file,
  sameMachine,
  cases,
}: {
  readonly file: string;
  readonly sameMachine: boolean;
  readonly cases: readonly Compared[];
}): string {
  const rows = cases.map(({ id, before, after, ratio }) => [id, milliseconds(before), milliseconds(after), ratio.toFixed(2)]);
  return text([
    `Beside ${file}${sameMachine ? '' : ', WHICH IS OF ANOTHER MACHINE, so that ratios are of machines too'}:`,
    ...['', ...columns([['', 'ms before', 'ms now', 'times as fast'], ...rows])],
  ]);
}

/** The cases that agree in something, each such part as lines. */
function parts<One>(cases: readonly One[], of: (one: One) => unknown, lines: (own: readonly One[]) => string[]): string {
  const key = (one: One) => JSON.stringify(of(one));
  return [...new Set(cases.map(key))].map((wanted) => text(lines(cases.filter((one) => key(one) === wanted)))).join('\n');
}

function settingLines({ model, gpu, dtype, width, height, numFrames, layers, tokens, checked }: Setting): string[] {
  return [
    `${gpu.device || gpu.description || gpu.vendor}${gpu.software ? ', in software' : ''}: ${model}, ${layers} ${layers === 1 ? 'layer' : 'layers'}`,
    `${width}x${height}, ${numFrames} frames, ${tokens.toLocaleString('en')} tokens, ${dtype}${checked ? '' : ', unchecked'}`,
  ];
}

function kernelLines({ name, kinds = [] }: PhaseTimes): string[] {
  if (kinds.length === 0) return [];
  const rows = kinds.flatMap(({ kind, launches, kernels, ...whole }) => [
    [kind, milliseconds(whole.milliseconds), `${launches}`],
    ...kernels.map(({ kernel, ...own }) => [`  ${kernel}`, milliseconds(own.milliseconds), `${own.launches}`]),
  ]);
  return [...columns([[name, 'GPU ms', 'launches'], ...rows]), ''];
}

const ofKind = (kinds: readonly KindTime[], wanted: KindTime['kind']): string => {
  const found = kinds.find(({ kind }) => kind === wanted);
  return found ? milliseconds(found.milliseconds) : '-';
};

/** Milliseconds with three digits or more. */
export const milliseconds = (time: number): string => time.toFixed(time < 9.995 ? 2 : time < 99.95 ? 1 : 0);

/** Rows of cells, the first column flush left and the others right. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
  const cell = (value: string, at: number): string => (at === 0 ? value.padEnd(widths[at]) : value.padStart(widths[at]));
  return rows.map((row) => row.map(cell).join('  ').trimEnd());
}

const text = (lines: readonly string[]): string => `${lines.join('\n')}\n`;
