// The naive f64 twins of what is found from rows of q, written from the formulas and never optimised. One head; q and k in raster order.
import type { Layout } from '../sparse3d/plan.ts';
import { PAD } from '../sparse3d/plan.ts';
import { meanOf, type Rows, tokensIn } from '../sparse3d/reference.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, at) => sum + x * b[at], 0);
const sum = (x: readonly number[]): number => x.reduce((total, one) => total + one, 0);
const logit = (a: readonly number[], b: readonly number[]): number => dot(a, b) / Math.sqrt(a.length);

/** exp over their sum, each `times` as often. */
function shares(logits: readonly number[], times: readonly number[]): number[] {
  const largest = Math.max(...logits);
  const exps = logits.map((x, at) => times[at] * Math.exp(x - largest));
  const total = sum(exps);
  return exps.map((x) => x / total);
}

/** Twin of `Backend.probe`: [rows][key slots]. */
export function probeReference(q: Rows, k: Rows, rows: Int32Array, layout: Layouts): number[][] {
  const slots = [...layout.k.order];
  const tokens = slots.filter((token) => token !== PAD);
  return [...rows].map((slot) => {
    const weights = shares(
      tokens.map((token) => logit(q[layout.q.order[slot]], k[token])),
      tokens.map(() => 1),
    );
    return slots.map((token) => (token === PAD ? 0 : weights[tokens.indexOf(token)]));
  });
}

/** Twin of `Backend.blockSums`: [rows][blocks] of [rows][slots]. */
export const blockSumsReference = (x: Rows, { blocks, block, order }: Layout): number[][] =>
  x.map((row) =>
    Array.from({ length: blocks }, (_, at) =>
      sum(row.slice(at * block, (at + 1) * block).filter((__, slot) => order[at * block + slot] !== PAD)),
    ),
  );

/** Tokens of each group of `stride` slots of a block that has any. */
function groupsIn(layout: Layout, block: number, stride: number): number[][] {
  const tokens = tokensIn(layout, block);
  return Array.from({ length: Math.ceil(tokens.length / stride) }, (_, at) => tokens.slice(at * stride, (at + 1) * stride));
}

/** Twin of `Backend.antidiagonal`: [qBlocks][kBlocks]. */
export function antidiagonalReference(q: Rows, k: Rows, layout: Layouts, stride: number): number[][] {
  const keyGroups = Array.from({ length: layout.k.blocks }, (_, block) => groupsIn(layout.k, block, stride));
  const all = keyGroups.flat();
  const along = (queries: readonly number[], keys: readonly number[]) =>
    sum(Array.from({ length: stride }, (_, at) => logit(q[queries[at % queries.length]], k[keys[(stride - 1 - at) % keys.length]]))) /
    stride;
  return Array.from({ length: layout.q.blocks }, (_, block) => {
    const scores = keyGroups.map(() => 0);
    for (const queries of groupsIn(layout.q, block, stride)) {
      const logits = all.map((keys) => along(queries, keys));
      const weights = shares(
        logits,
        all.map(({ length }) => length),
      );
      for (const [at, keys] of all.entries())
        scores[keyGroups.findIndex((groups) => groups.includes(keys))] += (weights[at] * queries.length) / stride;
    }
    return scores;
  });
}

/** Twin of `Backend.blockPeaks`: [qBlocks][kBlocks]. */
export function blockPeaksReference(q: Rows, k: Rows, layout: Layouts, margin: boolean): number[][] {
  const blocks = Array.from({ length: layout.k.blocks }, (_, block) => tokensIn(layout.k, block));
  return Array.from({ length: layout.q.blocks }, (_, block) => {
    const rows = tokensIn(layout.q, block).map((row) => blocks.map((tokens) => Math.max(...tokens.map((key) => logit(q[row], k[key])))));
    const below = rows.map((peaks) => peaks.map((peak) => (margin ? peak - Math.max(...peaks) : peak)));
    return blocks.map((_, at) => Math.max(...below.map((peaks) => peaks[at])));
  });
}

/** Twin of `Backend.poolingError`: [rows][blocks]; without v all values are one and the same number. */
export function poolingErrorReference(rows: Rows, k: Rows, layout: Layout, v: Rows = k.map(() => [1])): number[][] {
  const blocks = Array.from({ length: layout.blocks }, (_, block) => tokensIn(layout, block));
  return rows.map((row) => {
    const logits = k.map((key) => logit(row, key));
    const largest = Math.max(...logits);
    const total = sum(logits.map((x) => Math.exp(x - largest)));
    const weight = (key: readonly number[]) => Math.exp(logit(row, key) - largest) / total;
    return blocks.map((tokens) => {
      if (tokens.length === 0) return 0;
      const pooled = weight(meanOf(tokens.map((token) => k[token])));
      const value = meanOf(tokens.map((token) => v[token]));
      const gaps = (token: number) => value.map((x, at) => (pooled * x - weight(k[token]) * v[token][at]) ** 2);
      return sum(tokens.flatMap(gaps)) / tokens.length;
    });
  });
}

/** Twin of `Backend.divergence`, of two rows. */
export function divergenceReference(a: readonly number[], b: readonly number[]): number {
  const middle = a.map((x, at) => (x + b[at]) / 2);
  const towards = (x: readonly number[]) => sum(x.map((share, at) => (share === 0 ? 0 : share * Math.log(share / middle[at]))));
  return Math.sqrt(Math.max(0, towards(a) + towards(b)) / 2);
}

/** Twin of `Backend.lineSums`, of [rows][kBlocks]. */
export function lineSumsReference(weights: Rows, rows: Int32Array, { q, k }: Layouts): { columns: number[]; diagonals: number[] } {
  const offset = (row: number, column: number) => column - Math.floor(rows[row] / q.block) + q.blocks - 1;
  return {
    columns: Array.from({ length: k.blocks }, (_, column) => sum(weights.map((row) => row[column]))),
    diagonals: Array.from({ length: q.blocks + k.blocks - 1 }, (_, diagonal) =>
      sum(weights.flatMap((row, at) => row.filter((__, column) => offset(at, column) === diagonal))),
    ),
  };
}
