// Inputs of the attention tests: seeded numbers with outliers, and plans.
import type { Backend } from '../../src/backend/backend.ts';
import { type PlanNumbers, type PlanSize, randomPlan as randomNumbers, uploadPlan } from '../../src/conformance/plans.ts';
import type { Plan } from '../../src/sparse3d/plan.ts';

/** Seeded uniform numbers in 0..1 (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Roughly normal numbers; one in 50 is `outlier` times as large. */
export function numbers(length: number, seed: number, outlier = 8): Float32Array {
  const random = seeded(seed);
  return Float32Array.from({ length }, () => (random() + random() + random() - 1.5) * 2 * (random() < 0.02 ? outlier : 1));
}

/** The random plan of the conformance checks, with its numbers. */
export function randomPlan(upload: Upload, heads: number, queryBlocks: number, keyBlocks: number, pools: readonly number[], seed: number) {
  const size = { heads, queryBlocks, keyBlocks };
  return withNumbers(upload, randomNumbers(size, pools, seed), size, pools);
}

/** A plan in which every row reads the first `share` of all blocks, rotated by the row, at one level. */
export function evenPlan(upload: Upload, heads: number, queryBlocks: number, keyBlocks: number, read = keyBlocks, pool = 1) {
  const counts = new Int32Array(heads * queryBlocks).fill(read);
  const blocks = Int32Array.from({ length: heads * queryBlocks * keyBlocks }, (_, at) => {
    const [row, column] = [Math.floor(at / keyBlocks), at % keyBlocks];
    return column < read ? (row + column) % keyBlocks : -1;
  });
  return withNumbers(upload, { counts, blocks }, { heads, queryBlocks, keyBlocks }, [pool]);
}

type Upload = Backend['upload'];

export interface TestPlan extends Plan {
  readonly host: PlanNumbers<Int32Array>;
}

function withNumbers(upload: Upload, host: TestPlan['host'], size: PlanSize, pools: readonly number[]): TestPlan {
  return { ...uploadPlan({ upload }, host, size, pools), host };
}

/** Largest difference over the largest expected magnitude. */
export function relativeError(actual: ArrayLike<number>, expected: readonly number[]): number {
  if (actual.length !== expected.length) throw new RangeError(`${actual.length} numbers where ${expected.length} are expected`);
  let [worst, scale] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    if (!Number.isFinite(actual[at])) return Number.POSITIVE_INFINITY;
    worst = Math.max(worst, Math.abs(actual[at] - expected[at]));
    scale = Math.max(scale, Math.abs(expected[at]));
  }
  return worst / scale;
}
