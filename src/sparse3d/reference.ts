// The naive twins, in f64 on plain arrays: what every fast version is held against. Clear, never optimised.
import { type Layout, type Level, PAD } from './plan.ts';

/** Rows of numbers: [tokens][dim]. One head. */
export type Rows = readonly (readonly number[])[];

/** Attention output [tokens][dim] and natural-log row log-sum-exp [tokens]. */
export interface ReferenceAttended {
  readonly out: number[][];
  readonly lse: number[];
}

/** One thing a query can attend to: a token, or the mean of `count` tokens. */
export interface Entry {
  readonly key: readonly number[];
  readonly value: readonly number[];
  readonly count: number;
}

/** For one query block of one head: key blocks and the pool factor each is read with. */
export type PlanRow = readonly { readonly block: number; readonly pool: number }[];

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, index) => sum + x * b[index], 0);
const sum = (numbers: readonly number[]): number => numbers.reduce((total, x) => total + x, 0);

/** Splits [heads, tokens, dim] numbers into one `Rows` per head. */
export function rowsOf(numbers: ArrayLike<number>, heads: number, dim: number): number[][][] {
  const tokens = numbers.length / heads / dim;
  return Array.from({ length: heads }, (_, head) =>
    Array.from({ length: tokens }, (__, token) =>
      Array.from({ length: dim }, (___, index) => numbers[(head * tokens + token) * dim + index]),
    ),
  );
}

/** Softmax attention of one query over entries: logits scale * q.k + ln(count), with scale 1/sqrt(dim). */
export function attendEntries(query: readonly number[], entries: readonly Entry[]): { out: number[]; lse: number } {
  const logits = entries.map(({ key, count }) => dot(query, key) / Math.sqrt(query.length) + Math.log(count));
  const largest = Math.max(...logits);
  const lse = largest + Math.log(sum(logits.map((logit) => Math.exp(logit - largest))));
  const out = entries[0].value.map((_, index) => sum(entries.map(({ value }, entry) => Math.exp(logits[entry] - lse) * value[index])));
  return { out, lse };
}

/** Exact softmax attention of one head. */
export function attendAllReference(q: Rows, k: Rows, v: Rows): ReferenceAttended {
  const entries = k.map((key, index) => ({ key, value: v[index], count: 1 }));
  const rows = q.map((query) => attendEntries(query, entries));
  return { out: rows.map(({ out }) => out), lse: rows.map(({ lse }) => lse) };
}

/** The mean of some rows. */
export const meanOf = (rows: Rows): number[] => rows[0].map((_, index) => sum(rows.map((row) => row[index])) / rows.length);

/**
 * One key block (of a raster k and v) pooled by `pool`: its slots in layout order, `pool` at a time; each group becomes the mean of its real tokens
 * and remembers how many they are. A group without a real token does not exist. (PSA, arXiv 2512.04025, section 3, with true counts.)
 */
export function poolReference(k: Rows, v: Rows, layout: Layout, block: number, pool: number): Entry[] {
  const entries: Entry[] = [];
  for (let slot = block * layout.block; slot < (block + 1) * layout.block; slot += pool) {
    const tokens = [...layout.order.subarray(slot, slot + pool)].filter((token) => token !== PAD);
    if (tokens.length > 0)
      entries.push({ key: meanOf(tokens.map((token) => k[token])), value: meanOf(tokens.map((token) => v[token])), count: tokens.length });
  }
  return entries;
}

/** Attention of one head by a plan. q, k, v and the results are in raster order; `plan[b]` is what query block b reads. */
export function attendReference(q: Rows, k: Rows, v: Rows, plan: readonly PlanRow[], layout: { q: Layout; k: Layout }): ReferenceAttended {
  const out: number[][] = [];
  const lse: number[] = [];
  for (const [queryBlock, row] of plan.entries()) {
    const entries = row.flatMap(({ block, pool }) => poolReference(k, v, layout.k, block, pool));
    for (const token of tokensIn(layout.q, queryBlock)) {
      const result = attendEntries(q[token], entries);
      out[token] = result.out;
      lse[token] = result.lse;
    }
  }
  return { out, lse };
}

/** Mass of each block pair of one head, [qBlocks][kBlocks]: sum over rows and keys of exp(scale q.k - lse[row]); q, k, lse in raster order. */
export function blockMassReference(q: Rows, k: Rows, lse: readonly number[], layout: { q: Layout; k: Layout }): number[][] {
  const mass = (row: number, key: number) => Math.exp(dot(q[row], k[key]) / Math.sqrt(q[row].length) - lse[row]);
  return Array.from({ length: layout.q.blocks }, (_, queryBlock) =>
    Array.from({ length: layout.k.blocks }, (__, keyBlock) =>
      sum(tokensIn(layout.q, queryBlock).flatMap((row) => tokensIn(layout.k, keyBlock).map((key) => mass(row, key)))),
    ),
  );
}

/** Real tokens of a block. */
export const tokensIn = (layout: Layout, block: number): number[] =>
  [...layout.order.subarray(block * layout.block, (block + 1) * layout.block)].filter((token) => token !== PAD);

/**
 * One head's rows of a plan's numbers: counts [heads, qBlocks, levels], blocks [heads, qBlocks, width]. A row that reads all `keyBlocks` at the
 * finest level has no list.
 */
export function planRows(
  counts: Int32Array,
  blocks: Int32Array,
  levels: readonly Level[],
  head: number,
  queryBlocks: number,
  width: number,
  keyBlocks = width,
): PlanRow[] {
  return Array.from({ length: queryBlocks }, (_, queryBlock) => {
    const row = head * queryBlocks + queryBlock;
    if (counts[row * levels.length] === keyBlocks)
      return Array.from({ length: keyBlocks }, (__, block) => ({ block, pool: levels[0].pool }));
    let at = row * width;
    return levels.flatMap(({ pool }, level) =>
      Array.from({ length: counts[row * levels.length + level] }, () => ({ block: blocks[at++], pool })),
    );
  });
}
