// How a run looks on a terminal: durations, sizes, the bar, the summary. Text only; who prints it is `terminal.ts`.
import type { DeviceReport } from '../device.ts';
import type { RunReport, TextToVideoPipeline } from '../pipeline.ts';
import type { SavedVideo } from '../video/file.ts';
import type { Video } from '../video/frame.ts';

/** `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`: two units at most. */
export function formatDuration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `512 B`, `14.2 kB`, `1.5 GB`: powers of 1000. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** Which device a run takes, and why: `Device: webgpu (Acme Tower 5, f16). Auto found a GPU.` */
export function formatDevice({ name, dtype, adapter, reason }: DeviceReport): string {
  return `Device: ${placeOf(name, dtype, adapter)}. ${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
}

const placeOf = (device: string, dtype: string, adapter: string | undefined): string =>
  `${device} (${adapter === undefined ? '' : `${adapter}, `}${dtype})`;

/** Where denoising stands after `done` of `steps`; `density` is the share of attention computed in the last step, 0..1. */
export interface Progress {
  readonly done: number;
  readonly steps: number;
  readonly stepMilliseconds: number;
  readonly elapsedMilliseconds: number;
  readonly density: number;
  /** Whether the step cache gave the step. */
  readonly skipped?: boolean;
}

/** One line about a step, with a bar of `barWidth` characters (none at 0): `[=====>    ] step 5/10  1.2 s  density 0.31  6.0 s left`. */
export function formatProgress({ done, steps, stepMilliseconds, elapsedMilliseconds, density, skipped }: Progress, barWidth = 0): string {
  const left = ((elapsedMilliseconds / done) * (steps - done)) / 1000;
  const filled = Math.round((done / steps) * barWidth);
  const bar =
    barWidth > 0
      ? `[${'='
          .repeat(filled)
          .replace(/=$/, done < steps ? '>' : '=')
          .padEnd(barWidth)}] `
      : '';
  const number = String(done).padStart(String(steps).length);
  return `${bar}step ${number}/${steps}  ${formatDuration(stepMilliseconds / 1000)}  ${skipped ? 'skipped' : `density ${density.toFixed(2)}`}  ${formatDuration(left)} left`;
}

/** A finished run: the pipeline's report, the file, and the time encoding took beside the rest. */
export interface Summary
  extends Omit<RunReport, 'milliseconds' | 'runtime'>,
    Pick<SavedVideo, 'path' | 'frames' | 'bytes'>,
    Pick<Video, 'width' | 'height' | 'fps'> {
  readonly prompt: string;
  readonly milliseconds: RunReport['milliseconds'] & { readonly encode: number };
  readonly runtime: TextToVideoPipeline['runtime'];
}

/** What was made and where the time went, in two lines, and a third with the way to a faster runtime when there is one. */
export function formatSummary(run: Summary): string[] {
  const seconds = (part: keyof Summary['milliseconds']): string => `${part} ${formatDuration(run.milliseconds[part] / 1000)}`;
  const skipped = run.stepsSkipped > 0 ? `, ${run.stepsSkipped} skipped` : '';
  const how = `${run.steps} steps${skipped}, ${run.method}, mean density ${run.meanDensity.toFixed(2)}`;
  const place = placeOf(run.device, run.dtype, run.adapter);
  const { name, version, hint } = run.runtime;
  return [
    `${run.path}: ${run.frames} frames, ${run.width}x${run.height}, ${run.fps} fps, ${formatBytes(run.bytes)}, seed ${run.seed}`,
    `${seconds('text')}, ${seconds('denoise')} (${how}), ${seconds('decode')}, ${seconds('encode')}; ${place}, ${name} ${version}`,
    ...(hint ? [hint] : []),
  ];
}
