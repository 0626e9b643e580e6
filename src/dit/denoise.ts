// The denoising loop: latents and prompt embeddings to clean latents, with classifier-free guidance and, for Wan 2.2, two transformers.

import type { BoundAttention } from '../attention.ts';
import type { CpuDevice } from '../backend/cpu.ts';
import type { Tensor } from '../tensor.ts';
import type { Sampler } from './sampler.ts';
import { cleanEstimate } from './sigmas.ts';
import type { Transformer } from './transformer.ts';

/** Conditional and unconditional branch numbers, as attention sites name them. */
export const BRANCH = { conditional: 0, unconditional: 1 } as const;

export interface Guidance {
  /** 1 or less: no second pass. */
  readonly scale: number;
  /** Scale below the boundary, where a second transformer takes over; defaults to `scale`. */
  readonly lowNoiseScale?: number;
  /** Shares of the steps between which guidance is on: from <= step / steps < to. */
  readonly interval: readonly [number, number];
}

/** The transformer of a step; `lowNoise` marks the second of a two-transformer checkpoint. */
export interface Expert {
  readonly transformer: Transformer;
  readonly lowNoise: boolean;
}

export interface DenoiseOptions {
  readonly device: CpuDevice;
  /** The transformer of a step; both guidance branches of a step use the same one. */
  readonly transformerAt: (timestep: number) => Promise<Expert>;
  readonly sampler: Sampler;
  readonly attention: BoundAttention;
  /** [channels, frames, height, width], overwritten by nothing; noise of unit variance. */
  readonly latents: Float32Array;
  readonly shape: readonly [number, number, number, number];
  /** [1, textTokens, textDim] */
  readonly prompt: Tensor;
  readonly negative?: Tensor;
  readonly guidance: Guidance;
  readonly signal?: AbortSignal;
  readonly onStep?: (step: DenoiseStep) => void | Promise<void>;
}

/** What happened in one step. */
export interface DenoiseStep {
  readonly step: number;
  readonly steps: number;
  readonly timestep: number;
  readonly milliseconds: number;
  /** FLOP-equivalent share of all attention block pairs that was computed, 0..1. */
  readonly density: number;
  /** Latents after the step, [channels, frames, height, width]. */
  readonly latents: Float32Array;
  /** The clean latents x0 = x - sigma v that this step points to; computed when first asked for, then kept. */
  clean(): Float32Array;
}

/** Whether a step has a second, unconditional pass. */
export function isGuided({ scale, lowNoiseScale, interval }: Guidance, step: number, steps: number, lowNoise = false): boolean {
  const share = step / steps;
  return (lowNoise ? (lowNoiseScale ?? scale) : scale) > 1 && share >= interval[0] && share < interval[1];
}

/** Runs all steps and returns the clean latents. Stops between two steps when `signal` is aborted, throwing its reason. */
export async function denoise(options: DenoiseOptions): Promise<Float32Array> {
  const { sampler, attention, signal } = options;
  const steps = sampler.timesteps.length;
  let latents = options.latents;
  let expert: Transformer | undefined;
  try {
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted();
      const start = performance.now();
      const current = await options.transformerAt(sampler.timesteps[step]);
      // Plans of one expert mean nothing to the other.
      if (expert && expert !== current.transformer) attention.reset();
      expert = current.transformer;
      const velocity = await guidedVelocity(options, latents, step, current);
      signal?.throwIfAborted();
      const noisy = latents;
      let estimate: Float32Array | undefined;
      const clean = (): Float32Array => (estimate ??= cleanEstimate(velocity, noisy, sampler.sigmas[step]));
      latents = sampler.step(velocity, noisy);
      const { density } = await attention.take();
      const milliseconds = performance.now() - start;
      await options.onStep?.({ step, steps, timestep: sampler.timesteps[step], milliseconds, density, latents, clean });
    }
    return latents;
  } finally {
    attention.reset();
  }
}

async function guidedVelocity(
  options: DenoiseOptions,
  latents: Float32Array,
  step: number,
  { transformer, lowNoise }: Expert,
): Promise<Float32Array> {
  const { sampler, guidance, device, prompt, negative } = options;
  const steps = sampler.timesteps.length;
  const input = device.upload(latents, [1, ...options.shape]);
  const velocity = async (text: Tensor, branch: number): Promise<Float32Array> => {
    const inputs = { latents: input, timesteps: [sampler.timesteps[step]], text };
    const { layers } = transformer.config;
    const seam = options.attention.attention;
    const out = await transformer.forward(inputs, (q, k, v, layer, grid) =>
      seam(q, k, v, { step, steps, layer, layers, branches: [branch], grid }),
    );
    return (await device.read(out)) as Float32Array;
  };
  const conditional = await velocity(prompt, BRANCH.conditional);
  if (!negative || !isGuided(guidance, step, steps, lowNoise)) return conditional;
  options.signal?.throwIfAborted();
  const unconditional = await velocity(negative, BRANCH.unconditional);
  const scale = lowNoise ? (guidance.lowNoiseScale ?? guidance.scale) : guidance.scale;
  return conditional.map((c, i) => unconditional[i] + scale * (c - unconditional[i]));
}
