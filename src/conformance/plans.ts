// Plans of checks: seeded random ones, and how much two plans differ.
import type { Backend } from '../backend/backend.ts';
import { randomFrom } from '../search/sampling.ts';
import { PAD, type Plan } from '../sparse3d/plan.ts';
import type { Numbers } from '../tensor.ts';

export interface PlanSize {
  readonly heads: number;
  readonly queryBlocks: number;
  readonly keyBlocks: number;
}

/** The numbers of a plan. */
export interface PlanNumbers<N extends Numbers = Numbers> {
  readonly counts: N;
  readonly blocks: N;
}

/** A plan whose rows read 1 to `most` random key blocks, each at a random level of `pools`. */
export function randomPlan(
  { heads, queryBlocks, keyBlocks }: PlanSize,
  pools: readonly number[],
  seed: number,
  most = keyBlocks,
): PlanNumbers<Int32Array> {
  const random = randomFrom(seed);
  const counts = new Int32Array(heads * queryBlocks * pools.length);
  const blocks = new Int32Array(heads * queryBlocks * keyBlocks).fill(PAD);
  for (let row = 0; row < heads * queryBlocks; row++) {
    const read = 1 + Math.floor(random() * most);
    const choices = Array.from({ length: keyBlocks }, (_, block) => block);
    for (let at = 0; at < read; at++) {
      const other = at + Math.floor(random() * (keyBlocks - at));
      [choices[at], choices[other]] = [choices[other], choices[at]];
      counts[row * pools.length + Math.floor(random() * pools.length)]++;
    }
    blocks.set(choices.slice(0, read), row * keyBlocks);
  }
  return { counts, blocks };
}

/** A plan's numbers as a plan of a backend. */
export function uploadPlan(
  ops: Pick<Backend, 'upload'>,
  { counts, blocks }: PlanNumbers,
  { heads, queryBlocks, keyBlocks }: PlanSize,
  pools: readonly number[],
): Plan {
  return {
    counts: ops.upload(counts, [heads, queryBlocks, pools.length]),
    blocks: ops.upload(blocks, [heads, queryBlocks, blocks.length / heads / queryBlocks]),
    levels: pools.map((pool) => ({ pool, upTo: 1 })),
    keyBlocks,
  };
}

/** The plan that reads everything: no lists are needed. */
export function planOfAll(ops: Backend, { heads, queryBlocks, keyBlocks }: PlanSize): Plan {
  const rows = heads * queryBlocks;
  return uploadPlan(
    ops,
    { counts: new Int32Array(rows).fill(keyBlocks), blocks: new Int32Array(rows) },
    { heads, queryBlocks, keyBlocks },
    [1],
  );
}

/** Share of rows that do not read the same blocks at the same levels, in whatever order. */
export function planDifference(actual: PlanNumbers, expected: PlanNumbers, { counts: { shape } }: Plan, keyBlocks: number): number {
  const [heads, queryBlocks, levels] = shape;
  const rows = heads * queryBlocks;
  if (actual.counts.length !== expected.counts.length) return 1;
  let different = 0;
  for (let row = 0; row < rows; row++) {
    const [read, wanted] = [actual, expected].map((plan) => readBy(plan, row, rows, levels, keyBlocks));
    if (read !== wanted) different++;
  }
  return different / rows;
}

/** What a row reads, as a text: its blocks in rising order, level by level. Where the finest level is everything there need be no list. */
function readBy({ counts, blocks }: PlanNumbers, row: number, rows: number, levels: number, keyBlocks: number): string {
  const own = [...counts.subarray(row * levels, (row + 1) * levels)];
  if (own[0] === keyBlocks) return 'all';
  let end = (row * blocks.length) / rows;
  const groups = own.map((count) => {
    end += count;
    return blocks
      .subarray(end - count, end)
      .toSorted()
      .join();
  });
  return groups.join(';');
}
