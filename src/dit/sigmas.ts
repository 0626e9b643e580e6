// Noise levels of flow-matching samplers, and what the samplers share: the check of config fields, the x0 estimate, the check of a step.
import { UnsupportedError } from '../errors.ts';
import type { Config } from './config.ts';

/** `count` values from `start` to `stop`, both included, as numpy.linspace makes them (float64). */
export function linspace(start: number, stop: number, count: number): number[] {
  if (count === 1) return [start];
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? stop : i * step + start));
}

/** Moves a noise level towards the start of the run: shift s / (1 + (shift - 1) s). */
export const shifted = (sigma: number, shift: number): number => (shift * sigma) / (1 + (shift - 1) * sigma);

/** Throws an UnsupportedError for the first field that is present and neither null nor one of the values allowed for it. */
export function allowOnly(config: Config, allowed: Readonly<Record<string, readonly unknown[]>>): void {
  for (const [key, values] of Object.entries(allowed)) {
    const value = config[key];
    if (value === undefined || value === null || values.includes(value)) continue;
    const wanted = values.length ? values.map((item) => JSON.stringify(item)).join(' or ') : 'null';
    throw new UnsupportedError(
      `${config._class_name}: "${key}" is ${JSON.stringify(value)}, which is not supported; it must be ${wanted}.`,
    );
  }
}

/** x0 = x - sigma v, each operation rounded to float32 as the reference does. */
export function cleanEstimate(velocity: Float32Array, sample: Float32Array, sigma: number): Float32Array {
  const out = new Float32Array(sample.length);
  for (let i = 0; i < out.length; i++) out[i] = sample[i] - Math.fround(sigma * velocity[i]);
  return out;
}

/** Throws when the run is over, or velocity and sample differ in length. */
export function checkStep(step: number, steps: number, velocity: Float32Array, sample: Float32Array): void {
  if (step >= steps) throw new RangeError(`All ${steps} steps of this sampler are done; create another for the next run.`);
  if (velocity.length !== sample.length) {
    throw new RangeError(`velocity has ${velocity.length} values and sample ${sample.length}; both must have the latents' size.`);
  }
}
