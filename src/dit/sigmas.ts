// Noise levels of flow-matching samplers, and what the samplers share: the check of config fields, the x0 estimate, the check of a step.
import type { Backend } from '../backend/backend.ts';
import { UnsupportedError } from '../errors.ts';
import type { Tensor } from '../tensor.ts';
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

/** x0 = x - sigma v. */
export const cleanEstimate = (ops: Backend, velocity: Tensor, sample: Tensor, sigma: number): Tensor =>
  ops.combine([sample, velocity], [1, -sigma]);

/** Throws when the run is over, or velocity and sample differ in shape. */
export function checkStep(step: number, steps: number, velocity: Tensor, sample: Tensor): void {
  if (step >= steps) throw new RangeError(`All ${steps} steps of this sampler are done; create another for the next run.`);
  if (`${velocity.shape}` !== `${sample.shape}`) {
    throw new RangeError(`velocity has shape [${velocity.shape}] and sample [${sample.shape}]; both must have the latents'.`);
  }
}
