// Layouts in which each head has an order of its own, found from q and k: their shape is known at once, the rest on the device that finds it.
import type { Layouts } from '../method.ts';
import type { Tensor } from '../tensor.ts';
import { type Grid, type HeadOrders, type Layout, type Level, PAD, tokensOf } from './plan.ts';

/** What all layouts of a shape have in common. */
export interface Shape {
  readonly name: string;
  readonly grid: Grid;
  readonly block: number;
  /** At most so many blocks of video; those of text follow, in their own order. */
  readonly videoBlocks: number;
  /** Real tokens of each block, where heads do not differ in them. */
  readonly counts?: Int32Array;
}

/** The shape of layouts whose heads have orders of their own. */
export function headShape({ counts, ...shape }: Shape): Layout {
  const unknown = (what: string) => () => {
    throw new TypeError(
      `the ${what} of ${shape.name} differ by head and are not known beforehand; take stages that read means and scores of blocks, or a layout of the grid`,
    );
  };
  const blocks = shape.videoBlocks + Math.ceil(shape.grid.text / shape.block);
  return defined(
    { ...shape, blocks, ...(counts && { counts }) },
    { order: unknown('tokens'), ...(!counts && { counts: unknown('counts') }) },
  );
}

/** A layout of a shape with the orders of its heads. */
export const withHeads = (shape: Layout, heads: HeadOrders): Layout => {
  const { name, grid, block, blocks, videoBlocks } = shape;
  const known = { name, grid, block, blocks, videoBlocks, heads, shape };
  return defined(known, { order: () => shape.order, counts: () => shape.counts });
};

/** The layout of one head, whose numbers are to be had from `order` and `counts` once they are known. */
export const oneHead = (shape: Layout, numbers: Pick<Order, 'order' | 'counts'>, stored?: Layout['stored']): Layout => {
  const { name, grid, block, blocks, videoBlocks } = shape;
  return defined({ name, grid, block, blocks, videoBlocks, shape, ...(stored && { stored }) }, numbers);
};

interface Order {
  readonly order: () => Int32Array;
  readonly counts: () => Int32Array;
}

/** A plain object whose functions are read as fields; not enumerable, so that nobody who walks over it asks for numbers that are not there. */
function defined<Known extends object>(known: Known, fields: Partial<Order>): Layout {
  for (const [name, get] of Object.entries(fields)) Object.defineProperty(known, name, { get });
  return known as unknown as Layout;
}

/** Whether heads differ in how many tokens a block holds. */
export const differsByHead = ({ q, k }: Layouts): boolean => (q.heads?.counts ?? k.heads?.counts) !== undefined;

/** What is kept on a device of layouts with heads. */
export function tensorsOf({ q, k }: Layouts): readonly Tensor[] {
  const tensors = [q, k].flatMap(({ heads }) =>
    heads ? [heads.counts, heads.lnCounts, ...heads.layouts.flatMap(({ stored }) => Object.values(stored ?? {}) as Tensor[])] : [],
  );
  return [...new Set(tensors.filter((tensor) => tensor !== undefined))];
}

/** The order and counts of one head, from the video tokens of each block. */
export function ordersFrom(shape: Layout, video: readonly (readonly number[])[]): { order: Int32Array; counts: Int32Array } {
  const { block, blocks, videoBlocks, grid } = shape;
  const order = new Int32Array(blocks * block).fill(PAD);
  const counts = new Int32Array(blocks);
  for (const [at, tokens] of video.entries()) {
    order.set(tokens, at * block);
    counts[at] = tokens.length;
  }
  const first = tokensOf(grid) - grid.text;
  for (let text = 0; text < grid.text; text++) order[videoBlocks * block + text] = first + text;
  for (let at = videoBlocks; at < blocks; at++) counts[at] = Math.min(block, grid.text - (at - videoBlocks) * block);
  return { order, counts };
}

/**
 * The share of full attention that counts of a plan [heads, qBlocks, levels] compute where blocks differ by head: each key block that is read, for
 * each query block that holds a token (`asked`, their tokens), over all pairs of blocks there would be without gaps. So padding counts as work,
 * and a plan that reads everything is above 1.
 */
export function headDensity(
  counts: ArrayLike<number>,
  levels: readonly Level[],
  asked: ArrayLike<number> | undefined,
  { q, k }: Layouts,
): number {
  let read = 0;
  for (let at = 0; at < counts.length; at++) {
    const row = Math.floor(at / levels.length);
    if (!asked || asked[row] > 0) read += counts[at] / levels[at % levels.length].pool;
  }
  const heads = counts.length / levels.length / q.blocks;
  return read / (heads * filledBlocks(q) * filledBlocks(k));
}

/** All block pairs of a layout, with their padding, over those that its tokens would fill: what a density of block pairs is to be multiplied by. */
export const paddedShare = ({ q, k }: Layouts): number => (q.blocks * k.blocks) / (filledBlocks(q) * filledBlocks(k));

/** Blocks that a grid's tokens would fill. */
const filledBlocks = ({ grid, block }: Layout): number => Math.ceil((tokensOf(grid) - grid.text) / block) + Math.ceil(grid.text / block);
