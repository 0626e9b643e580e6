// UniPCMultistepScheduler of diffusers for flow matching: UniPC-p with B2(h) = expm1(h), predicting x0
// (Zhao et al., arXiv 2302.04867, algorithms 5 and 6; multistep, orders 1 to 3).

import type { Tensor } from '../tensor.ts';
import { type Config, integer, number, numbers } from './config.ts';
import type { Sampler, SamplerOptions } from './sampler.ts';
import { allowOnly, checkStep, cleanEstimate, linspace, shifted } from './sigmas.ts';

const supported = {
  prediction_type: ['flow_prediction'],
  use_flow_sigmas: [true],
  predict_x0: [true],
  solver_order: [1, 2, 3],
  // B1(h) gives NaN at the last sigma, 0; so does an order above 1 there.
  solver_type: ['bh2'],
  lower_order_final: [true],
  final_sigmas_type: ['zero'],
  thresholding: [false],
  solver_p: [],
  use_karras_sigmas: [false],
  use_exponential_sigmas: [false],
  use_beta_sigmas: [false],
  use_dynamic_shifting: [false],
  shift_terminal: [],
};

/** What the reference assumes where a config is silent, and what is not supported here. */
const assumed = { prediction_type: 'epsilon', use_flow_sigmas: false };

/** UniPC sampler: corrector of the step before, and predictor, as one sum of tensors. Errors: see `createSampler`. */
export function uniPC(config: Config, options: SamplerOptions): Sampler {
  allowOnly({ ...assumed, ...config }, supported);
  const { steps } = options;
  const order = integer(config, 'solver_order', 2);
  const uncorrected = numbers(config, 'disable_corrector', []);
  const { timesteps, sigmas } = uniPCSigmas(config, options);
  const orderAt = (step: number) => Math.min(order, steps - step, step + 1);
  let current = 0;
  // x0 estimates of earlier steps, newest first.
  const history: Tensor[] = [];
  return {
    timesteps,
    sigmas,
    step(ops, velocity, sample) {
      checkStep(current, steps, velocity, sample);
      const correct = current > 0 && !uncorrected.includes(current - 1);
      return ops.scope(() => {
        const clean = cleanEstimate(ops, velocity, sample, sigmas[current]);
        const predicted = advance(sigmas, current, orderAt(current));
        const corrected = correct ? correction(sigmas, current - 1, orderAt(current - 1)) : [];
        const weights = [clean, ...history].map((_, at) => predicted.keep * (corrected[at] ?? 0) + (predicted.estimates[at] ?? 0));
        const next = ops.combine([sample, clean, ...history], [predicted.keep, ...weights]);
        history.unshift(ops.keep(clean));
        for (const old of history.splice(order)) ops.release(old);
        current++;
        return next;
      });
    },
    dispose(ops) {
      for (const estimate of history.splice(0)) ops.release(estimate);
    },
  };
}

/** Noise levels are shifted in float64, and only then rounded; timesteps are truncated from the float64 values. */
function uniPCSigmas(config: Config, options: SamplerOptions): { timesteps: Float64Array; sigmas: Float32Array } {
  const { steps, ladder = 'current' } = options;
  const trained = integer(config, 'num_train_timesteps', 1000);
  const shift = options.flowShift ?? number(config, 'flow_shift', 1);
  if (!(shift > 0)) throw new RangeError(`UniPCMultistepScheduler: "flow_shift" is ${shift}; it must be above 0.`);
  const falling = linspace(1, 1 / trained, steps + 1);
  const plain = ladder === 'legacy' ? falling.map((sigma) => 1 - sigma).reverse() : falling;
  const levels = (options.sigmas ?? plain.slice(0, steps)).map((sigma) => shifted(sigma, shift));
  // At sigma 1, alpha is 0 and its logarithm infinite.
  if (Math.abs(levels[0] - 1) < 1e-6) levels[0] -= 1e-6;
  return { timesteps: Float64Array.from(levels, (sigma) => Math.trunc(sigma * trained)), sigmas: Float32Array.from([...levels, 0]) };
}

/** What a step is the sum of: a share of the sample, and shares of x0 estimates, that of the step's start first. */
interface Shares {
  readonly keep: number;
  readonly estimates: readonly number[];
  /** Of the x0 estimate at the step's end, which makes it the corrector (UniC); without it, it is the predictor (UniP). */
  readonly target: number;
}

/** The step from sigma index `from` to `from + 1`. */
function advance(sigmas: Float32Array, from: number, order: number, corrector = false): Shares {
  const lambda = (i: number) => Math.log(1 - sigmas[i]) - Math.log(sigmas[i]);
  const h = lambda(from + 1) - lambda(from);
  const growth = Math.expm1(-h);
  const pull = (1 - sigmas[from + 1]) * growth;
  const ratios = Array.from({ length: order - 1 }, (_, j) => (lambda(from - 1 - j) - lambda(from)) / h);
  const slopes = solverWeights(ratios, h, growth, corrector).map((weight, j) => (-pull * weight) / (ratios[j] ?? 1));
  const newest = slopes.reduce((rest, slope) => rest - slope, -pull);
  return {
    keep: sigmas[from + 1] / sigmas[from],
    estimates: [newest, ...slopes.slice(0, ratios.length)],
    target: slopes[ratios.length] ?? 0,
  };
}

/**
 * What the corrector adds to a predicted sample: shares of the x0 estimates, that of the step's end first. Both start from one sample and keep the
 * same share of it, so that it need not be known any more.
 */
function correction(sigmas: Float32Array, from: number, order: number): number[] {
  const predicted = advance(sigmas, from, order);
  const corrected = advance(sigmas, from, order, true);
  return [corrected.target, ...corrected.estimates.map((share, at) => share - predicted.estimates[at])];
}

/** Weights of the differences of x0: one for each earlier estimate and, for the corrector, one more for the new estimate. */
function solverWeights(ratios: readonly number[], h: number, growth: number, corrector: boolean): number[] {
  const points = corrector ? [...ratios, 1] : ratios;
  // With one point the reference takes 1/2, the limit of the solution for small h.
  if (points.length <= 1) return points.map(() => 0.5);
  let phi = growth / -h - 1;
  let factorial = 1;
  const rows = points.map((_, k) => {
    const right = (phi * factorial) / growth;
    factorial *= k + 2;
    phi = phi / -h - 1 / factorial;
    return [...points.map((point) => point ** k), right];
  });
  return solve(rows);
}

/** Solves the augmented system `rows` ([n, n + 1]) by elimination with row pivoting; changes `rows`. */
function solve(rows: number[][]): number[] {
  const n = rows.length;
  for (let k = 0; k < n; k++) {
    const pivot = rows.slice(k).reduce((best, row, i) => (Math.abs(row[k]) > Math.abs(rows[best][k]) ? k + i : best), k);
    [rows[k], rows[pivot]] = [rows[pivot], rows[k]];
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = rows[i][k] / rows[k][k];
      rows[i] = rows[i].map((value, j) => value - factor * rows[k][j]);
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}
