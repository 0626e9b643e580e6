// Static patterns of the simplest kind: the own block, text, the first frame, stripes and shards of blocks. Windows, bands and the radial
// pattern are in windows.ts, bands.ts and radial.ts.
import type { Layouts } from '../method.ts';
import { type Layout, PAD, tokensOfBlock } from '../sparse3d/plan.ts';
import type { Mask, Pattern } from './pattern.ts';

/** A pattern that is the same for all heads, by a rule over block pairs. */
const byBlocks =
  (rule: (layout: Layouts) => (queryBlock: number, keyBlock: number) => boolean): Pattern =>
  (layout) => [maskOf(layout, rule(layout))];

function maskOf({ q, k }: Layouts, reads: (queryBlock: number, keyBlock: number) => boolean): Mask {
  const mask = new Uint8Array(q.blocks * k.blocks);
  for (let query = 0; query < q.blocks; query++)
    for (let key = 0; key < k.blocks; key++) mask[query * k.blocks + key] = Number(reads(query, key));
  return mask;
}

/** Every pair of blocks of which one or both hold text. */
export const text = (): Pattern =>
  byBlocks(
    ({ q, k }) =>
      (queryBlock, keyBlock) =>
        queryBlock >= q.videoBlocks || keyBlock >= k.videoBlocks,
  );

/** Options of `firstFrame`. */
export interface FirstFrameOptions {
  /** Queries of the first frame read everything too. Default false. */
  readonly rows?: boolean;
}

/**
 * Every key block that holds a token of frame 0, whatever the order of tokens: SVG's code takes the first tokens of the order that it
 * executes, which in place order are a few places of all frames.
 */
export const firstFrame = ({ rows = false }: FirstFrameOptions = {}): Pattern =>
  byBlocks(({ q, k }) => {
    const [ofQueries, ofKeys] = [q, k].map((layout) => Array.from({ length: layout.blocks }, (_, block) => holdsFirstFrame(layout, block)));
    return (queryBlock, keyBlock) => ofKeys[keyBlock] || (rows && ofQueries[queryBlock]);
  });

const holdsFirstFrame = (layout: Layout, block: number): boolean =>
  tokensOfBlock(layout, block).some((token) => token < layout.grid.height * layout.grid.width);

/**
 * The key blocks that hold tokens of the query block, and `reach` blocks to each side of them; text has no sides.
 * @param options All have defaults.
 * @param options.reach Blocks to each side. Default 0.
 * @throws RangeError unless the reach is a whole number from 0 up.
 */
export const ownBlock = ({ reach = 0 } = {}): Pattern => {
  if (!Number.isInteger(reach) || reach < 0) throw new RangeError(`a reach of ${reach} blocks is not possible; give a whole number from 0`);
  return byDistance((distance) => distance <= reach);
};

/**
 * Key blocks at a distance of 1, 2, 4, ... blocks from the query's own, both ways, and that one (PowerAttention, of its abstract: the union
 * over d layers reaches 2^d blocks). Departs: distances run in both directions.
 */
export const powerDistances = (): Pattern => byDistance((distance) => (distance & (distance - 1)) === 0);

/** By the distance of a key block from any of the query's own blocks, 0 for these themselves. Between video and text there is none. */
const byDistance =
  (reads: (distance: number) => boolean): Pattern =>
  ({ q, k }) => {
    const mask = new Uint8Array(q.blocks * k.blocks);
    for (const [query, own] of ownBlocks({ q, k }).entries())
      for (const block of own) {
        mask[query * k.blocks + block] = 1;
        for (let key = 0; key < k.videoBlocks && block < k.videoBlocks; key++)
          if (reads(Math.abs(block - key))) mask[query * k.blocks + key] = 1;
      }
    return [mask];
  };

/** For each query block, the key blocks that hold its tokens. */
function ownBlocks({ q, k }: Layouts): readonly (readonly number[])[] {
  const blockOf = new Map<number, number>();
  for (const [slot, token] of k.order.entries()) if (token !== PAD) blockOf.set(token, Math.floor(slot / k.block));
  return Array.from({ length: q.blocks }, (_, block) => [...new Set(tokensOfBlock(q, block).map((token) => blockOf.get(token)!))]);
}

/**
 * Each head another shard of the video's key blocks, so that `of` heads read them all: block j is head h's when j + h is a multiple of `of`
 * (S2-Attention's idea; the rule is ours).
 * @param options All have defaults.
 * @param options.of Heads that read all key blocks together. Default 4.
 * @throws RangeError unless `of` is a whole number from 1 up.
 */
export const shards = ({ of = 4 } = {}): Pattern => {
  checkCount('shards', of);
  return (layout) => {
    const isVideo = (block: number) => block < layout.k.videoBlocks;
    return Array.from({ length: of }, (_, head) => maskOf(layout, (__, block) => isVideo(block) && (block + head) % of === 0));
  };
};

/**
 * Every `stride`-th key block of the video for all queries, alternating along all axes of a layout of tiles, along the order of another
 * (RainFusion's textural heads, arXiv 2505.21036, second-hand).
 * @param options All have defaults.
 * @param options.stride Key blocks from one that is read to the next. Default 2.
 * @throws RangeError unless the stride is a whole number from 1 up.
 */
export const checkerboard = ({ stride = 2 } = {}): Pattern => {
  checkCount('a checkerboard', stride);
  return byBlocks(({ k }) => {
    const colours = Array.from({ length: k.videoBlocks }, (_, block) => colourOf(k, block) % stride);
    return (_, keyBlock) => colours[keyBlock] === 0;
  });
};

/** How many tiles a block stands from the first along all axes together. */
function colourOf({ tile, grid: { height, width }, order, block: slots }: Layout, block: number): number {
  if (!tile) return block;
  const token = order[block * slots];
  const place = [Math.floor(token / (height * width)), Math.floor(token / width) % height, token % width];
  return place.reduce((sum, at, axis) => sum + Math.floor(at / tile[axis]), 0);
}

function checkCount(what: string, count: number): void {
  if (!Number.isInteger(count) || count < 1)
    throw new RangeError(`${what} of every ${count} blocks cannot be made; give a whole number from 1`);
}
