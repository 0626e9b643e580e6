// `zoetrope "<prompt>"`: checks the place, loads the model, says how long it will take, samples, saves, and sums up.
import { existsSync } from 'node:fs';
import { totalmem } from 'node:os';
import { checkModel, readCalibration } from '../calibration/file.ts';
import type { Choice, Trial } from '../choose.ts';
import { stepCache } from '../dit/step-cache.ts';
import type { Estimate } from '../estimate.ts';
import type { Settings, StepReport } from '../options.ts';
import type { GeneratedVideo, RunReport, TextToVideoPipeline } from '../pipeline.ts';
import { checkOutput, type SavedVideo, saveVideo } from '../video/file.ts';
import { checkStill, saveStill } from '../video/frames.ts';
import type { GenerateArguments } from './generate-arguments.ts';
import { AUTO, methodOf } from './method.ts';
import { formatBytes, formatDevice, formatDuration, formatProgress, formatSummary, type Summary } from './progress.ts';
import { namedSubject, nearestPrompts, outputName } from './prompts.ts';
import { type Lines, linesOn, type Terminal } from './terminal.ts';

const LONG_SECONDS = 3600;

/** Runs one generation. Throws an Error, TypeError or RangeError with one sentence for the user, or the signal's reason when it is aborted. */
export async function generate(args: GenerateArguments, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const lines = linesOn(terminal);
  const path = args.output ?? outputName(args.prompt, existsSync);
  await checkOutput(path, { fps: args.sampling.fps });
  if (args.preview !== undefined) await checkStill(args.preview);
  const { method, calibration } = args;
  const named = method === undefined || method === AUTO ? undefined : await methodOf({ ...args, method });
  const pipeline = await load(args);
  try {
    signal.throwIfAborted();
    if (args.device === 'auto') lines.note(formatDevice(pipeline.device));
    const cache = args.cache === undefined ? {} : { cache: stepCache({ threshold: args.cache }) };
    const fixed = { ...args.sampling, ...cache, ...(named && { attention: named }) };
    const checked = pipeline(args.prompt, fixed).settings;
    const estimate = pipeline.estimate(fixed);
    if (calibration !== undefined) await checkCalibration(calibration, pipeline.folder, estimate.tokens);
    warnOfUnknownSubject(args.prompt, pipeline, lines);
    announce(estimate, checked, args.yes, lines);
    const choice = method === AUTO ? await choose(args, pipeline, lines, signal) : undefined;
    const options = { ...fixed, ...(choice && { attention: choice.method, seed: choice.seed }) };
    const video = pipeline(args.prompt, { ...options, signal, onStep: stepReporter(args, terminal, lines) });
    const onFrame = (frames: number): void => {
      if (terminal.isScreen) lines.show(`frame ${frames}/${video.numFrames}`);
    };
    const saved = await saveVideo(video, path, { signal, onFrame });
    const run = summary(args, saved, video, await video.report, pipeline);
    for (const line of formatSummary(run)) lines.note(line);
    if (args.json) terminal.out(`${JSON.stringify({ ...run, ...(choice && { choice: choiceReport(choice) }) })}\n`);
  } finally {
    lines.clear();
    await pipeline.dispose();
  }
}

/** @throws RangeError for a calibration of another model or size, which would else show after the dense steps alone. */
async function checkCalibration(file: string, folder: string, tokens: number): Promise<void> {
  const calibration = await readCalibration(file);
  await checkModel(calibration, folder);
  const { frames, height, width } = calibration.shape;
  if (frames * height * width !== tokens)
    throw new RangeError(
      `the calibration "${file}" is for ${frames} x ${height} x ${width} tokens, and this video has ${tokens}; make one for this size`,
    );
}

/** The method for this prompt, and what was tried, a line each. */
async function choose(args: GenerateArguments, pipeline: TextToVideoPipeline, lines: Lines, signal: AbortSignal): Promise<Choice> {
  const { chooseMethod } = await import('../choose.ts');
  const { prompt, sampling, quality } = args;
  const onTrial = ({ method, sparsity, psnr, milliseconds }: Trial): void => {
    const found = sparsity === 0 ? 'the measure' : `${psnr.toFixed(1)} dB`;
    lines.note(`short run, ${method}${sparsity === 0 ? '' : ` at sparsity ${sparsity}`}: ${found}  ${formatDuration(milliseconds / 1000)}`);
  };
  const choice = await chooseMethod(pipeline, prompt, { settings: sampling, onTrial, signal, ...(quality !== undefined && { quality }) });
  const { name, sparsity, reason, milliseconds } = choice;
  lines.note(`Method: ${name} at sparsity ${sparsity}, because ${reason}. Choosing took ${formatDuration(milliseconds / 1000)}.`);
  return choice;
}

const choiceReport = ({ method: _, ...choice }: Choice): Omit<Choice, 'method'> => choice;

async function load({ model, vae, device, dtype, runtime }: GenerateArguments): Promise<TextToVideoPipeline> {
  const { TextToVideoPipeline } = await import('../pipeline.ts'); // not before: help and mistakes need no runtime
  return TextToVideoPipeline.fromPretrained(model, { device, runtime, ...(dtype && { dtype }), ...(vae !== undefined && { vae }) });
}

/** Says what a small model knows, where the prompt names nothing of it. */
export function warnOfUnknownSubject(prompt: string, { vocabulary }: TextToVideoPipeline, lines: Lines): void {
  if (!vocabulary || namedSubject(prompt, vocabulary.subjectWords)) return;
  const shown = prompt.length > 80 ? `${prompt.slice(0, 80)}...` : prompt;
  lines.note(
    `Warning: "${shown}" names nothing that this small model was trained on, so the video will not show it. Prompts that it knows, nearest first:`,
  );
  for (const known of nearestPrompts(prompt, vocabulary.prompts)) lines.note(`  "${known}"`);
  lines.note('"zoetrope vocab" lists all it knows; --model takes a model that knows more.');
}

/** Says what is to come; throws an Error when that is more than an hour and `yes` was not given. */
export function announce(
  { seconds, rough, bytes, gpuBytes, tokens, skippableSteps }: Estimate,
  { width, height, numFrames, numInferenceSteps }: Pick<Settings, 'width' | 'height' | 'numFrames' | 'numInferenceSteps'>,
  yes: boolean,
  lines: Lines,
): void {
  const job = `${width}x${height}, ${numFrames} frames, ${numInferenceSteps} steps, ${tokens.toLocaleString('en')} tokens`;
  const memory = gpuBytes === undefined ? '' : ` and ${formatBytes(gpuBytes)} of GPU memory`;
  const hedge = rough === undefined ? '' : ` (seconds may be far off: ${rough})`;
  const cost = `about ${formatDuration(seconds)}${memory ? ',' : ' and'} ${formatBytes(bytes)} of memory${memory}${hedge}`;
  if (seconds > LONG_SECONDS && !yes) {
    throw new Error(`${job} will take ${cost}: add --yes to start it, or ask for a smaller --size, fewer --num-frames or fewer --steps.`);
  }
  const less = skippableSteps === undefined ? '' : `, less up to ${skippableSteps} steps that the cache may skip`;
  lines.note(`${job}: ${cost}${less}.`);
  if (bytes > totalmem()) lines.note(`Warning: this machine has ${formatBytes(totalmem())} of memory.`);
}

function stepReporter(args: GenerateArguments, terminal: Terminal, lines: Lines): (report: StepReport) => Promise<void> {
  let done = 0;
  let elapsedMilliseconds = 0;
  return async (report) => {
    done++;
    elapsedMilliseconds += report.milliseconds;
    const { density, skipped } = report;
    const progress = { done, steps: report.steps, stepMilliseconds: report.milliseconds, elapsedMilliseconds, density, skipped };
    lines.show(formatProgress(progress, terminal.isScreen ? Math.max(0, Math.min(30, terminal.columns - 60)) : 0));
    if (args.preview !== undefined) await saveStill(await report.preview(), args.preview);
  };
}

/** A finished run: what `--json` prints. */
function summary(
  args: GenerateArguments,
  saved: SavedVideo,
  video: GeneratedVideo,
  report: RunReport,
  { runtime }: TextToVideoPipeline,
): Summary {
  const { path, frames, bytes } = saved;
  const { width, height, fps } = video;
  const milliseconds = { ...report.milliseconds, encode: saved.milliseconds };
  return { path, frames, bytes, width, height, fps, prompt: args.prompt, ...report, milliseconds, runtime };
}
