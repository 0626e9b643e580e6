// The sampler of a denoising loop: from a diffusers scheduler config to timesteps, sigmas and steps.
// Flow matching throughout: the model gives a velocity v, and x0 = x - sigma v.
import type { Backend } from '../backend/backend.ts';
import { UnsupportedError } from '../errors.ts';
import type { Tensor } from '../tensor.ts';
import type { Config } from './config.ts';
import { flowMatchEuler } from './flow-euler.ts';
import { uniPC } from './unipc.ts';

/** One run of a solver. It counts its steps itself: two steps may share an integer timestep. */
export interface Sampler {
  /** What the model is told at each step, 0..1000. */
  readonly timesteps: Float64Array;
  /** Noise level before each step, and the last one, 0: steps + 1 values. */
  readonly sigmas: Float32Array;
  /**
   * Takes the model's velocity for `sample` (noise, and from the second step on what the step before gave), gives the next sample and
   * advances. Nothing is waited for; both handles stay the caller's. Throws a RangeError past the last step.
   */
  step(ops: Backend, velocity: Tensor, sample: Tensor): Tensor;
  /** Frees what was kept for the next step; the run is over. */
  dispose(ops: Backend): void;
}

/** Options of `createSampler`; what is not given comes from the scheduler's config. */
export interface SamplerOptions {
  readonly steps: number;
  /** Replaces the config's shift of the noise levels towards the start (flow_shift, shift). */
  readonly flowShift?: number;
  /** Noise levels before the shift, one for each step, falling, within 0..1. */
  readonly sigmas?: readonly number[];
  /** UniPC's noise levels before the shift: 1 down ('current'), or 0.999 down ('legacy': diffusers before 2026, and Wan's own code). */
  readonly ladder?: 'current' | 'legacy';
  /** Latent tokens, for FlowMatchEuler with dynamic shifting: mu rises linearly with it. */
  readonly sequenceLength?: number;
  /** Replaces the mu that follows from `sequenceLength`. */
  readonly mu?: number;
}

/**
 * Makes the sampler that a diffusers `scheduler_config.json` asks for (UniPC or FlowMatchEuler).
 * Throws a RangeError for options out of range and an UnsupportedError, naming the field, for a config that is not supported.
 */
export function createSampler(config: Config, options: SamplerOptions): Sampler {
  checkOptions(options);
  if (config._class_name === 'UniPCMultistepScheduler') return uniPC(config, options);
  if (config._class_name === 'FlowMatchEulerDiscreteScheduler') return flowMatchEuler(config, options);
  throw new UnsupportedError(
    `Scheduler ${JSON.stringify(config._class_name)} is not supported; use UniPCMultistepScheduler or FlowMatchEulerDiscreteScheduler.`,
  );
}

function checkOptions({ steps, flowShift, sigmas, ladder, sequenceLength, mu }: SamplerOptions): void {
  if (!Number.isSafeInteger(steps) || steps < 1 || steps > 1000) throw new RangeError(`steps is ${steps}; give a whole number of 1..1000.`);
  if (flowShift !== undefined && !(flowShift > 0 && Number.isFinite(flowShift))) {
    throw new RangeError(`flowShift is ${flowShift}; give a number above 0.`);
  }
  if (sequenceLength !== undefined && !(sequenceLength > 0 && Number.isFinite(sequenceLength))) {
    throw new RangeError(`sequenceLength is ${sequenceLength}; give the number of latent tokens.`);
  }
  if (mu !== undefined && !Number.isFinite(mu)) throw new RangeError(`mu is ${mu}; give a number.`);
  if (ladder !== undefined && ladder !== 'current' && ladder !== 'legacy') {
    throw new RangeError(`ladder is ${JSON.stringify(ladder)}; give "current" or "legacy".`);
  }
  if (!sigmas) return;
  if (ladder) throw new TypeError('sigmas and ladder were both given; the sigmas replace the ladder, so give one of them.');
  if (sigmas.length !== steps) throw new RangeError(`sigmas has ${sigmas.length} values for ${steps} steps; give one for each step.`);
  sigmas.forEach((sigma, i) => {
    if (!(sigma > 0 && sigma <= 1 && (i === 0 || sigma < sigmas[i - 1]))) {
      throw new RangeError(`sigmas[${i}] is ${sigma}; give falling values above 0 and at most 1.`);
    }
  });
}
