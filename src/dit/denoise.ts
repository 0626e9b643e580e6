// The denoising loop: latents and prompt embeddings to clean latents, with classifier-free guidance and, for Wan 2.2, two transformers.
// Latents stay on the backend from the first step to the last; a step is waited for once, at its end.

import type { BoundAttention } from '../attention.ts';
import type { Backend } from '../backend/backend.ts';
import type { Numbers, Tensor } from '../tensor.ts';
import type { Sampler } from './sampler.ts';
import { cleanEstimate } from './sigmas.ts';
import { openStepCache, type StepCache, type StepCacheRun } from './step-cache.ts';
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
  readonly ops: Backend;
  /** The transformer of a step; both guidance branches of a step use the same one. */
  readonly transformerAt: (timestep: number) => Promise<Expert>;
  readonly sampler: Sampler;
  readonly attention: BoundAttention;
  /** [channels, frames, height, width], overwritten by nothing; noise of unit variance. */
  readonly latents: Float32Array;
  readonly shape: readonly [number, number, number, number];
  /** [1, textTokens, textDim], as f32 handles of `ops` that stay the caller's. */
  readonly prompt: Tensor;
  readonly negative?: Tensor;
  readonly guidance: Guidance;
  /** Whether both guidance branches of a step run as one batch of two, which is faster on a GPU that has the memory (default false). */
  readonly batched?: boolean;
  /** Skips forwards whose velocity is expected to be nearly that of an earlier step. */
  readonly cache?: StepCache;
  readonly signal?: AbortSignal;
  readonly onStep?: (step: DenoiseStep) => void | Promise<void>;
}

/** What happened in one step. Latents are read when they are first asked for, which must be before `onStep` is done; they are freed then. */
export interface DenoiseStep {
  readonly step: number;
  readonly steps: number;
  readonly timestep: number;
  readonly milliseconds: number;
  /** FLOP-equivalent share of all attention block pairs that was computed, 0..1; 0 in a skipped step. */
  readonly density: number;
  /** Whether the step cache gave the velocity, and nothing of the model was computed. */
  readonly skipped: boolean;
  /** Latents after the step, [channels, frames, height, width]; do not write to them. */
  latents(): Promise<Float32Array>;
  /** The clean latents x0 = x - sigma v that this step points to. */
  clean(): Promise<Float32Array>;
}

/** Whether a step has a second, unconditional pass. */
export function isGuided(guidance: Guidance, step: number, steps: number, lowNoise = false): boolean {
  const share = step / steps;
  const [from, to] = guidance.interval;
  return scaleOf(guidance, lowNoise) > 1 && share >= from && share < to;
}

const scaleOf = ({ scale, lowNoiseScale = scale }: Guidance, lowNoise: boolean): number => (lowNoise ? lowNoiseScale : scale);

/** Runs all steps and returns the clean latents. Stops between two steps when `signal` is aborted, throwing its reason. */
export async function denoise(options: DenoiseOptions): Promise<Float32Array> {
  const { ops, sampler, attention, signal } = options;
  const held = holding(ops);
  const cache = options.cache && openStepCache(ops, options.cache, sampler.timesteps.length);
  const run: Run = { ...options, held, texts: textsOf(options, held), ...(cache && { cacheRun: cache }) };
  let latents = held.hold(ops.upload(options.latents, [1, ...options.shape]));
  let expert: Transformer | undefined;
  try {
    for (let step = 0; step < sampler.timesteps.length; step++) {
      signal?.throwIfAborted();
      const start = performance.now();
      const current = await options.transformerAt(sampler.timesteps[step]);
      // Plans of one expert mean nothing to the other.
      if (expert && expert !== current.transformer) attention.reset();
      expert = current.transformer;
      latents = await oneStep(run, latents, step, current, start);
    }
    return (await ops.read(latents)) as Float32Array;
  } catch (error) {
    await held.settled();
    throw error;
  } finally {
    attention.reset();
    sampler.dispose(ops);
    cache?.dispose();
    held.dropAll();
  }
}

/** Options, and what a run holds. */
interface Run extends DenoiseOptions {
  readonly held: Held;
  readonly cacheRun?: StepCacheRun;
  /** The text of a forward over these branches; the same handle at every step, so that what depends on it alone is computed once. */
  readonly texts: (branches: readonly number[]) => Tensor;
}

/** Handles to be freed when a run is over, however it ends. */
interface Held {
  hold(x: Tensor): Tensor;
  drop(...all: readonly Tensor[]): void;
  dropAll(): void;
  /** Waits until none is computed any more, well or not: the caller may then release what computes them. */
  settled(): Promise<void>;
}

function holding(ops: Backend): Held {
  const held = new Set<Tensor>();
  const drop = (...all: readonly Tensor[]) => {
    for (const x of all) if (held.delete(x)) ops.release(x);
  };
  return {
    hold(x) {
      held.add(x);
      return x;
    },
    drop,
    dropAll: () => drop(...held),
    settled: async () => void (await Promise.allSettled([...held].map((x) => ops.wait(x)))),
  };
}

function textsOf({ ops, prompt, negative }: DenoiseOptions, held: Held): Run['texts'] {
  let both: Tensor | undefined;
  return (branches) => {
    if (branches.length === 1) return branches[0] === BRANCH.conditional ? prompt : negative!;
    both ??= held.hold(ops.concat([prompt, negative!]));
    return both;
  };
}

/** The latents after a step, once they are computed and shown. */
async function oneStep(run: Run, latents: Tensor, step: number, expert: Expert, start: number): Promise<Tensor> {
  const { ops, sampler, held, signal, cacheRun: cache } = run;
  const { timesteps } = sampler;
  const regime = `${expert.lowNoise}/${scaleAt(run, step, expert)}`;
  const kept = cache?.reuse(step, regime);
  const skipped = kept !== undefined;
  const velocity = held.hold(kept ?? (await guidedVelocity(run, latents, step, expert)));
  const next = held.hold(sampler.step(ops, velocity, latents));
  await cache?.learn({ step, latents, velocity, next, regime, skipped });
  await ops.wait(next);
  signal?.throwIfAborted();
  const density = skipped ? 0 : (await run.attention.take()).density;
  const shown = readable(step);
  await run.onStep?.({
    ...{ step, steps: timesteps.length, timestep: timesteps[step], milliseconds: performance.now() - start, density, skipped },
    latents: shown.once(() => ops.read(next)),
    clean: shown.once(() => ops.scope(() => ops.read(cleanEstimate(ops, velocity, latents, sampler.sigmas[step])))),
  });
  shown.end();
  held.drop(velocity, latents);
  return next;
}

/** Reads of a step's latents, made when they are first asked for, if that is before the end. */
function readable(step: number) {
  let ended = false;
  return {
    once(read: () => Promise<Numbers>): () => Promise<Float32Array> {
      let numbers: Promise<Numbers> | undefined;
      return async () => {
        if (!numbers && ended) throw new Error(`the latents of step ${step} are freed; ask for them before onStep is done`);
        numbers ??= read();
        return (await numbers) as Float32Array;
      };
    },
    end() {
      ended = true;
    },
  };
}

/** The guidance scale of a step; undefined for the prompt alone. */
function scaleAt({ negative, guidance, sampler }: Run, step: number, { lowNoise }: Expert): number | undefined {
  if (!negative || !isGuided(guidance, step, sampler.timesteps.length, lowNoise)) return undefined;
  return scaleOf(guidance, lowNoise);
}

/** Guided velocity u + scale (c - u), or that of the prompt alone. Nothing is waited for but sessions that must be loaded. */
async function guidedVelocity(run: Run, latents: Tensor, step: number, expert: Expert): Promise<Tensor> {
  const { ops, held, signal } = run;
  const velocity = async (input: Tensor, ...branches: readonly number[]): Promise<Tensor> => {
    signal?.throwIfAborted();
    return held.hold(await forward(run, input, branches, step, expert));
  };
  const { conditional, unconditional } = BRANCH;
  const scale = scaleAt(run, step, expert);
  if (scale === undefined) return velocity(latents, conditional);
  const mixed = (c: Tensor, u: Tensor) => ops.combine([c, u], [scale, 1 - scale]);
  if (!run.batched) {
    const [c, u] = [await velocity(latents, conditional), await velocity(latents, unconditional)];
    const mix = mixed(c, u);
    held.drop(c, u);
    return mix;
  }
  const twice = held.hold(ops.concat([latents, latents]));
  const both = await velocity(twice, conditional, unconditional);
  const mix = ops.scope(() => {
    const [c, u] = ops.split(both, 2);
    return mixed(c, u);
  });
  held.drop(twice, both);
  return mix;
}

/** One forward over latents [branches, channels, frames, height, width]. */
function forward(run: Run, latents: Tensor, branches: readonly number[], step: number, { transformer }: Expert): Promise<Tensor> {
  const { timesteps } = run.sampler;
  const { layers } = transformer.config;
  const inputs = { latents, timesteps: branches.map(() => timesteps[step]), text: run.texts(branches) };
  const seam = run.attention.attention;
  const site = { step, steps: timesteps.length, layers, branches };
  const [, , frames, height, width] = latents.shape;
  const layout = run.attention.order({ ...site, grid: transformer.grid({ frames, height, width }) });
  const ordered = layout ? { ...site, layout } : site;
  return transformer.forward(inputs, (q, k, v, layer, grid) => seam(q, k, v, { ...ordered, layer, grid }), layout);
}
