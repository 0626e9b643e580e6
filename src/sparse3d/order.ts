// Token orders that a whole forward can keep: gathered once before the first layer and scattered once after the last.
import type { Backend } from '../backend/backend.ts';
import { type Layout, PAD, type Plan, tokensOf } from './plan.ts';

/** Slots that hold no token. */
export const paddingOf = ({ order, grid }: Layout): number => order.length - tokensOf(grid);

/** The slot of each token. */
export function slotsOf({ order, grid }: Layout): Int32Array {
  const slots = new Int32Array(tokensOf(grid));
  for (const [slot, token] of order.entries()) if (token !== PAD) slots[token] = slot;
  return slots;
}

/** Whether slots hold the tokens in raster order, and nothing else. */
export const isRaster = (layout: Layout): boolean => paddingOf(layout) === 0 && layout.order.every((token, slot) => token === slot);

/** Whether all padding is behind the last token. */
const isClosed = (layout: Layout): boolean => !layout.order.subarray(0, tokensOf(layout.grid)).includes(PAD);

/** Every layer computes the padding as if it were tokens: more than one slot in so many would cost more than moving tokens at every layer. */
const PADDED = 64;

/** Whether a forward in this order costs less than moving tokens at every attention call. */
export const isWorthKeeping = (layout: Layout): boolean => paddingOf(layout) * PADDED <= layout.order.length && isClosed(layout);

const blocks = new WeakMap<Layout, Layout>();

/** All slots of a layout as one block, in the same order. @throws RangeError where a token is behind padding. */
export function oneBlock(layout: Layout): Layout {
  const known = blocks.get(layout);
  if (known) return known;
  const { grid, order } = layout;
  if (!isClosed(layout))
    throw new RangeError(
      `the order ${layout.name} has padding between its tokens and is no single block; take one whose padding comes last`,
    );
  const made: Layout = {
    ...{ name: `${layout.name} in one block`, grid, order, block: order.length, blocks: 1, videoBlocks: 1 },
    counts: Int32Array.of(tokensOf(grid)),
  };
  blocks.set(layout, made);
  return made;
}

/** Every query reads every key of layouts of one block. */
export function wholePlan(ops: Backend, heads: number): Plan {
  const ones = new Int32Array(heads).fill(1);
  return {
    counts: ops.upload(ones, [heads, 1, 1]),
    blocks: ops.upload(new Int32Array(heads), [heads, 1, 1]),
    levels: [{ pool: 1, upTo: 1 }],
  };
}

/** Whether a plan on these layouts can only be one that reads every key as it is: no row of a plan is empty. */
export const readsAll = ({ levels }: Plan, { q, k }: { readonly q: Layout; readonly k: Layout }): boolean =>
  !q.shape && !k.shape && q.blocks === 1 && k.blocks === 1 && levels.length === 1 && levels[0].pool === 1;
