// FlowMatchEulerDiscreteScheduler of diffusers: Euler steps along the velocity (Esser et al., arXiv 2403.03206).
import { UnsupportedError } from '../errors.ts';
import { boolean, type Config, integer, number, string } from './config.ts';
import type { Sampler, SamplerOptions } from './sampler.ts';
import { allowOnly, checkStep, linspace, shifted } from './sigmas.ts';

const supported = {
  invert_sigmas: [false],
  stochastic_sampling: [false],
  use_karras_sigmas: [false],
  use_exponential_sigmas: [false],
  use_beta_sigmas: [false],
  time_shift_type: ['exponential', 'linear'],
};

/** Euler sampler: x += (sigma_{i+1} - sigma_i) v; timesteps are sigma * num_train_timesteps, not truncated. Errors: see `createSampler`. */
export function flowMatchEuler(config: Config, options: SamplerOptions): Sampler {
  allowOnly(config, supported);
  if (options.ladder === 'legacy') throw new UnsupportedError('ladder "legacy" is one of UniPC; FlowMatchEulerDiscreteScheduler has none.');
  const trained = integer(config, 'num_train_timesteps', 1000);
  const { steps } = options;
  const sigmas = Float32Array.from([...flowSigmas(config, options, trained), 0]);
  const timesteps = Float64Array.from(sigmas.subarray(0, steps), (sigma) => Math.fround(sigma * trained));
  let current = 0;
  return {
    timesteps,
    sigmas,
    step(ops, velocity, sample) {
      checkStep(current, steps, velocity, sample);
      const next = ops.combine([sample, velocity], [1, sigmas[current + 1] - sigmas[current]]);
      current++;
      return next;
    },
    dispose: () => undefined,
  };
}

function flowSigmas(config: Config, options: SamplerOptions, trained: number): number[] {
  const dynamic = boolean(config, 'use_dynamic_shifting', false);
  const shift = options.flowShift ?? number(config, 'shift', 1);
  if (dynamic && options.flowShift !== undefined) {
    throw new UnsupportedError('flowShift has no effect with "use_dynamic_shifting": give mu or sequenceLength instead.');
  }
  if (!(shift > 0)) throw new RangeError(`FlowMatchEulerDiscreteScheduler: "shift" is ${shift}; it must be above 0.`);
  // The reference shifts the whole training ladder first and takes its ends, and then shifts what it spans between them again.
  const end = (sigma: number) => Math.fround(dynamic ? sigma : shifted(sigma, shift));
  const given = options.sigmas?.map(Math.fround);
  const unshifted = given ?? linspace(end(1) * trained, end(Math.fround(1 / trained)) * trained, options.steps).map((t) => t / trained);
  const move = dynamic ? dynamicShift(config, options) : (sigma: number) => shifted(sigma, shift);
  return stretched(unshifted.map(move), config);
}

/** Shift by mu, which rises linearly with the number of latent tokens. */
function dynamicShift(config: Config, { mu: given, sequenceLength }: SamplerOptions): (sigma: number) => number {
  if (given === undefined && sequenceLength === undefined) {
    throw new RangeError('"use_dynamic_shifting" needs the number of latent tokens: give sequenceLength (or mu).');
  }
  const [base, maximum] = [number(config, 'base_shift', 0.5), number(config, 'max_shift', 1.15)];
  const [short, long] = [integer(config, 'base_image_seq_len', 256), integer(config, 'max_image_seq_len', 4096)];
  const mu = given ?? base + ((maximum - base) / (long - short)) * (sequenceLength! - short);
  if (!Number.isFinite(mu)) throw new RangeError(`mu is ${mu}: "base_image_seq_len" and "max_image_seq_len" are both ${short}.`);
  const weight = string(config, 'time_shift_type', 'exponential') === 'linear' ? mu : Math.exp(mu);
  return (sigma) => weight / (weight + (1 / sigma - 1));
}

/** Stretches 1 - sigma so that the last sigma becomes `shift_terminal`. */
function stretched(sigmas: number[], config: Config): number[] {
  const terminal = number(config, 'shift_terminal', 0);
  if (!(terminal >= 0 && terminal < 1)) throw new RangeError(`"shift_terminal" is ${terminal}; it must be within 0..1.`);
  if (terminal === 0) return sigmas;
  const scale = (1 - sigmas.at(-1)!) / (1 - terminal);
  return scale === 0 ? sigmas : sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}
