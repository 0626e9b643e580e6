// A plan's rows as lists of units, sorted by length and cut in chunks that are computed together.
import type { Layout } from './plan.ts';
import { isNearlyFull, type Units } from './units.ts';

/** The numbers of a plan. `pools[level]` is the pool factor of a level; `width` key blocks at most are listed for a row. */
export interface PlanNumbers {
  readonly counts: Int32Array;
  readonly blocks: Int32Array;
  readonly pools: readonly number[];
  readonly width: number;
}

/**
 * Rows of a group of heads, all asked `queries` queries, in chunks of `perChunk`: `rows` [chunks, perChunk], of which the last may repeat.
 * Columns `ends[c - 1] .. ends[c] - 1` of `index` [perChunk, columns] are the units of chunk c; short rows end in the padding unit.
 */
export interface Chunks {
  readonly queries: number;
  readonly perChunk: number;
  readonly rows: Int32Array;
  readonly ends: Int32Array;
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

/** What a chunk holds: `rows` at most, and about `keys` that these rows gather together; a multiple of `threads`, so that none waits. */
export interface ChunkSize {
  readonly rows: number;
  readonly keys: number;
  readonly threads: number;
}

/** Which rows of a plan: `heads` heads from row `first` on, over two layouts. */
export interface Rows {
  readonly first: number;
  readonly heads: number;
  readonly layout: { readonly q: Layout; readonly k: Layout };
}

/** Cuts the rows of a group of heads in chunks; rows alike in queries and length go together. Short query blocks are asked to their end if they are few. */
export function chunksOf(plan: PlanNumbers, rows: Rows, units: Units, size: ChunkSize): Chunks[] {
  const { q, k } = rows.layout;
  const asked = (row: number) => q.counts[row % q.blocks] > 0;
  const lists = Array.from({ length: rows.heads * q.blocks }, (_, row) =>
    asked(row) ? unitsOfRow(plan, units, k, rows.first + row, Math.floor(row / q.blocks)) : new Int32Array(0),
  );
  const queries = (row: number) => (isNearlyFull(q) ? q.block : q.counts[row % q.blocks]);
  const groups = groupedBy([...lists.keys()].filter(asked), queries);
  const cut = units.biased ? cutPadded : cutEqual;
  return [...groups].flatMap(([each, members]) => cut({ queries: each, members, lists, units, size }));
}

function groupedBy(rows: readonly number[], key: (row: number) => number): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (const row of rows) {
    const group = groups.get(key(row));
    if (group) group.push(row);
    else groups.set(key(row), [row]);
  }
  return groups;
}

/** Rows that are asked equally many queries, by their numbers, and the units that each row of the plan reads. */
interface Group {
  readonly queries: number;
  readonly members: number[];
  readonly lists: readonly Int32Array[];
  readonly units: Units;
  readonly size: ChunkSize;
}

/** Rows sorted by length; a chunk is as wide as its longest row. */
function cutPadded(group: Group): Chunks[] {
  return [inChunks(group, byLength(group), rowsTogether(group))];
}

/** Chunks of rows of one length, which need no padding; the rows that are left of each length are computed one by one. */
function cutEqual(group: Group): Chunks[] {
  const sorted = byLength(group);
  const lengths = groupedBy(sorted, (row) => group.lists[row].length);
  const left = (perChunk: number) => [...lengths.values()].flatMap((rows) => rows.slice(rows.length - (rows.length % perChunk)));
  let perChunk = rowsTogether(group);
  while (perChunk > group.size.threads && left(perChunk).length > sorted.length / 8) perChunk -= group.size.threads;
  const single = new Set(left(perChunk));
  const together = sorted.filter((row) => !single.has(row));
  return [
    ...(together.length > 0 ? [inChunks(group, together, perChunk)] : []),
    ...(single.size > 0 ? [inChunks(group, [...single], 1)] : []),
  ];
}

const byLength = ({ members, lists }: Group): number[] => members.sort((a, b) => lists[b].length - lists[a].length || a - b);

function rowsTogether({ members, lists, units, size }: Group): number {
  const keys = members.reduce((sum, row) => sum + lists[row].length, 0) * units.size;
  const fitting = Math.min(size.rows, (size.keys * members.length) / keys);
  return Math.min(members.length, Math.max(1, Math.round(fitting / size.threads)) * size.threads);
}

function inChunks({ queries, lists, units }: Group, members: readonly number[], perChunk: number): Chunks {
  const chunks = Math.ceil(members.length / perChunk);
  const rows = Int32Array.from({ length: chunks * perChunk }, (_, at) => members[Math.min(at, members.length - 1)]);
  const ends = Int32Array.from({ length: chunks }, (_, chunk) => lists[rows[chunk * perChunk]].length);
  for (let chunk = 1; chunk < chunks; chunk++) ends[chunk] += ends[chunk - 1];
  const columns = ends[chunks - 1];
  const index = new Int32Array(perChunk * columns).fill(units.count - 1);
  for (const [at, row] of rows.entries()) {
    const chunk = Math.floor(at / perChunk);
    index.set(lists[row], (at % perChunk) * columns + (chunk > 0 ? ends[chunk - 1] : 0));
  }
  return { queries, perChunk, rows, ends, index };
}

function unitsOfRow({ counts, blocks, pools, width }: PlanNumbers, units: Units, layout: Layout, row: number, head: number): Int32Array {
  const list: number[] = [];
  // A row that reads all in full has no list.
  const whole = counts[row * pools.length] === layout.blocks;
  let at = whole ? 0 : row * width;
  for (let level = 0; level < pools.length; level++) {
    const pool = pools[level];
    const stored = units.stored.get(pool);
    for (let n = counts[row * pools.length + level]; n > 0; n--) {
      const block = whole ? at++ : blocks[at++];
      const used = Math.ceil(layout.counts[block] / (pool * units.size));
      const start = stored!.first + head * stored!.perHead + block * stored!.perBlock;
      for (let unit = 0; unit < used; unit++) list.push(start + unit);
    }
  }
  if (list.length === 0) throw new RangeError(`row ${row} (head x query block) of a plan reads no key block; every row needs at least one`);
  return Int32Array.from(list);
}
