// A step cache: the velocity of an earlier step is used again where the model is expected to give nearly the same, and its forwards are skipped.

import type { Backend } from '../backend/backend.ts';
import { checkOptions } from '../checks.ts';
import { checkStart, startOf } from '../search/schedule.ts';
import { elements, type Tensor } from '../tensor.ts';

/** When steps may be skipped; made by `stepCache`. */
export interface StepCache {
  /** The change of the velocity, as a share of its size, that may add up before the model runs again. */
  readonly threshold: number;
  /** What is always computed at the start: a share of the steps below 1, or a count. */
  readonly warmup: number;
}

/** When steps may be skipped. */
export interface StepCacheOptions {
  /** Default .05, as EasyCache has for Wan 2.1. 0 skips nothing. */
  readonly threshold?: number;
  /** Default .2, as EasyCache has (10 of 50 steps). */
  readonly warmup?: number;
}

/**
 * EasyCache (arXiv 2507.02860, section 3.3): a step's relative change of the velocity v is foretold as k |x - x'| / |v|, where x' are the latents
 * of the step before and k = |change of v| / |change of x| between the last two steps that were computed. Steps are skipped while the sum stays
 * below the threshold; |.| is a mean of absolute values. TeaCache (arXiv 2411.19108) adds up in the same way, but foretells from the model's
 * modulated input with polynomials fitted to each model, which a model of one's own has not.
 *
 * It departs from EasyCache thus: the velocity itself is used again, not v - x of the computed step added to the new latents, because the former
 * is 6 to 8 dB nearer to the run without a cache on the embedded model; one velocity, with guidance, is measured and kept, not one for each branch;
 * the step at which guidance or the transformer changes is computed, and so is the next. The last step is always computed.
 *
 * The decision reads at most four numbers a step from a GPU, in the wait at its end; nothing else leaves it. Two more latents are held.
 * @throws TypeError for options that are no object; RangeError for a threshold that is no finite number from 0 on, or a warm-up that is neither a share nor a count.
 */
export function stepCache(options: StepCacheOptions = {}): StepCache {
  checkOptions('stepCache', options, ['threshold'], ['threshold', 'warmup']);
  const { threshold = 0.05, warmup = 0.2 } = options;
  if (!(Number.isFinite(threshold) && threshold >= 0))
    throw new RangeError(`a step cache with threshold ${threshold} is not possible; give a finite number from 0 on, such as 0.05`);
  checkStart({ warmup });
  return { threshold, warmup };
}

/** Steps of a run that are not sure to be computed: all but the warm-up (two steps at least), and the last one. */
export const skippable = ({ warmup, threshold }: StepCache, steps: number): number =>
  threshold > 0 ? Math.max(0, steps - 1 - firstSkippable(warmup, steps)) : 0;

// Two computed steps tell how fast the velocity changes.
const firstSkippable = (warmup: number, steps: number): number => Math.max(2, startOf(warmup, steps));

/** What a step was: its latents, the velocity used, the latents after it, and what computes velocities, which differs where they cannot be compared. */
export interface CachedStep {
  readonly step: number;
  readonly latents: Tensor;
  readonly velocity: Tensor;
  readonly next: Tensor;
  readonly regime: unknown;
  readonly skipped: boolean;
}

/** The cache of one run; `regime` is what computes a step's velocity, by identity. */
export interface StepCacheRun {
  /** The kept velocity, as a new handle, where this step may be skipped. */
  reuse(step: number, regime: unknown): Tensor | undefined;
  /** Learns from a step; waits for its numbers where a later step may be skipped. */
  learn(step: CachedStep): Promise<void>;
  dispose(): void;
}

/** Follows one run of so many steps. */
export function openStepCache(ops: Backend, cache: StepCache, steps: number): StepCacheRun {
  const first = firstSkippable(cache.warmup, steps);
  let kept: { readonly velocity: Tensor; readonly latents: Tensor; readonly regime: unknown } | undefined;
  let [rate, size, change] = [Number.NaN, Number.NaN, 0];
  const forget = () => {
    if (kept) for (const held of [kept.velocity, kept.latents]) ops.release(held);
    kept = undefined;
  };
  return {
    reuse(step, regime) {
      const may = kept && kept.regime === regime && step >= first && step < steps - 1 && change < cache.threshold;
      return may ? copy(ops, kept!.velocity) : undefined;
    },
    async learn({ step, latents, velocity, next, regime, skipped }) {
      const before = kept?.regime === regime ? kept : undefined;
      const useful = step + 1 >= first && step + 1 < steps - 1;
      if (useful && (skipped || before)) {
        const pairs: Change[] = [[next, latents]];
        if (!skipped) pairs.push([velocity], [velocity, before!.velocity], [latents, before!.latents]);
        const [moved, ...measured] = await meanSizes(ops, pairs);
        if (!skipped) [rate, size] = [measured[1] / measured[2], measured[0]];
        change = (skipped ? change : 0) + (rate * moved) / size;
      } else change = Number.NaN;
      if (skipped) return;
      forget();
      kept = { velocity: ops.keep(copy(ops, velocity)), latents: ops.keep(copy(ops, latents)), regime };
    },
    dispose: forget,
  };
}

const copy = (ops: Backend, x: Tensor): Tensor => ops.combine([x], [1]);

/** One tensor, or the difference of two. */
type Change = readonly [Tensor, Tensor?];

/** The mean absolute value of each, in one read of as many numbers. */
async function meanSizes(ops: Backend, changes: readonly Change[]): Promise<number[]> {
  const sizes = ops.scope(() => ops.keep(ops.concat(changes.map(([a, b]) => meanSize(ops, b ? ops.combine([a, b], [1, -1]) : a)))));
  try {
    return [...(await ops.read(sizes))];
  } finally {
    ops.release(sizes);
  }
}

/** [1] */
function meanSize(ops: Backend, x: Tensor): Tensor {
  const width = x.shape.at(-1)!;
  const rows = ops.reshape(x, [elements(x.shape) / width, width]);
  const means = ops.reduce(ops.multiply(rows, ops.step(rows, 0, -1, 1)), 'mean');
  return ops.reduce(ops.reshape(means, [1, means.shape[0]]), 'mean');
}
