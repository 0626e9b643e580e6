// The methods published training-free on video that score blocks by their means.
import { preset } from '../checks.ts';
import type { LayoutStage } from '../method.ts';
import { upTo } from '../search/levels.ts';
import { withPattern } from '../search/pattern.ts';
import { firstFrame, ownBlock } from '../search/patterns.ts';
import { pooled } from '../search/pooled.ts';
import { searchEvery } from '../search/schedule.ts';
import { withText } from '../search/score.ts';
import { mass, rank } from '../search/select.ts';
import { cyclic, raster, tiles } from '../sparse3d/layout.ts';
import { checkSparsity, type SparsityOptions } from './sparsity.ts';

/** Options of `sparge`. */
export interface SpargeOptions extends SparsityOptions {
  /** Token order; default raster, as in the authors' examples. Their paper has a Hilbert curve: `curve(64)`. */
  readonly layout?: LayoutStage;
}

/**
 * SpargeAttn (arXiv 2502.18137): means of smoothed keys, .98 of each row's mass, blocks unlike themselves (mean cosine below .6) read in full; at
 * every step and layer. With `sparsity` each row keeps as many blocks and none is guarded, as its authors now advise (.5). Departs: blocks of
 * 64, and no test of blocks against the running maximum inside the kernel.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const sparge = preset(({ sparsity, layout = raster(64) }: SpargeOptions = {}) => ({
  name: 'sparge',
  layout,
  score: pooled({ smooth: true, guard: sparsity === undefined ? 0.6 : undefined }),
  ...(sparsity === undefined ? { select: mass(), levels: upTo(0.98) } : { select: rank(), levels: upTo(1 - checkSparsity(sparsity)) }),
  schedule: searchEvery(),
}));

/**
 * DraftAttention (arXiv 2505.14708): softmax of block means, the best quarter of each head's whole map (for Wan; .1 for HunyuanVideo), at every
 * step and layer. Departs: boxes of 8 x 8 for 8 x 16, clipped where the grid does not divide, and the own block is always read. Padding of clipped
 * boxes is computed: frames of 20 x 20 tokens are 9 boxes for 6.25, which doubles the density.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const draft = preset(({ sparsity = 0.75 }: SparsityOptions = {}) => ({
  name: 'draft',
  layout: tiles(1, 8, 8),
  score: withText(withPattern(pooled(), ownBlock())),
  select: rank({ over: 'head' }),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchEvery(),
}));

/**
 * VMoBA (arXiv 2506.23858) without its training, which its authors report too: slabs, columns and boxes by layer, products of means brought to
 * 0..1 and .25 of each head's sum of them, after a quarter of the steps dense. Departs: query blocks choose where theirs are single tokens, and
 * the sides of slabs and columns are ours.
 * @param options All have defaults.
 * @param options.share Share of each head's scores that is read. Default .25.
 * @throws RangeError for a share outside (0, 1].
 */
export const vmoba = preset(({ share = 0.25 }: { readonly share?: number } = {}) => ({
  name: 'vmoba',
  layout: cyclic(tiles(1, 8, 8), tiles(8, 2, 4), tiles(4, 4, 4)),
  score: withText(withPattern(pooled({ scaled: false, short: 'alike', normalize: 'minMax' }), ownBlock())),
  select: mass({ over: 'head' }),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.25 }),
}));

/**
 * RainFusion 2.0 (arXiv 2512.24086, of its abstract): block means over 3D boxes, the first frame in full both ways, .8 of each row left out.
 * Departs: boxes of 4 x 4 x 4, dense .1 of the steps as in 1.0 and a search every 5 are ours. The boxes of the first frame hold three more, and are
 * outside the share: of 13 frames they are a quarter of the rows and of the columns, so that .9 left out is .74 read, padding counted.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const rainFusion2 = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'rainFusion2',
  layout: tiles(4, 4, 4),
  score: withText(withPattern(pooled(), firstFrame({ rows: true }))),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchEvery({ denseSteps: 0.1, every: 5 }),
}));
