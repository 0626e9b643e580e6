// Rows of attention in f64, straight from the definition, and how far an output is from them: what each case is held against before it is timed.
import type { Backend } from '../../backend/backend.ts';
import type { Layouts } from '../../method.ts';
import { type Layout, type Plan, tokensOf, tokensOfBlock } from '../../sparse3d/plan.ts';
import { type PlanRow, planRows } from '../../sparse3d/reference.ts';
import { type Numbers, SHIFT, type Shape } from './shapes.ts';

/** Heads and tokens whose rows are looked at. */
export const headsChecked = ({ heads }: Shape): readonly number[] => [...new Set([0, heads - 1])];
export const tokensChecked = ({ grid }: Shape): readonly number[] => [...new Set([0, tokensOf(grid) >> 1, tokensOf(grid) - 1])];

/** What a query reads: groups of tokens, each as their mean. */
export type Groups = readonly ArrayLike<number>[];

/**
 * Softmax attention of one query over groups of tokens, as [dim] numbers: logits q.k / sqrt(dim) + ln(tokens of the group), where k and v are the
 * group's means.
 */
export function exactRow({ q, k, v }: Numbers, { dim }: Shape, head: number, token: number, groups: Groups): Float64Array {
  const base = head * SHIFT;
  const mean = (of: Float32Array, group: ArrayLike<number>, at: number): number => {
    let sum = 0;
    for (let index = 0; index < group.length; index++) sum += of[(base + group[index]) * dim + at];
    return sum / group.length;
  };
  const logits = Float64Array.from(groups, (group) => {
    let dot = 0;
    for (let at = 0; at < dim; at++) dot += q[(base + token) * dim + at] * mean(k, group, at);
    return dot / Math.sqrt(dim) + Math.log(group.length);
  });
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((a, b) => a + b);
  const out = new Float64Array(dim);
  for (const [index, group] of groups.entries()) for (let at = 0; at < dim; at++) out[at] += (weights[index] / total) * mean(v, group, at);
  return out;
}

/** What rows must be, for each checked head and token. */
export type Expected = readonly (readonly Float64Array[])[];

/** Full attention of the checked rows. */
export function exactDense(numbers: Numbers, shape: Shape): Expected {
  const all = Array.from({ length: tokensOf(shape.grid) }, (_, token) => [token]);
  return headsChecked(shape).map((head) => tokensChecked(shape).map((token) => exactRow(numbers, shape, head, token, all)));
}

/** The checked rows by a plan, which is read back. */
export async function exactByPlan(ops: Backend, numbers: Numbers, shape: Shape, plan: Plan, layout: Layouts): Promise<Expected> {
  const rows: Float64Array[][] = [];
  for (const head of headsChecked(shape)) {
    const lists = await rowsOfHead(ops, plan, head, layout);
    rows.push(
      tokensChecked(shape).map((token) => {
        const block = Math.floor(layout.q.order.indexOf(token) / layout.q.block);
        return exactRow(numbers, shape, head, token, groupsOf(lists[block], layout.k));
      }),
    );
  }
  return rows;
}

async function rowsOfHead(ops: Backend, { counts, blocks, levels }: Plan, head: number, layout: Layouts): Promise<PlanRow[]> {
  const own = ops.scope(() => [counts, blocks].map((x) => ops.keep(ops.split(x, x.shape[0])[head])));
  const [countNumbers, blockNumbers] = (await Promise.all(own.map((x) => ops.read(x)))) as Int32Array[];
  for (const x of own) ops.release(x);
  return planRows(countNumbers, blockNumbers, levels, 0, layout.q.blocks, blocks.shape[2], layout.k.blocks);
}

function groupsOf(row: PlanRow, layout: Layout): Groups {
  return row.flatMap(({ block, pool }) => {
    const tokens = tokensOfBlock(layout, block);
    return Array.from({ length: Math.ceil(tokens.length / pool) }, (_, at) => tokens.subarray(at * pool, (at + 1) * pool));
  });
}

/** Relative Euclidean error of the checked rows; `out` holds the checked heads, [heads checked, tokens, dim]. NaN when a number is. */
export function rowError(out: ArrayLike<number>, shape: Shape, expected: Expected): number {
  let [difference, norm] = [0, 0];
  for (const [head, rows] of expected.entries())
    for (const [index, row] of rows.entries()) {
      const start = (head * tokensOf(shape.grid) + tokensChecked(shape)[index]) * shape.dim;
      for (let at = 0; at < shape.dim; at++) {
        difference += (out[start + at] - row[at]) ** 2;
        norm += row[at] ** 2;
      }
    }
  return Math.sqrt(difference / norm);
}
