// Selection on plain numbers: scores to plans, the share of mass that a plan keeps, head budgets, and how coarsely a key block may be read.
import type { Selection } from '../backend/backend.ts';
import { type Layout, type Level, PAD } from '../sparse3d/plan.ts';
import { type Cut, cutRow, reachTogether } from './cut.ts';
import { planWidth } from './width.ts';

/** Heads, query blocks and key blocks of a score table. */
export type TableShape = readonly [heads: number, qBlocks: number, kBlocks: number];

export interface SelectionNumbers extends Omit<Selection, 'cap' | 'budgets'> {
  readonly cap?: Int32Array;
  readonly budgets?: Float32Array;
}

export interface PlanNumbers {
  readonly counts: Int32Array;
  readonly blocks: Int32Array;
}

/**
 * `Backend.select` on numbers; blocks [heads, qBlocks, `planWidth`] padded with PAD, inside a level the forced ones first, then by falling
 * score. A row that reads all in full has no list; one that does not fit its width is read so.
 */
export function selectBlocks(scores: Float32Array, [heads, qBlocks, kBlocks]: TableShape, selection: SelectionNumbers): PlanNumbers {
  const { levels, cap, budgets, over = 'row' } = selection;
  const width = planWidth(selection, kBlocks);
  const together = over === 'head' ? qBlocks : heads * qBlocks;
  let reached: readonly number[][] = [];
  const counts = new Int32Array(heads * qBlocks * levels.length);
  const blocks = new Int32Array(heads * qBlocks * width).fill(PAD);
  for (let row = 0; row < heads * qBlocks; row++) {
    const head = Math.floor(row / qBlocks);
    const ofRow = scores.subarray(row * kBlocks, (row + 1) * kBlocks);
    const budget = budgets?.[head] ?? 1;
    if (over !== 'row' && row % together === 0)
      reached = reachTogether(scores.subarray(row * kBlocks, (row + together) * kBlocks), kBlocks, selection, budget);
    const groups = groupRow(
      ofRow,
      { ...selection, budget, reached: reached[row % together] },
      cap?.subarray(head * kBlocks, (head + 1) * kBlocks),
    );
    const read = groups.flat();
    if (groups[0].length === kBlocks || read.length > width) {
      counts[row * levels.length] = kBlocks;
      continue;
    }
    for (const [level, group] of groups.entries()) counts[row * levels.length + level] = group.length;
    blocks.set(read, row * width);
  }
  return { counts, blocks };
}

/** The key blocks that a row of scores reads, by level. */
function groupRow(scores: Float32Array, selection: Cut, cap?: Int32Array): number[][] {
  const { levels } = selection;
  const { forced, open } = sortRow(scores);
  const sorted = open.map((block) => scores[block]);
  const ends = cutRow(sorted, scores.length - forced.length, selection);
  if (forced.length === 0) keepBest(open, ends);
  const groups: number[][] = levels.map(() => []);
  groups[0].push(...forced);
  for (let at = 0, level = 0; at < ends[levels.length - 1]; at++) {
    while (at >= ends[level]) level++;
    groups[cap ? finer(levels, level, cap[open[at]]) : level].push(open[at]);
  }
  return groups;
}

/** Forced blocks, and the others by falling score, equal scores by index. Forbidden ones (-Infinity, or no number) are in neither. */
function sortRow(row: Float32Array): { forced: number[]; open: number[] } {
  const forced: number[] = [];
  const keys = new Float64Array(row.length);
  let count = 0;
  for (let block = 0; block < row.length; block++) {
    if (row[block] === Infinity) forced.push(block);
    else if (Number.isFinite(row[block])) keys[count++] = sortKey(row[block], block);
  }
  const open: number[] = [];
  for (const key of keys.subarray(0, count).sort()) open.push(key - Math.floor(key / MOST_BLOCKS) * MOST_BLOCKS);
  return { forced, open };
}

const MOST_BLOCKS = 2 ** 21;
const scoreBits = new Float32Array(1);
const wholeBits = new Int32Array(scoreBits.buffer);

/** A whole number that rises as scores fall, then with the block: numbers sort many times faster than objects. */
function sortKey(score: number, block: number): number {
  scoreBits[0] = score + 0;
  const bits = wholeBits[0];
  const falling = bits >= 0 ? 0x7fffffff - bits : 0x80000000 + (bits & 0x7fffffff);
  return falling * MOST_BLOCKS + block;
}

/** A row is never empty: its best block, or block 0 when all are forbidden, is read at the finest level. */
function keepBest(open: number[], ends: number[]): void {
  if (open.length === 0) open.push(0);
  if (ends[ends.length - 1] === 0) ends.fill(1);
}

/** The coarsest level from `level` down that pools by no more than `cap`; the finest when none does. */
function finer(levels: readonly Level[], level: number, cap: number): number {
  while (level > 0 && levels[level].pool > cap) level--;
  return level;
}

/** `Backend.recall` on numbers: kept share of each head's finite scores; 1 for a head without any mass to lose. */
export function recallOf(scores: Float32Array, [heads, qBlocks, kBlocks]: TableShape, plan: PlanNumbers, width: number): Float32Array {
  const result = new Float32Array(heads);
  const levels = plan.counts.length / (heads * qBlocks);
  for (let head = 0; head < heads; head++) {
    let kept = 0;
    let total = 0;
    for (let row = head * qBlocks; row < (head + 1) * qBlocks; row++) {
      const finite = scores.subarray(row * kBlocks, (row + 1) * kBlocks).map((score) => (Number.isFinite(score) ? score : 0));
      const all = finite.reduce((sum, score) => sum + score, 0);
      total += all;
      if (plan.counts[row * levels] === kBlocks) {
        kept += all;
        continue;
      }
      const count = plan.counts.subarray(row * levels, (row + 1) * levels).reduce((sum, blocks) => sum + blocks, 0);
      for (const block of plan.blocks.subarray(row * width, row * width + count)) kept += finite[block];
    }
    result[head] = total > 0 ? kept / total : 1;
  }
  return result;
}

/** `Backend.planTable` on numbers, for a plan whose lists have `width` places. */
export function tableOfPlan(
  plan: PlanNumbers,
  [heads, qBlocks, kBlocks]: TableShape,
  width: number,
  { read, left }: { readonly read: number; readonly left: number },
): Float32Array {
  const table = new Float32Array(heads * qBlocks * kBlocks).fill(left);
  const levels = plan.counts.length / (heads * qBlocks);
  for (let row = 0; row < heads * qBlocks; row++) {
    const ofRow = table.subarray(row * kBlocks, (row + 1) * kBlocks);
    const counts = plan.counts.subarray(row * levels, (row + 1) * levels);
    if (counts[0] === kBlocks) ofRow.fill(read);
    else
      for (const block of plan.blocks.subarray(row * width, row * width + counts.reduce((sum, count) => sum + count))) ofRow[block] = read;
  }
  return table;
}

/**
 * `Backend.headBudgets` on numbers (AdaSpa section 4.2): n heads recall more than the threshold, at most half of all; the n best get
 * sparsity (1 + s) / 2, the n worst (3 s - 1) / 2, the rest s, so the mean stays s. Below s = 1/3 the paper's (3 s - 1) / 2 is negative:
 * there the shift is s, not (1 - s) / 2. Returned as factors on the kept share 1 - s; equal recalls are ordered by head.
 */
export function budgetsOf(recall: Float32Array, { threshold, sparsity }: { threshold: number; sparsity: number }): Float32Array {
  const heads = [...recall.keys()].sort((a, b) => recall[b] - recall[a] || a - b);
  const count = Math.min(recall.filter((share) => share > threshold).length, Math.floor(heads.length / 2));
  const shift = Math.min((1 - sparsity) / 2, sparsity) / (1 - sparsity);
  const budgets = new Float32Array(heads.length).fill(1);
  for (let at = 0; at < count; at++) {
    budgets[heads[at]] = 1 - shift;
    budgets[heads[heads.length - 1 - at]] = 1 + shift;
  }
  return budgets;
}

/** `Backend.poolCap` on numbers; see `similarityCap`. A group of one token is alike to itself. */
export function capOf(
  k: Float32Array,
  heads: number,
  dim: number,
  layout: Layout,
  pools: readonly { pool: number; cosine: number }[],
): Int32Array {
  const coarsestFirst = [...pools].sort((a, b) => b.pool - a.pool);
  return Int32Array.from({ length: heads * layout.blocks }, (_, at) => {
    const count = layout.counts[at % layout.blocks];
    const keys = k.subarray(at * layout.block * dim, (at * layout.block + count) * dim);
    return coarsestFirst.find(({ pool, cosine }) => meanCosine(keys, count, dim, pool) > cosine)?.pool ?? 1;
  });
}

/** Mean cosine of the first and last token of each group of `pool` tokens; 1 when every group is a single token. */
function meanCosine(keys: Float32Array, count: number, dim: number, pool: number): number {
  let sum = 0;
  let groups = 0;
  for (let first = 0; first < count - 1; first += pool) {
    sum += cosineOf(keys, first * dim, Math.min(first + pool, count) * dim - dim, dim);
    groups++;
  }
  return groups ? sum / groups : 1;
}

function cosineOf(x: Float32Array, a: number, b: number, dim: number): number {
  let dot = 0;
  let squareA = 0;
  let squareB = 0;
  for (let at = 0; at < dim; at++) {
    dot += x[a + at] * x[b + at];
    squareA += x[a + at] * x[a + at];
    squareB += x[b + at] * x[b + at];
  }
  return squareA && squareB ? dot / Math.sqrt(squareA * squareB) : 0;
}
