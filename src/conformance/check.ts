// A check runs the same steps on a backend and in f64, and holds the results against each other. It knows nothing of test runners.
import type { Backend } from '../backend/backend.ts';
import { UnsupportedError } from '../errors.ts';
import type { Plan } from '../sparse3d/plan.ts';
import type { Numbers, Tensor } from '../tensor.ts';
import { planDifference } from './plans.ts';
import { referenceBackend } from './reference-backend.ts';

/** What a check costs: `quick` ones make a self-test, `small` ones suit a software GPU, `medium` ones a CPU, `large` ones want a real GPU. */
export type Size = 'quick' | 'small' | 'medium' | 'large';

/** The result that is worst for its tolerance; a check passes when `error <= tolerance`. */
export interface Measured {
  readonly what: string;
  readonly error: number;
  readonly tolerance: number;
}

/** A check that cannot run on a backend says why. */
export interface Skipped {
  readonly skipped: string;
}

export interface Check {
  readonly name: string;
  readonly size: Size;
  /** Rejects only when an operation fails. */
  run(ops: Backend): Promise<Measured | Skipped>;
}

/**
 * How far a result may be from f64: `relative` is the largest difference over the largest expected number, `absolute` the largest difference,
 * `plan` the share of rows that read other blocks.
 */
export interface Bound {
  readonly measure: 'relative' | 'absolute' | 'plan';
  readonly tolerance: number;
}

/** What steps hand back, by name. */
export type Results = Readonly<Record<string, Tensor | Plan>>;

/** A check of `steps`, whose every result has a bound. The f64 results are computed once. */
export function check(name: string, size: Size, steps: (ops: Backend) => Results, bounds: Readonly<Record<string, Bound>>): Check {
  let expected: Promise<readonly Read[]> | undefined;
  return {
    name,
    size,
    run: (ops) =>
      unlessUnsupported(async () => {
        const actual = await readAll(
          ops,
          ops.scope(() => steps(ops)),
        );
        expected ??= readAll(referenceBackend, steps(referenceBackend));
        const twins = await expected;
        return worst(actual.map((result, at) => measured(result, twins[at], bounds[result.what])));
      }),
  };
}

/** The outcome of `run`, or the reason for which it is unsupported. */
export async function unlessUnsupported(run: () => Promise<Measured>): Promise<Measured | Skipped> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof UnsupportedError) return { skipped: error.message };
    throw error;
  }
}

/** The one that is worst for its tolerance. */
export const worst = (all: readonly Measured[]): Measured => all.reduce((most, next) => (excess(next) > excess(most) ? next : most));

const excess = ({ error, tolerance }: Measured): number => (error === 0 ? 0 : error / tolerance);

interface Read {
  readonly what: string;
  readonly numbers: readonly Numbers[];
  /** Of a plan: shapes, levels, key blocks. */
  readonly plan?: Plan;
}

async function readAll(ops: Backend, results: Results): Promise<readonly Read[]> {
  const reads = Object.entries(results).map(async ([what, result]) => {
    const plan = 'counts' in result ? result : undefined;
    const tensors = plan ? [plan.counts, plan.blocks] : [result as Tensor];
    const numbers = await Promise.all(tensors.map((tensor) => ops.read(tensor)));
    for (const tensor of tensors) ops.release(tensor);
    return { what, numbers, plan };
  });
  return Promise.all(reads);
}

function measured({ what, numbers, plan }: Read, twin: Read, { measure, tolerance }: Bound): Measured {
  if (plan) {
    const [own, other] = [numbers, twin.numbers].map(([counts, blocks]) => ({ counts, blocks }));
    return { what, error: planDifference(own, other, plan, plan.keyBlocks ?? plan.blocks.shape[2]), tolerance };
  }
  return { what, error: difference(numbers[0], twin.numbers[0], measure === 'relative'), tolerance };
}

/** The largest difference, over the largest expected number when `relative`; infinite where one is no number and the other is. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>, relative: boolean): number {
  if (actual.length !== expected.length) return Infinity;
  let [largest, scale] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    if (Object.is(actual[at], expected[at])) continue;
    const gap = Math.abs(actual[at] - expected[at]);
    largest = Number.isNaN(gap) ? Infinity : Math.max(largest, gap);
  }
  if (!relative) return largest;
  for (let at = 0; at < expected.length; at++) scale = Math.max(scale, Math.abs(expected[at]));
  return scale === 0 ? largest : largest / scale;
}
