// `zoetrope bench`: measures, prints a table or JSON on stdout, and writes the JSON with --out.
import { constants } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { SubjectOptions } from '../bench/subject.ts';
import { examineMachine } from '../doctor/report.ts';
import type { BenchArguments, BenchRunArguments, BenchStepArguments } from './bench-arguments.ts';
import { formatRunBench, formatStepBench } from './bench-tables.ts';
import { methodOf } from './method.ts';
import { type Lines, linesOn, type Terminal } from './terminal.ts';

/**
 * Runs one bench. Throws an Error with one sentence for the user (no GPU, a size that the model cannot make, a file that cannot be written), or
 * the signal's reason when it is aborted.
 */
export async function bench(args: BenchArguments, version: string, terminal: Terminal, signal: AbortSignal): Promise<void> {
  if (args.out !== undefined) await checkPlace(args.out);
  const lines = linesOn(terminal);
  try {
    const { result, text } = args.command === 'bench step' ? await step(args, lines, signal) : await run(args, lines, signal);
    lines.clear();
    const { command, json, out, ...options } = args;
    const date = new Date().toISOString().slice(0, 10);
    const report = `${JSON.stringify({ bench: command, date, version, machine: examineMachine(), options, ...result }, null, 1)}\n`;
    terminal.out(json ? report : text);
    if (out !== undefined) await writeFile(out, report);
  } finally {
    lines.clear();
  }
}

async function step(args: BenchStepArguments, lines: Lines, signal: AbortSignal) {
  const { benchStep } = await import('../bench/step.ts');
  lines.show('Loading the model ...');
  const result = await benchStep({
    ...subjectOf(args),
    ...{ method: await methodOf(args), runs: args.runs, signal },
    onPhase: ({ name }) => lines.show(`Measuring ${name} ...`),
  });
  return { result, text: formatStepBench(result, args) };
}

async function run(args: BenchRunArguments, lines: Lines, signal: AbortSignal) {
  const { benchRun } = await import('../bench/run.ts');
  lines.show('Loading the model ...');
  const { steps, branches, batched, dense } = args;
  const result = await benchRun({
    ...subjectOf(args),
    ...{ method: await methodOf(args), steps, branches, batched, dense, signal },
    onStep: ({ run, step, steps, seconds }) => lines.show(`${run}, step ${step}/${steps}  ${Math.round(1000 * seconds)} ms`),
  });
  return { result, text: formatRunBench(result, args) };
}

function subjectOf({ model, size, numFrames, layers, dtype, checks }: BenchArguments): SubjectOptions {
  return { model, ...size, numFrames, layers, dtype, checked: checks };
}

async function checkPlace(file: string): Promise<void> {
  const folder = dirname(resolve(file));
  await access(folder, constants.W_OK).catch(() => {
    throw new Error(`The result cannot be written to "${file}": there is no folder "${folder}", or it is read-only; give another --out.`);
  });
}
