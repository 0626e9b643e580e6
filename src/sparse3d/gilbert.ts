// The generalised Hilbert curve: visits every cell of a box of any size, each step to a neighbour.
// After J. Červený's "Gilbert" recursion: split the box into two, three or five parts whose ends meet.

/** A side of a sub-box: the axis it runs along (0 frames, 1 height, 2 width) and its signed length in cells. */
interface Side {
  readonly axis: number;
  readonly length: number;
}
type Cell = readonly [number, number, number];

const unit = ({ axis, length }: Side): Side => ({ axis, length: Math.sign(length) });
const negated = ({ axis, length }: Side): Side => ({ axis, length: -length });
const cut = (side: Side, part: Side): Side => ({ axis: side.axis, length: side.length - part.length });
/** From `part` to the end of the side, walked backwards. */
const back = (side: Side, part: Side): Side => negated(cut(side, part));
/** The last cell of a side, as seen from its first. */
const last = (side: Side): Side => cut(side, unit(side));

function moved(start: Cell, ...sides: Side[]): Cell {
  const cell: [number, number, number] = [...start];
  for (const { axis, length } of sides) cell[axis] += length;
  return cell;
}

/** Half a side, made even when it can be: odd halves would force a diagonal step. */
function half(side: Side): Side {
  const size = Math.abs(side.length);
  let part = size >> 1;
  if (part % 2 === 1 && size > 2) part++;
  return { axis: side.axis, length: part * Math.sign(side.length) };
}

/** Takes each cell of a box in turn, as (frame, row, column). */
export type Visit = (frame: number, row: number, column: number) => void;

/**
 * Calls `visit` for every cell of the box in curve order. Each step changes one coordinate by one; a box with an odd side may make some
 * diagonal steps too (2 % of them for 13 x 17 x 9), in which each coordinate changes by at most one.
 */
export function gilbert(frames: number, height: number, width: number, visit: Visit): void {
  const sides: Side[] = [width, height, frames].map((length, index) => ({ axis: 2 - index, length }));
  const longest = sides.findIndex(({ length }) => length === Math.max(frames, height, width));
  const [main] = sides.splice(longest, 1);
  walk(visit, [0, 0, 0], main, sides[0], sides[1]);
}

/** Walks the box spanned by a, b, c from `start` to the far end of a. */
function walk(visit: Visit, start: Cell, a: Side, b: Side, c: Side): void {
  const [w, h, d] = [a, b, c].map(({ length }) => Math.abs(length));
  if (h === 1 && d === 1) line(visit, start, a);
  else if (w === 1 && d === 1) line(visit, start, b);
  else if (w === 1 && h === 1) line(visit, start, c);
  else for (const [from, ...sides] of parts(start, a, b, c)) walk(visit, from, ...sides);
}

/** The parts of a box in the order of the curve; each starts beside the cell in which the one before ends. */
function parts(start: Cell, a: Side, b: Side, c: Side): [Cell, Side, Side, Side][] {
  const [w, h, d] = [a, b, c].map(({ length }) => Math.abs(length));
  const [a2, b2, c2] = [half(a), half(b), half(c)];
  if (2 * w > 3 * h && 2 * w > 3 * d)
    return [
      [start, a2, b, c],
      [moved(start, a2), cut(a, a2), b, c],
    ];
  if (3 * h > 4 * d)
    return [
      [start, b2, c, a2],
      [moved(start, b2), a, cut(b, b2), c],
      [moved(start, last(a), last(b2)), negated(b2), c, back(a, a2)],
    ];
  if (3 * d > 4 * h)
    return [
      [start, c2, a2, b],
      [moved(start, c2), a, b, cut(c, c2)],
      [moved(start, last(a), last(c2)), negated(c2), back(a, a2), b],
    ];
  return [
    [start, b2, c2, a2],
    [moved(start, b2), c, a2, cut(b, b2)],
    [moved(start, last(b2), last(c)), a, negated(b2), back(c, c2)],
    [moved(start, last(a), b2, last(c)), negated(c), back(a, a2), cut(b, b2)],
    [moved(start, last(a), last(b2)), negated(b2), c2, back(a, a2)],
  ];
}

function line(visit: Visit, start: Cell, side: Side): void {
  const cell: [number, number, number] = [...start];
  for (let n = Math.abs(side.length); n > 0; n--) {
    visit(cell[0], cell[1], cell[2]);
    cell[side.axis] += Math.sign(side.length);
  }
}
