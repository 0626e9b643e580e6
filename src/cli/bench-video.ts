// `zoetrope bench video`: makes the videos that the result file does not have yet, writes it as they come, and prints tables.
import { existsSync } from 'node:fs';
import { compareResults, type ReadResult, writeResult } from '../bench/results.ts';
import { benchVideo, type Outcome } from '../bench/video/bench.ts';
import type { VideoResultFile } from '../bench/video/result.ts';
import { comparedMarkdown, videoMarkdown } from '../bench/video/table.ts';
import { TextToVideoPipeline } from '../pipeline.ts';
import { checkPlace } from '../video/place.ts';
import { earlier } from './bench.ts';
import type { BenchVideoArguments } from './bench-video-arguments.ts';
import { judgingOf, otherPipe, shrinkOf, type VideoSetup, videoSetup } from './bench-video-setup.ts';
import { onScreen } from './layout.ts';
import { formatDevice, formatDuration } from './progress.ts';
import { type Lines, linesOn, type Terminal } from './terminal.ts';

/**
 * Runs the bench. With `out` an abort ends it like a deadline: what was measured is in the file.
 * @throws Error with one sentence for what cannot be measured, or the signal's reason when it is aborted without `out`.
 */
export async function videoBench(args: BenchVideoArguments, version: string, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const start = performance.now();
  for (const file of [args.out, args.summary]) if (file !== undefined) await checkPlace(file);
  if (args.summary !== undefined && existsSync(args.summary)) await earlier(args.summary, 'video', '--summary replaces');
  const before = args.compare === undefined ? undefined : await earlier(args.compare, 'video');
  const lines = linesOn(terminal);
  lines.show('Loading the model ...');
  const { model, device, dtype } = args;
  const pipe = await TextToVideoPipeline.fromPretrained(model, { device, ...(dtype && { dtype }) });
  const opened: { dispose(): Promise<void> }[] = [pipe];
  try {
    if (device === 'auto') lines.note(formatDevice(pipe.device));
    const other = await otherPipe(args, pipe, lines);
    if (other) opened.push(other);
    const judging = await judgingOf(args, pipe, lines);
    if (judging) opened.push(judging);
    const setup = await videoSetup(args, version, pipe, { otherDtype: other?.device.dtype, ...(judging && { judging }) });
    const outcome = await measured(pipe, other, setup, args, lines, signal, start);
    const result = await setup.writer.finish();
    if (args.summary !== undefined) await writeResult(args.summary, { ...result, cases: [] });
    lines.clear();
    terminal.out(args.json ? `${JSON.stringify(result, null, 1)}\n` : onScreen(textOf(result), terminal.outColumns));
    if (before && !args.json) terminal.out(`\n${onScreen(comparedText(before, result), terminal.outColumns)}`);
    if (outcome !== 'done') lines.note(`Stopped before all was measured: the same command goes on with "${args.out}".`);
  } finally {
    lines.clear();
    for (const one of opened) await one.dispose();
  }
}

/** Makes what is due. What was measured is written even if it fails. */
async function measured(
  pipe: TextToVideoPipeline,
  other: TextToVideoPipeline | undefined,
  { writer, due, ...setup }: VideoSetup,
  args: BenchVideoArguments,
  lines: Lines,
  signal: AbortSignal,
  start: number,
): Promise<Outcome> {
  const there = writer.known.size > 0 ? `, beside ${writer.known.size} that are there` : '';
  lines.note(`${due} cases to measure${there}: about ${formatDuration(due * pipe.estimate(setup.settings).seconds)} if each were dense.`);
  const shrink = await shrinkOf(args, lines);
  const { out, minutes, brief, recall } = args;
  try {
    return await benchVideo(pipe, {
      ...{ ...setup, brief, plansOf: recall, signal, onCase: writer.add },
      ...(shrink && { shrink }),
      ...(other && { otherPipe: other }),
      ...(minutes !== undefined && { deadline: start + 60_000 * minutes }),
      onStart: ({ contender, prompt, seed, done }) =>
        lines.show(`${done}/${due}  ${formatDuration((performance.now() - start) / 1000)}  ${contender}, "${prompt}", seed ${seed}`),
    });
  } catch (error) {
    if (out !== undefined) await writer.finish();
    if (!signal.aborted || out === undefined) throw error;
    return 'stopped';
  }
}

/** Times against an earlier result's. @throws RangeError when the two share no case. */
const comparedText = (before: ReadResult, result: VideoResultFile): string => comparedMarkdown(compareResults(before, result), before.file);

function textOf(result: VideoResultFile): string {
  const { options, machine, device, runtime, cases, embedded, summary } = result;
  const { model, width, height, numFrames, numInferenceSteps } = options;
  const place = `${machine.gpu ?? `${machine.processor}, ${machine.cores} cores, ${runtime}`}, ${device.dtype}`;
  const setting = `${embedded ? 'The embedded model' : model} at ${width}x${height}, ${numFrames} frames, ${numInferenceSteps} steps; ${place}.`;
  return `${cases.length} cases. ${setting}\n\n${videoMarkdown(summary, { embedded })}`;
}
