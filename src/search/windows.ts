// Static patterns that are a window of the video round each query: as wide on both sides, over whole tiles, or with strides and dilation.
import { type Axes, type AxisRule, meeting } from './boxes.ts';
import type { Pattern } from './pattern.ts';

/** Options of `window`. */
export interface WindowOptions {
  /** How far keys may be from a query along frames, in tokens; left out, any distance is read. */
  readonly frames?: number;
  /** The same along rows. */
  readonly rows?: number;
  /** The same along columns. */
  readonly columns?: number;
}

/**
 * Key blocks with a token so near to a query of the block along every axis: `{ frames: 1 }` reads the own and adjacent frames,
 * `{ rows: 0, columns: 0 }` the same place in all frames, in whole blocks.
 * @throws RangeError for a negative distance.
 */
export const window = ({ frames = Infinity, rows = Infinity, columns = Infinity }: WindowOptions): Pattern => {
  for (const [axis, distance] of Object.entries({ frames, rows, columns }))
    if (!(distance >= 0)) throw new RangeError(`a window of ${distance} ${axis} is not possible; give a distance from 0`);
  const within =
    (distance: number): AxisRule =>
    (i, j) =>
      Math.abs(i - j) <= distance;
  return (layout) => [meeting(layout, [within(frames), within(rows), within(columns)])];
};

/** Options of `slidingTile`. */
export interface SlidingTileOptions {
  /** Frames, rows and columns of a tile, in tokens. Default 6 x 8 x 8. */
  readonly tile?: Axes;
  /** Tiles of the window along each axis; Infinity is the whole axis. Default 3 x 3 x 3. */
  readonly window?: Axes;
}

/**
 * The window of tiles round the tile of a query, moved inside the grid at its borders, so that every query reads as many tiles (Sliding Tile
 * Attention, arXiv 2502.04507). Blocks of the layout should lie in tiles: `tiles(1, 8, 8)` in tiles of 6 x 8 x 8; one that spans several
 * reads the windows of all. Tiles at the far borders are clipped where the grid does not divide.
 * @throws RangeError for sides that are no whole numbers above 0.
 */
export const slidingTile = ({ tile = [6, 8, 8], window = [3, 3, 3] }: SlidingTileOptions = {}): Pattern => {
  checkSides('tile', tile);
  checkSides('window', window);
  const rule =
    (tokens: number, wanted: number): AxisRule =>
    (i, j, size) => {
      const count = Math.ceil(size / tokens);
      const first = startOf(Math.floor(i / tokens), wanted, count);
      const at = Math.floor(j / tokens);
      return at >= first && at < first + wanted;
    };
  return (layout) => [meeting(layout, [rule(tile[0], window[0]), rule(tile[1], window[1]), rule(tile[2], window[2])])];
};

/** Options of `neighborhood`. */
export interface NeighborhoodOptions {
  /** Tokens of the window along each axis; Infinity is the whole axis. */
  readonly window: Axes;
  /** Queries along each axis that share one window, no more than the window. Default 1. */
  readonly stride?: Axes;
  /** Only every so many tokens along each axis see each other. Default 1. */
  readonly dilation?: Axes;
}

/**
 * Generalised neighbourhood attention (GNA, arXiv 2504.16922): a window of constant size round the middle query of each group of `stride`,
 * moved inside the grid at its borders, over tokens that are multiples of `dilation` apart. Departs: blocks are read whole, so a dilation
 * smaller than a block's side leaves nothing out.
 * @throws RangeError for sides that are no whole numbers above 0, or a stride above its window.
 */
export const neighborhood = ({ window, stride = [1, 1, 1], dilation = [1, 1, 1] }: NeighborhoodOptions): Pattern => {
  for (const [name, sides] of Object.entries({ window, stride, dilation })) checkSides(name, sides);
  for (const [axis, step] of stride.entries())
    if (step > window[axis])
      throw new RangeError(`a stride of [${stride}] is above a window of [${window}], some keys would be in none; lower it`);
  const rule =
    (axis: number): AxisRule =>
    (i, j, size) => {
      const [wanted, step, apart] = [window[axis], stride[axis], dilation[axis]];
      if (i % apart !== j % apart) return false;
      const count = Math.ceil((size - (i % apart)) / apart);
      const [query, key] = [Math.floor(i / apart), Math.floor(j / apart)];
      const middle = Math.min(Math.floor(query / step) * step + Math.floor(step / 2), count - 1);
      const first = startOf(middle, wanted, count);
      return key >= first && key < first + wanted;
    };
  return (layout) => [meeting(layout, [rule(0), rule(1), rule(2)])];
};

/** Where a window of `wanted` of `count` places round `middle` starts when it is moved inside; half of an even one and the middle lie behind. */
const startOf = (middle: number, wanted: number, count: number): number =>
  wanted >= count ? 0 : Math.min(Math.max(middle - Math.floor(wanted / 2), 0), count - wanted);

function checkSides(name: string, sides: Axes): void {
  if (sides.length !== 3 || !sides.every((side) => side >= 1 && (Number.isInteger(side) || side === Infinity)))
    throw new RangeError(`a ${name} of [${sides}] is not possible; give frames, rows and columns, whole numbers from 1`);
}
