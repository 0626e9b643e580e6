// `zoetrope inspect`: a run of a method looked at from inside, as text or JSON on stdout and as a folder of pictures.
import type { GenerateOptions } from '../options.ts';
import { announce, warnOfUnknownSubject } from './generate.ts';
import type { InspectArguments } from './inspect-arguments.ts';
import { methodOf } from './method.ts';
import { formatDevice, formatProgress } from './progress.ts';
import { linesOn, type Terminal } from './terminal.ts';

/** Runs one inspection. Throws an Error, TypeError or RangeError with one sentence, or the signal's reason when it is aborted. */
export async function inspect(args: InspectArguments, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const { prompt, model, device, dtype, layers, atSteps, queryBlock, output } = args;
  const { checkInspectionPlace, figuresOf, saveInspection } = await import('../inspect/save.ts');
  if (output !== undefined) await checkInspectionPlace(output);
  const method = await methodOf(args);
  const lines = linesOn(terminal);
  const { TextToVideoPipeline } = await import('../pipeline.ts');
  const pipe = await TextToVideoPipeline.fromPretrained(model, { device, ...(dtype && { dtype }) });
  try {
    if (device === 'auto') lines.note(formatDevice(pipe.device));
    const settings = settingsOf(args);
    warnOfUnknownSubject(prompt, pipe, lines);
    announce(pipe.estimate({ ...settings, attention: method }), pipe(prompt, settings).settings, true, lines);
    const { inspectRun } = await import('../inspect/run.ts');
    const onStep = progressOn(lines.show);
    const inspection = await inspectRun(pipe, prompt, { method, layers, atSteps, settings, onStep, signal });
    lines.clear();
    const figures = output === undefined ? figuresOf(inspection, { queryBlock }) : await saveInspection(inspection, output, { queryBlock });
    const { inspectionText } = await import('../inspect/text.ts');
    terminal.out(args.json ? `${JSON.stringify(figures)}\n` : inspectionText(inspection, terminal.columns));
    if (output !== undefined)
      lines.note(`${output}: pictures of ${figures.plans.length} plans, a block map and a neighbourhood for each head`);
  } finally {
    lines.clear();
    await pipe.dispose();
  }
}

function settingsOf({ size, numFrames, numInferenceSteps, seed }: InspectArguments): GenerateOptions {
  return { ...size, seed, ...(numFrames !== undefined && { numFrames }), ...(numInferenceSteps !== undefined && { numInferenceSteps }) };
}

function progressOn(show: (text: string) => void): (step: { step: number; steps: number; milliseconds: number; density: number }) => void {
  let elapsedMilliseconds = 0;
  return ({ step, steps, milliseconds, density }) => {
    elapsedMilliseconds += milliseconds;
    show(formatProgress({ done: step + 1, steps, stepMilliseconds: milliseconds, elapsedMilliseconds, density }));
  };
}
