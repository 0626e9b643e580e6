// Which tokens share a block: raster or place order, 3D tiles, columns through time, or a space-filling curve. A layout is made once per grid shape.
import { checkStage } from '../checks.ts';
import type { LayoutStage } from '../method.ts';
import { gilbert } from './gilbert.ts';
import { type Grid, type Layout, PAD, tokensOf } from './plan.ts';

/** Raster order (frame, row, column) cut every `block` tokens, a multiple of 8. @throws RangeError for another block, and for a grid that is none. */
export const raster = (block = 64): ((grid: Grid) => Layout) => {
  checkBlock(block);
  return cached(`raster(${block})`, (name, grid) => {
    const tokens = grid.frames * grid.height * grid.width;
    return assemble(
      name,
      grid,
      block,
      cutEvery(
        block,
        Int32Array.from({ length: tokens }, (_, token) => token),
      ),
    );
  });
};

/**
 * Place order (row, column, frame), in which the frames of one place follow each other, cut every `block` tokens (SVG, arXiv 2502.01776).
 * @throws RangeError as `raster`.
 */
export const places = (block = 64): ((grid: Grid) => Layout) => {
  checkBlock(block);
  return cached(`places(${block})`, (name, grid) => {
    const { frames } = grid;
    const perFrame = grid.height * grid.width;
    const order = Int32Array.from({ length: frames * perFrame }, (_, at) => (at % frames) * perFrame + Math.floor(at / frames));
    return assemble(name, grid, block, cutEvery(block, order));
  });
};

/** Layer l takes layout l mod their number (VMoBA, arXiv 2506.23858: slabs, columns, boxes). @throws RangeError for none. */
export const cyclic = (...layouts: readonly LayoutStage[]): LayoutStage => {
  if (layouts.length === 0) throw new RangeError('cyclic got no layouts to take in turn; give at least one, such as tiles(1, 8, 8)');
  for (const layout of layouts) checkStage('cyclic', layout, 'layouts, such as tiles(1, 8, 8)');
  const stage: LayoutStage = (grid, site, tokens) => layouts[site.layer % layouts.length](grid, site, tokens);
  return Object.assign(stage, { byHead: layouts.some(({ byHead }) => byHead) });
};

/**
 * Boxes of t frames x h rows x w columns, tokens in raster order inside and boxes in raster order. Boxes at the far borders are clipped by the
 * grid. (Sliding Tile Attention, arXiv 2502.04507; PSA, arXiv 2512.04025.) Each is a block of t*h*w slots, a multiple of 8, in which what is
 * clipped is PAD; with `block`, a multiple of 8 too, each is cut every so many tokens, and the box may have any sides: Infinity is the
 * whole axis.
 * @throws RangeError for sides or a block that are not possible.
 */
export const tiles = (t: number, h: number, w: number, { block }: { readonly block?: number } = {}): ((grid: Grid) => Layout) => {
  const slots = block ?? t * h * w;
  checkBlock(slots);
  for (const side of [t, h, w])
    if (!(side >= 1 && (Number.isInteger(side) || side === Infinity)))
      throw new RangeError(`a tile of ${t} x ${h} x ${w} tokens is not possible; give whole sides from 1, or Infinity for a whole axis`);
  return cached(block ? `tiles(${t},${h},${w} by ${block})` : `tiles(${t},${h},${w})`, (name, grid) => {
    const blocks: ArrayLike<number>[] = [];
    for (let frame = 0; frame < grid.frames; frame += t)
      for (let row = 0; row < grid.height; row += h)
        for (let column = 0; column < grid.width; column += w)
          blocks.push(...cutEvery(slots, Int32Array.from(box(grid, [frame, row, column], [t, h, w]))));
    const layout = assemble(name, grid, slots, blocks);
    return slots === t * h * w ? { ...layout, tile: [t, h, w] } : layout;
  });
};

/**
 * Columns of h x w places through all frames, one beside the other, cut every `block` tokens, a multiple of 8: a block is a stretch of frames of
 * one column or two, and but the last one is full. Every other column runs back in time, and every other row of columns back to the left, so that
 * what follows is beside what was before.
 * @throws RangeError for sides that are not whole and from 1, or a block that is not possible.
 */
export const columns = (h: number, w: number, block = 64): ((grid: Grid) => Layout) => {
  checkBlock(block);
  for (const side of [h, w])
    if (!(Number.isInteger(side) && side >= 1))
      throw new RangeError(`a column of ${h} x ${w} places is not possible; give whole sides from 1`);
  return cached(`columns(${h},${w} by ${block})`, (name, grid) => {
    const path: number[] = [];
    let back = false;
    for (const [turn, row] of starts(grid.height, h).entries())
      for (const column of turned(starts(grid.width, w), turn % 2 === 1)) {
        for (const frame of turned(starts(grid.frames, 1), back)) path.push(...box(grid, [frame, row, column], [1, h, w]));
        back = !back;
      }
    return assemble(name, grid, block, cutEvery(block, Int32Array.from(path)));
  });
};

/** 0, step, 2 step, ... below an end. */
const starts = (end: number, step: number): number[] => Array.from({ length: Math.ceil(end / step) }, (_, at) => at * step);
const turned = (list: number[], back: boolean): number[] => (back ? list.reverse() : list);

/**
 * The generalised Hilbert curve through the whole grid, cut every `block` tokens, a multiple of 8 (PSA, arXiv 2512.04025, section 3).
 * @throws RangeError as `raster`.
 */
export const curve = (block = 64): ((grid: Grid) => Layout) => {
  checkBlock(block);
  return cached(`curve(${block})`, (name, grid) => {
    const { frames, height, width } = grid;
    const path = new Int32Array(frames * height * width);
    let at = 0;
    gilbert(frames, height, width, (frame, row, column) => {
      path[at++] = (frame * height + row) * width + column;
    });
    return assemble(name, grid, block, cutEvery(block, path));
  });
};

function checkBlock(block: number): void {
  if (!Number.isInteger(block) || block <= 0 || block % 8 !== 0)
    throw new RangeError(`a block of ${block} tokens is not a positive multiple of 8; choose 64, or tiles whose sides multiply to one`);
}

function checkGrid(grid: Grid): void {
  const { frames, height, width, text } = grid;
  const whole = [frames, height, width, text].every(Number.isInteger);
  if (!whole || Math.min(frames, height, width) < 1 || text < 0)
    throw new RangeError(
      `a grid of ${frames} x ${height} x ${width} tokens with ${text} text tokens has no layout; sides are whole and at least 1, text at least 0`,
    );
}

/** One layout per grid shape, shared by all layers and steps. */
function cached(name: string, make: (name: string, grid: Grid) => Layout): (grid: Grid) => Layout {
  const known = new Map<string, Layout>();
  return (grid) => {
    const key = `${grid.frames}x${grid.height}x${grid.width}+${grid.text}`;
    let layout = known.get(key);
    if (!layout) {
      checkGrid(grid);
      layout = make(name, grid);
      known.set(key, layout);
    }
    return layout;
  };
}

function box(grid: Grid, from: readonly number[], size: readonly number[]): number[] {
  const tokens: number[] = [];
  for (let frame = from[0]; frame < Math.min(from[0] + size[0], grid.frames); frame++)
    for (let row = from[1]; row < Math.min(from[1] + size[1], grid.height); row++)
      for (let column = from[2]; column < Math.min(from[2] + size[2], grid.width); column++)
        tokens.push((frame * grid.height + row) * grid.width + column);
  return tokens;
}

function cutEvery(block: number, path: Int32Array): Int32Array[] {
  return Array.from({ length: Math.ceil(path.length / block) }, (_, index) => path.subarray(index * block, (index + 1) * block));
}

/** Puts blocks of tokens in slots and the text tokens behind them, in blocks of their own. */
function assemble(name: string, grid: Grid, block: number, video: readonly ArrayLike<number>[]): Layout {
  const first = tokensOf(grid) - grid.text;
  const text = cutEvery(
    block,
    Int32Array.from({ length: grid.text }, (_, index) => first + index),
  );
  const all = [...video, ...text];
  const order = new Int32Array(all.length * block).fill(PAD);
  for (const [index, tokens] of all.entries()) order.set(tokens, index * block);
  const counts = Int32Array.from(all, (tokens) => tokens.length);
  return { name, grid, block, blocks: all.length, videoBlocks: video.length, order, counts };
}
