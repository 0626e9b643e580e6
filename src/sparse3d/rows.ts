// A plan's rows as lists of units, sorted by length and cut in chunks that one run computes together.
import type { Layout } from './plan.ts';
import type { Units } from './units.ts';

/** The numbers of a plan. `pools[level]` is the pool factor of a level; `width` key blocks at most are in a row. */
export interface PlanNumbers {
  readonly counts: Int32Array;
  readonly blocks: Int32Array;
  readonly pools: readonly number[];
  readonly width: number;
}

/** Rows computed in one run: rows of the group, `queries` queries of each, and their unit indices [rows, length]; short rows end in the padding unit. */
export interface Chunk {
  readonly rows: readonly number[];
  readonly queries: number;
  readonly length: number;
  readonly index: Int32Array;
}

/** Pool factors that any row reads, finest first. */
export function poolsRead({ counts, pools }: PlanNumbers): number[] {
  const read = pools.filter((_, level) => {
    for (let at = level; at < counts.length; at += pools.length) if (counts[at] > 0) return true;
    return false;
  });
  return [...new Set(read)].sort((a, b) => a - b);
}

/** Whether the rows `first .. first + rows - 1` all read equally many blocks, all of them unpooled. */
export function isEven({ counts, pools }: PlanNumbers, first: number, rows: number): boolean {
  const levels = pools.length;
  const wanted = counts.subarray(first * levels, (first + 1) * levels);
  for (let at = first * levels; at < (first + rows) * levels; at++) {
    const level = at % levels;
    if (counts[at] !== (pools[level] === 1 ? wanted[level] : 0)) return false;
  }
  return true;
}

/** Which rows a group of heads has, from row `first` of the plan on: one a head and query block; `counts` real queries are in each block. */
export interface Rows {
  readonly first: number;
  readonly heads: number;
  readonly counts: Int32Array;
}

/** What one run holds at most: rows, and keys that these rows gather together. */
export interface RunSize {
  readonly rows: number;
  readonly keys: number;
}

/** Cuts the rows of a group of heads in chunks that one run can hold, nearly equal in rows; rows alike in queries and length go together. */
export function chunksOf(plan: PlanNumbers, { first, heads, counts }: Rows, units: Units, layout: Layout, most: RunSize): Chunk[] {
  const rows = Array.from({ length: heads * counts.length }, (_, row) => row);
  const lists = rows.map((row) => unitsOfRow(plan, units, layout, first + row, Math.floor(row / counts.length)));
  const queries = (row: number) => counts[row % counts.length];
  const sorted = rows.sort((a, b) => queries(b) - queries(a) || lists[b].length - lists[a].length || a - b);
  const longest = lists.reduce((length, list) => Math.max(length, list.length), 0) * units.size;
  const chunks = Math.ceil(rows.length / Math.max(1, Math.min(most.rows, Math.floor(most.keys / longest))));
  return Array.from({ length: chunks }, (_, chunk) => {
    const members = sorted.slice(Math.floor((chunk * rows.length) / chunks), Math.floor(((chunk + 1) * rows.length) / chunks));
    const length = Math.max(...members.map((row) => lists[row].length));
    const index = new Int32Array(members.length * length).fill(units.count - 1);
    for (const [at, row] of members.entries()) index.set(lists[row], at * length);
    return { rows: members, queries: queries(members[0]), length, index };
  });
}

function unitsOfRow({ counts, blocks, pools, width }: PlanNumbers, units: Units, layout: Layout, row: number, head: number): Int32Array {
  const list: number[] = [];
  let at = row * width;
  for (let level = 0; level < pools.length; level++) {
    const pool = pools[level];
    const stored = units.stored.get(pool);
    for (let n = counts[row * pools.length + level]; n > 0; n--) {
      const block = blocks[at++];
      const used = Math.ceil(layout.counts[block] / (pool * units.size));
      const start = head * units.perHead + stored!.first + block * stored!.perBlock;
      for (let unit = 0; unit < used; unit++) list.push(start + unit);
    }
  }
  if (list.length === 0) throw new RangeError(`row ${row} (head x query block) of a plan reads no key block; every row needs at least one`);
  return Int32Array.from(list);
}
