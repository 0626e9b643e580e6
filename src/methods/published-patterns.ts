// The methods published training-free on video that read fixed patterns of the grid: one for all heads, or the best of several for each.
import type { CalibrationOptions } from '../calibration/calibration.ts';
import { calibratedWindows } from '../calibration/stages.ts';
import { preset } from '../checks.ts';
import { frameBand, placeBand, radial as radialPattern } from '../search/bands.ts';
import { bestOf } from '../search/best-of.ts';
import { upTo } from '../search/levels.ts';
import { forced, pattern, union } from '../search/pattern.ts';
import { checkerboard, firstFrame, ownBlock } from '../search/patterns.ts';
import { searchEvery, searchOnce } from '../search/schedule.ts';
import {
  type NeighborhoodOptions,
  neighborhood as neighborhoodPattern,
  type SlidingTileOptions,
  slidingTile as slidingTilePattern,
  window,
} from '../search/windows.ts';
import { raster, tiles } from '../sparse3d/layout.ts';

/**
 * Radial Attention (arXiv 2506.19852): windows that halve as frames are further apart, the first frame in full; .24 of the steps (12 of 50)
 * and the first layer are dense, as for Wan2.1. Departs: blocks of 64 for 128, and as `radial` of search/bands.ts says.
 * @param options All have defaults.
 * @param options.decay Scales the windows, above 0 and at most 1. Default .2.
 * @throws RangeError for a decay that is no share.
 */
export const radial = preset(({ decay = 0.2 }: { readonly decay?: number } = {}) => ({
  name: 'radial',
  layout: raster(64),
  score: pattern(radialPattern({ decay }), firstFrame()),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.24, denseLayers: 1 }),
}));

/** Options of the method `slidingTile`. */
export interface CalibratedTileOptions extends SlidingTileOptions, CalibrationOptions {
  /** Mean density of the windows that a calibration chooses, after the dense steps. Default .3. */
  readonly density?: number;
}

/**
 * Sliding Tile Attention (arXiv 2502.04507), one window for all heads: the 3 x 3 x 3 tiles round a query's, after .24 of the steps (12 of 50)
 * dense; with a calibration the windows of least error for each layer and head. Departs: tiles of 4 x 4 x 4, for grids of any size, where the
 * authors' are 6 x 8 x 8; windows are searched under a bound of density, as in MoA (arXiv 2406.14909), and not for each step.
 * @throws RangeError for sides that are no whole numbers above 0, or a density that is no share.
 */
export const slidingTile = preset(({ tile = [4, 4, 4], window = [3, 3, 3], calibration, density = 0.3 }: CalibratedTileOptions = {}) => ({
  name: 'slidingTile',
  layout: tiles(tile[0], tile[1], tile[2], { block: 64 }),
  score: calibration ? calibratedWindows(calibration, density) : pattern(slidingTilePattern({ tile, window })),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.24 }),
}));

/**
 * Generalised neighbourhood attention (GNA, arXiv 2504.16922): a window of 8 x 12 x 12 tokens that groups of 8 x 4 x 4 queries share, after
 * .24 of the steps (12 of 50) dense. Groups as wide as tiles would make it Sliding Tile Attention wherever tiles divide the grid. Departs: window and
 * stride are ours, for small grids (theirs are 18 x 24 x 24 and 16 x 8 x 8 on 30 x 48 x 80, nearly as long in frames), and so are the dense steps.
 * @throws RangeError for sides that are no whole numbers above 0, or a stride above its window.
 */
export const neighborhood = preset(({ window = [8, 12, 12], stride = [8, 4, 4], dilation }: Partial<NeighborhoodOptions> = {}) => ({
  name: 'neighborhood',
  layout: tiles(4, 4, 4),
  score: pattern(neighborhoodPattern({ window, stride, dilation })),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.24 }),
}));

/**
 * Sparse VideoGen (arXiv 2502.01776): for each head the band of near frames or that of near places, whichever errs less on 64 rows, and the first
 * frame; judged at every step after .2 of them and .03 of the layers dense. Departs: one layout of tiles for both bands, where the authors move
 * the tokens of temporal heads; it is the executed masks that are judged, and the first frame is that of the video. `density` is what is kept
 * (theirs: `sparsity`), .3 for Wan.
 * @param options All have defaults.
 * @param options.density Share of token pairs in a band. Default .3.
 * @throws RangeError for a density that is no share.
 */
export const svg = preset(({ density = 0.3 }: { readonly density?: number } = {}) => ({
  name: 'svg',
  layout: tiles(4, 4, 4),
  score: bestOf(
    [frameBand({ density }), placeBand({ density })].map((band) => union(band, firstFrame())),
    { by: 'error', rows: 64 },
  ),
  select: forced(),
  levels: upTo(1),
  schedule: searchEvery({ denseSteps: 0.2, denseLayers: 0.03 }),
}));

/**
 * RainFusion (arXiv 2505.21036, second-hand): each head reads near places of all frames if 64 rows find .9 of their weight there, else near frames,
 * else every other block; after .1 of the steps dense, judged every 5. Departs: one layout of tiles; widths, threshold and rate are ours, as the
 * authors' are not known.
 * @param options All have defaults.
 * @param options.atLeast Share of the weight that a pattern must hold to be taken. Default .9.
 * @throws RangeError for a share outside (0, 1].
 */
export const rainFusion = preset(({ atLeast = 0.9 }: { readonly atLeast?: number } = {}) => ({
  name: 'rainFusion',
  layout: tiles(4, 4, 4),
  score: bestOf([window({ rows: 4, columns: 4 }), window({ frames: 2 }), union(checkerboard(), ownBlock())], { atLeast, rows: 64 }),
  select: forced(),
  levels: upTo(1),
  schedule: searchEvery({ denseSteps: 0.1, every: 5 }),
}));
