// UniPCMultistepScheduler of diffusers for flow matching: UniPC-p with B2(h) = expm1(h), predicting x0
// (Zhao et al., arXiv 2302.04867, algorithms 5 and 6; multistep, orders 1 to 3).
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

const round = Math.fround;

/** UniPC sampler: predictor, and corrector on the step before. Arithmetic is float32 where the reference's is. Errors: see `createSampler`. */
export function uniPC(config: Config, options: SamplerOptions): Sampler {
  allowOnly({ ...assumed, ...config }, supported);
  const { steps } = options;
  const order = integer(config, 'solver_order', 2);
  const uncorrected = numbers(config, 'disable_corrector', []);
  const { timesteps, sigmas } = uniPCSigmas(config, options);
  let current = 0;
  let lastOrder = 0;
  let last: Float32Array | undefined;
  // x0 estimates, newest first.
  let history: readonly Float32Array[] = [];
  return {
    timesteps,
    sigmas,
    step(velocity, sample) {
      checkStep(current, steps, velocity, sample);
      const clean = cleanEstimate(velocity, sample, sigmas[current]);
      const correct = last !== undefined && !uncorrected.includes(current - 1);
      const start = correct ? advance(sigmas, current - 1, lastOrder, last!, history, clean) : sample;
      history = [clean, ...history.slice(0, order - 1)];
      lastOrder = Math.min(order, steps - current, current + 1);
      last = start;
      const next = advance(sigmas, current, lastOrder, start, history);
      current++;
      return next;
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

/**
 * From `sample` at sigma index `from` to `from + 1` with the x0 estimates `history` (newest, at `from`, first).
 * `target`, the x0 estimate at `from + 1`, makes it the corrector (UniC); without it, it is the predictor (UniP).
 */
function advance(
  sigmas: Float32Array,
  from: number,
  order: number,
  sample: Float32Array,
  history: readonly Float32Array[],
  target?: Float32Array,
): Float32Array {
  const lambda = (i: number) => round(round(Math.log(round(1 - sigmas[i]))) - round(Math.log(sigmas[i])));
  const h = round(lambda(from + 1) - lambda(from));
  const growth = round(Math.expm1(-h));
  const alpha = round(1 - sigmas[from + 1]);
  const ratios = Array.from({ length: order - 1 }, (_, j) => round(round(lambda(from - 1 - j) - lambda(from)) / h));
  const keep = round(sigmas[from + 1] / sigmas[from]);
  const pull = round(alpha * growth);
  const weights = solverWeights(ratios, h, growth, target !== undefined);
  const [newest] = history;
  const out = new Float32Array(sample.length);
  for (let i = 0; i < out.length; i++) {
    let rest = 0;
    for (let j = 0; j < ratios.length; j++)
      rest = round(rest + round(weights[j] * round(round(history[j + 1][i] - newest[i]) / ratios[j])));
    if (target) rest = round(rest + round(weights[ratios.length] * round(target[i] - newest[i])));
    const base = round(round(keep * sample[i]) - round(pull * newest[i]));
    out[i] = base - round(pull * rest);
  }
  return out;
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
