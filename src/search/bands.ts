// Static patterns that depend on how far apart tokens are in an order: bands of frames or of places, and the radial pattern.
import type { Layouts } from '../method.ts';
import { tokensOf, tokensOfBlock } from '../sparse3d/plan.ts';
import type { Mask, Pattern } from './pattern.ts';

/** Options of `frameBand` and `placeBand`. */
export interface BandOptions {
  /** Share of all token pairs in the band, so what is kept (SVG's flag named `sparsity`). Default .25. */
  readonly density?: number;
}

/**
 * Queries and keys at most N(1 - sqrt(1 - density)) tokens apart in raster order, so of near frames: SVG's spatial heads (arXiv 2502.01776).
 * Departs: a pair of blocks is read when at least half of its token pairs are in the band, in any layout.
 * @throws RangeError for a density outside (0, 1].
 */
export const frameBand = ({ density = 0.25 }: BandOptions = {}): Pattern => band(density, (token) => token);

/**
 * The same band in place order, in which the frames of one place follow each other: SVG's temporal heads. Departs as `frameBand` does.
 * @throws RangeError as `frameBand`.
 */
export const placeBand = ({ density = 0.25 }: BandOptions = {}): Pattern =>
  band(density, (token, frames, perFrame) => (token % perFrame) * frames + Math.floor(token / perFrame));

function band(density: number, indexOf: (token: number, frames: number, perFrame: number) => number): Pattern {
  if (!(density > 0 && density <= 1))
    throw new RangeError(`a band of density ${density} is not possible; give a share above 0 and at most 1`);
  return ({ q, k }) => {
    const { frames, height, width, text } = q.grid;
    const most = (tokensOf(q.grid) - text) * (1 - Math.sqrt(1 - density));
    const [queries, keys] = [q, k].map((layout) =>
      Array.from({ length: layout.videoBlocks }, (_, block) =>
        Float64Array.from(tokensOfBlock(layout, block), (token) => indexOf(token, frames, height * width)).sort(),
      ),
    );
    return [pairs({ q, k }, (query, key) => 2 * near(queries[query], keys[key], most) >= queries[query].length * keys[key].length)];
  };
}

/** Pairs of two rising lists that are at most `most` apart. */
function near(a: Float64Array, b: Float64Array, most: number): number {
  const [lowest, highest] = [a[0] - b[b.length - 1], a[a.length - 1] - b[0]];
  if (lowest > most || highest < -most) return 0;
  if (lowest >= -most && highest <= most) return a.length * b.length;
  let [count, from, to] = [0, 0, 0];
  for (const x of a) {
    while (to < b.length && b[to] <= x + most) to++;
    while (from < to && b[from] < x - most) from++;
    count += to - from;
  }
  return count;
}

/** A mask of the pairs of video blocks for which `reads` holds. */
function pairs({ q, k }: Layouts, reads: (queryBlock: number, keyBlock: number) => boolean): Mask {
  const mask = new Uint8Array(q.blocks * k.blocks);
  for (let query = 0; query < q.videoBlocks; query++)
    for (let key = 0; key < k.videoBlocks; key++) mask[query * k.blocks + key] = Number(reads(query, key));
  return mask;
}

/** Options of `radial`. */
export interface RadialOptions {
  /** Scales the windows: .2 for Wan2.1-14B, .95 for HunyuanVideo, .8 for Wan2.2. */
  readonly decay?: number;
  /** Share of the frame on each side that adjacent frames see of each other: 1, or .5 as the authors' code has it for Wan. */
  readonly adjacent?: number;
}

/**
 * Radial Attention (arXiv 2506.19852): a query sees keys of a frame d away that are at most s decay / 2^bits(d) tokens from its own place,
 * s the power of two above the tokens of a frame, bits(d) the bits of d; no window is narrower than a block; where even
 * s / 2^bits(d) is, only every (block 2^bits(d) / s)-th distance is kept. Frames 0 and 1 away are whole. A pair of blocks is read when
 * more than .6 of the key tokens that any query of the block sees are seen by more than a third of them. Departs: made for each grid, in
 * blocks of the layout (the code's 128 is fixed), of true tokens of any number, and tested over all frames of a block at once.
 * @throws RangeError for shares outside (0, 1].
 */
export const radial = ({ decay = 0.2, adjacent = 1 }: RadialOptions = {}): Pattern => {
  for (const [name, share] of Object.entries({ decay, adjacent }))
    if (!(share > 0 && share <= 1)) throw new RangeError(`radial takes ${name} ${share} for no share; give one above 0 and at most 1`);
  return ({ q, k }) => {
    const windows = radialWindows(q.grid.frames, q.grid.height * q.grid.width, k.block, decay, adjacent);
    const [queries, keys] = [q, k].map((layout) => Array.from({ length: layout.videoBlocks }, (_, block) => stretches(layout, block)));
    return [pairs({ q, k }, (query, key) => isDense(queries[query], keys[key], windows))];
  };
};

/** For each distance in frames, how far in tokens of a frame keys may be from a query's place; -1 where the frame is not read. */
export function radialWindows(frames: number, perFrame: number, block: number, decay: number, adjacent: number): number[] {
  const bits = (x: number) => 32 - Math.clz32(x);
  return Array.from({ length: frames }, (_, distance) => {
    if (distance === 0) return perFrame;
    if (distance === 1) return perFrame * adjacent;
    const length = 2 ** (bits(perFrame) - bits(distance));
    if (length < block && distance % Math.floor(block / length) !== 0) return -1;
    return Math.max(block, length * decay);
  });
}

/** Neighbours in raster order within one frame: places `first` to `last` of it. */
interface Stretch {
  readonly frame: number;
  readonly first: number;
  readonly last: number;
}

function stretches(layout: Layouts['q'], block: number): Stretch[] {
  const perFrame = layout.grid.height * layout.grid.width;
  const found: Stretch[] = [];
  for (const token of tokensOfBlock(layout, block).sort()) {
    const [frame, place] = [Math.floor(token / perFrame), token % perFrame];
    const before = found.at(-1);
    if (before?.frame === frame && before.last + 1 === place) found[found.length - 1] = { ...before, last: place };
    else found.push({ frame, first: place, last: place });
  }
  return found;
}

const SEEN = 1 / 3;
const DENSE = 0.6;

/** The two density tests of a pair of blocks. */
function isDense(queries: readonly Stretch[], keys: readonly Stretch[], windows: readonly number[]): boolean {
  const rows = queries.reduce((sum, stretch) => sum + lengthOf(stretch), 0);
  let [hit, dense] = [0, 0];
  for (const key of keys) {
    const { whole, cut } = seenOf(key, queries, windows);
    const columns = cut.length > 0 ? lengthOf(key) : 1;
    for (let at = 0; at < columns; at++) {
      const seen = cut.reduce((sum, query) => sum + overlap(query, key.first + at, windows[Math.abs(query.frame - key.frame)]), whole);
      const weight = cut.length > 0 ? 1 : lengthOf(key);
      if (seen > 0) hit += weight;
      if (seen > rows * SEEN) dense += weight;
    }
  }
  return hit > 0 && dense > hit * DENSE;
}

const lengthOf = ({ first, last }: Stretch): number => last - first + 1;

/** Queries that see all of a stretch of keys, and those stretches of them that see some of it. */
function seenOf(key: Stretch, queries: readonly Stretch[], windows: readonly number[]) {
  let whole = 0;
  const cut: Stretch[] = [];
  for (const query of queries) {
    const window = windows[Math.abs(query.frame - key.frame)];
    if (Math.max(0, query.first - key.last, key.first - query.last) > window) continue;
    if (Math.max(query.last - key.first, key.last - query.first) <= window) whole += lengthOf(query);
    else cut.push(query);
  }
  return { whole, cut };
}

/** Queries of a stretch that are no farther than the window from a place. */
const overlap = ({ first, last }: Stretch, place: number, window: number): number =>
  Math.max(0, Math.min(last, Math.floor(place + window)) - Math.max(first, Math.ceil(place - window)) + 1);
