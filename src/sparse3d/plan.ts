// The vocabulary of block-sparse attention over video tokens: grid, layout, levels and plan.
import { checkObject } from '../checks.ts';
import type { Tensor } from '../tensor.ts';

/** The video in tokens after patchify, frames x height x width in raster order, with `text` tokens behind it (0 for Wan). */
export interface Grid {
  /** Frames of tokens. */
  readonly frames: number;
  /** Rows of tokens. */
  readonly height: number;
  /** Columns of tokens. */
  readonly width: number;
  /** Text tokens in the same sequence. */
  readonly text: number;
}

/** Video and text tokens of a grid. @throws TypeError for what is no grid. */
export function tokensOf(grid: Grid): number {
  checkObject('the grid is', grid, 'give { frames, height, width, text } in tokens');
  return grid.frames * grid.height * grid.width + grid.text;
}

/** A slot of a layout that holds no token. */
export const PAD = -1;

/**
 * A token order cut in blocks of `block` slots. `order[slot]` is the token (raster index) in that slot or PAD; `order` has `blocks * block` entries.
 * PAD slots are always at the end of their block. `counts[b]` real tokens are in block b (never 0). Text blocks come last and hold text only:
 * blocks `videoBlocks..blocks-1`. Layouts depend on the grid alone and are shared by all heads, but for those with `heads`; see heads.ts.
 */
export interface Layout {
  /** What tables call it, as "tiles(4,4,4)". */
  readonly name: string;
  /** What it is an order of. */
  readonly grid: Grid;
  /** Slots of a block. */
  readonly block: number;
  /** Blocks, those of text included. */
  readonly blocks: number;
  /** Blocks of the video, which come first. */
  readonly videoBlocks: number;
  /** The token of each slot, or PAD: [blocks * block]. */
  readonly order: Int32Array;
  /** Real tokens of each block: [blocks]. */
  readonly counts: Int32Array;
  /** Frames, rows and columns of the boxes that video blocks are, clipped at the far borders, in a layout of such. */
  readonly tile?: readonly [number, number, number];
  /** The order of each head, where heads have their own. `order`, and `counts` if they differ too, are then those of each head alone. @internal */
  readonly heads?: HeadOrders;
  /** Of such a layout, and of each of its heads: what all layouts of this shape share, one object for a grid. @internal */
  readonly shape?: Layout;
  /** Of one head: its tables on the device that made them, which then knows `order` and `counts` alone. @internal */
  readonly stored?: StoredOrder;
}

/** The orders of all heads. */
export interface HeadOrders {
  readonly layouts: readonly Layout[];
  /** Where heads differ in how many tokens a block holds: i32 [heads, blocks], 0 where it holds none. */
  readonly counts?: Tensor;
  /** f32 [heads, 1, blocks]: the ln of these, so -Infinity where there are none. */
  readonly lnCounts?: Tensor;
}

/** Tables of one head's layout: the token of each slot, the slot of each token, real tokens of each block, and what padding adds to a logit. */
export interface StoredOrder {
  readonly order: Tensor;
  readonly slots: Tensor;
  readonly counts?: Tensor;
  readonly bias?: Tensor;
}

/** Slots of a layout. */
export const slotCount = ({ blocks, block }: Layout): number => blocks * block;

/** Real tokens of a block, in layout order. */
export const tokensOfBlock = ({ order, block: slots, counts }: Layout, block: number): Int32Array =>
  order.slice(block * slots, block * slots + counts[block]);

/** Blocks up to this cut, in the selector's measure (share of blocks or share of mass, 0..1), are read pooled by `pool` (1, 2, 4, 8, ..., block). */
export interface Level {
  /** 1 reads token by token; g reads means of g tokens that follow each other in the layout, each for g of them. */
  readonly pool: number;
  /** Where the level ends; the next one begins there. */
  readonly upTo: number;
}

/**
 * For each head and query block, which key blocks to read and how finely.
 * `counts` i32 [heads, qBlocks, levels]; `blocks` i32 [heads, qBlocks, width]: the chosen key blocks grouped by level, finest first; the rest of a row is PAD.
 * No row is empty and no key block occurs twice in a row. A row whose first count is all key blocks needs no list.
 */
export interface Plan {
  /** Key blocks of each level: i32 [heads, qBlocks, levels]. */
  readonly counts: Tensor;
  /** Which ones: i32 [heads, qBlocks, width]. */
  readonly blocks: Tensor;
  /** How finely each level is read, finest first. */
  readonly levels: readonly Level[];
  /** Key blocks that there are, where rows are narrower than that. */
  readonly keyBlocks?: number;
}
