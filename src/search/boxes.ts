// Where the blocks of a layout stand in the video: each as boxes of tokens, and which boxes a rule for each axis brings together.
import type { Layouts } from '../method.ts';
import { type Grid, type Layout, tokensOfBlock } from '../sparse3d/plan.ts';

/** Frames, rows and columns. */
export type Axes<T = number> = readonly [T, T, T];

/** Frames x rows x columns of tokens, by the first and last of each. */
export interface Box {
  readonly first: Axes;
  readonly last: Axes;
}

/** Whether a query at place i of an axis of so many tokens reads keys at place j. */
export type AxisRule = (i: number, j: number, size: number) => boolean;

/** Frame, row and column of a video token. */
export const placeOf = (token: number, { height, width }: Grid): Axes => [
  Math.floor(token / (height * width)),
  Math.floor(token / width) % height,
  token % width,
];

/** The fewest boxes, or nearly, that each video block is made of: one for a tile, a few for a stretch of raster order. */
export const boxesOf = (layout: Layout): readonly (readonly Box[])[] =>
  Array.from({ length: layout.videoBlocks }, (_, block) => {
    const tokens = tokensOfBlock(layout, block).sort();
    const cells = Array.from(tokens, (token): Box => ({ first: placeOf(token, layout.grid), last: placeOf(token, layout.grid) }));
    return [2, 1, 0].reduce<readonly Box[]>(joined, cells);
  });

/** Joins boxes that follow each other along an axis and are alike in the two others. */
function joined(boxes: readonly Box[], axis: number): readonly Box[] {
  const whole: Box[] = [];
  const open = new Map<string, number>();
  for (const box of boxes) {
    const key = [0, 1, 2].map((side) => (side === axis ? '' : `${box.first[side]}-${box.last[side]}`)).join();
    const at = open.get(key);
    if (at !== undefined && whole[at].last[axis] + 1 === box.first[axis]) whole[at] = { first: whole[at].first, last: box.last };
    else open.set(key, whole.push(box) - 1);
  }
  return whole;
}

/** The box round some boxes. */
const around = (boxes: readonly Box[]): Box => {
  const of = (side: 'first' | 'last', pick: (...places: number[]) => number) =>
    [0, 1, 2].map((axis) => pick(...boxes.map((box) => box[side][axis]))) as unknown as Axes;
  return { first: of('first', Math.min), last: of('last', Math.max) };
};

/**
 * Pairs of video blocks of which a query token reads a key token by the rules of all three axes: [qBlocks * kBlocks], 1 where one does. The
 * blocks' true tokens count, not the box round them.
 */
export function meeting({ q, k }: Layouts, rules: Axes<AxisRule>): Uint8Array {
  const meets = meetingOf(q.grid, rules);
  const [queries, keys] = [q, k].map((layout) => boxesOf(layout).map((boxes) => ({ boxes, round: around(boxes) })));
  const mask = new Uint8Array(q.blocks * k.blocks);
  for (const [queryBlock, query] of queries.entries())
    for (const [keyBlock, key] of keys.entries())
      if (meets(query.round, key.round) && query.boxes.some((box) => key.boxes.some((other) => meets(box, other))))
        mask[queryBlock * k.blocks + keyBlock] = 1;
  return mask;
}

/** Whether a query box reads a key box. */
function meetingOf({ frames, height, width }: Grid, rules: Axes<AxisRule>): (query: Box, key: Box) => boolean {
  const [frame, row, column] = [frames, height, width].map((size, axis) => intervalsMeet(size, rules[axis]));
  return ({ first: a, last: b }, { first: c, last: d }) =>
    frame(a[0], b[0], c[0], d[0]) && row(a[1], b[1], c[1], d[1]) && column(a[2], b[2], c[2], d[2]);
}

/** Whether a query at places a..b of an axis reads a key at places c..d; what an interval of queries reaches is found once. */
function intervalsMeet(size: number, rule: AxisRule): (a: number, b: number, c: number, d: number) => boolean {
  const reached: (Int32Array | undefined)[] = [];
  const reach = (a: number, b: number): Int32Array => {
    const before = new Int32Array(size + 1);
    for (let j = 0; j < size; j++) {
      let hit = 0;
      for (let i = a; i <= b && !hit; i++) hit = Number(rule(i, j, size));
      before[j + 1] = before[j] + hit;
    }
    return before;
  };
  return (a, b, c, d) => {
    reached[a * size + b] ??= reach(a, b);
    const before = reached[a * size + b]!;
    return before[d + 1] > before[c];
  };
}
