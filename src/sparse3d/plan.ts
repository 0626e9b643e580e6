// The vocabulary of block-sparse attention over video tokens: grid, layout, levels and plan.
import type { Tensor } from '../tensor.ts';

/** The video in tokens after patchify, frames x height x width in raster order, with `text` tokens behind it (0 for Wan). */
export interface Grid {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly text: number;
}

/** Video and text tokens of a grid. */
export const tokensOf = (grid: Grid): number => grid.frames * grid.height * grid.width + grid.text;

/** A slot of a layout that holds no token. */
export const PAD = -1;

/**
 * A token order cut in blocks of `block` slots. `order[slot]` is the token (raster index) in that slot or PAD; `order` has `blocks * block` entries.
 * PAD slots are always at the end of their block. `counts[b]` real tokens are in block b (never 0). Text blocks come last and hold text only:
 * blocks `videoBlocks..blocks-1`. Layouts depend on the grid alone and are shared by all heads.
 */
export interface Layout {
  readonly name: string;
  readonly grid: Grid;
  readonly block: number;
  readonly blocks: number;
  readonly videoBlocks: number;
  readonly order: Int32Array;
  readonly counts: Int32Array;
  /** Frames, rows and columns of the boxes that video blocks are, clipped at the far borders, in a layout of such. */
  readonly tile?: readonly [number, number, number];
}

/** Real tokens of a block, in layout order. */
export const tokensOfBlock = ({ order, block: slots, counts }: Layout, block: number): Int32Array =>
  order.slice(block * slots, block * slots + counts[block]);

/** Blocks up to this cut, in the selector's measure (share of blocks or share of mass, 0..1), are read pooled by `pool` (1, 2, 4, 8, ..., block). */
export interface Level {
  readonly pool: number;
  readonly upTo: number;
}

/**
 * For each head and query block, which key blocks to read and how finely.
 * `counts` i32 [heads, qBlocks, levels]; `blocks` i32 [heads, qBlocks, width]: the chosen key blocks grouped by level, finest first; the rest of a row is PAD.
 * No row is empty and no key block occurs twice in a row. A row whose first count is all key blocks needs no list.
 */
export interface Plan {
  readonly counts: Tensor;
  readonly blocks: Tensor;
  readonly levels: readonly Level[];
  /** Key blocks that there are, where rows are narrower than that. */
  readonly keyBlocks?: number;
}
