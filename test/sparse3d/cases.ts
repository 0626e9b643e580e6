// Inputs of the attention tests: seeded numbers with outliers, and plans.
import type { Level, Plan } from '../../src/sparse3d/plan.ts';
import type { Numbers, Tensor } from '../../src/tensor.ts';

/** Seeded uniform numbers in 0..1 (mulberry32). */
export function seeded(seed: number): () => number {
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

/** A random plan: each row reads a seeded number of blocks at each level, at least one in all. */
export function randomPlan(upload: Upload, heads: number, queryBlocks: number, keyBlocks: number, pools: readonly number[], seed: number) {
  const random = seeded(seed);
  const counts = new Int32Array(heads * queryBlocks * pools.length);
  const blocks = new Int32Array(heads * queryBlocks * keyBlocks).fill(-1);
  for (let row = 0; row < heads * queryBlocks; row++) {
    const shuffled = Array.from({ length: keyBlocks }, (_, block) => ({ block, key: random() })).sort((a, b) => a.key - b.key);
    const read = 1 + Math.floor(random() * keyBlocks);
    for (let at = 0; at < read; at++) blocks[row * keyBlocks + at] = shuffled[at].block;
    for (let at = 0; at < read; at++) counts[row * pools.length + Math.floor(random() * pools.length)]++;
  }
  return planOf(upload, counts, blocks, heads, queryBlocks, keyBlocks, pools);
}

/** A plan in which every row reads the first `share` of all blocks, rotated by the row, at one level. */
export function evenPlan(upload: Upload, heads: number, queryBlocks: number, keyBlocks: number, read = keyBlocks, pool = 1) {
  const counts = new Int32Array(heads * queryBlocks).fill(read);
  const blocks = Int32Array.from({ length: heads * queryBlocks * keyBlocks }, (_, at) => {
    const [row, column] = [Math.floor(at / keyBlocks), at % keyBlocks];
    return column < read ? (row + column) % keyBlocks : -1;
  });
  return planOf(upload, counts, blocks, heads, queryBlocks, keyBlocks, [pool]);
}

type Upload = (numbers: Numbers, shape: readonly number[]) => Tensor;

export interface TestPlan extends Plan {
  readonly host: { readonly counts: Int32Array; readonly blocks: Int32Array };
}

function planOf(
  upload: Upload,
  counts: Int32Array,
  blocks: Int32Array,
  heads: number,
  queryBlocks: number,
  keyBlocks: number,
  pools: readonly number[],
): TestPlan {
  const levels: Level[] = pools.map((pool) => ({ pool, upTo: 1 }));
  return {
    counts: upload(counts, [heads, queryBlocks, pools.length]),
    blocks: upload(blocks, [heads, queryBlocks, keyBlocks]),
    levels,
    host: { counts, blocks },
  };
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
