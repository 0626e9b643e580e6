// The methods published training-free on video whose patterns are the same whatever is asked: which pairs of blocks are read depends on the
// grid alone, so one plan is made, and kept.
import type { Method } from '../method.ts';
import { radial as radialPattern } from '../search/bands.ts';
import { upTo } from '../search/levels.ts';
import { forced, pattern } from '../search/pattern.ts';
import { firstFrame } from '../search/patterns.ts';
import { searchOnce } from '../search/schedule.ts';
import {
  type NeighborhoodOptions,
  neighborhood as neighborhoodPattern,
  type SlidingTileOptions,
  slidingTile as slidingTilePattern,
} from '../search/windows.ts';
import { raster, tiles } from '../sparse3d/layout.ts';

/**
 * Radial Attention (arXiv 2506.19852): windows that halve as frames are further apart, the first frame in full; .24 of the steps (12 of 50)
 * and the first layer are dense, as for Wan2.1. Departs: blocks of 64 for 128, and as `radial` of search/bands.ts says.
 * @throws RangeError for a decay that is no share.
 */
export const radial = ({ decay = 0.2 } = {}): Method => ({
  name: 'radial',
  layout: raster(64),
  score: pattern(radialPattern({ decay }), firstFrame()),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.24, denseLayers: 1 }),
});

/**
 * Sliding Tile Attention (arXiv 2502.04507), one window for all heads: the 3 x 3 x 3 tiles round a query's, after .24 of the steps (12 of 50)
 * dense. Departs: tiles of 4 x 4 x 4, for grids of any size; the authors' are 6 x 8 x 8, with their windows by step, layer and head from a search
 * made beforehand.
 * @throws RangeError for sides that are no whole numbers above 0.
 */
export const slidingTile = ({ tile = [4, 4, 4], window = [3, 3, 3] }: SlidingTileOptions = {}): Method => ({
  name: 'slidingTile',
  layout: tiles(tile[0], tile[1], tile[2], { block: 64 }),
  score: pattern(slidingTilePattern({ tile, window })),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.24 }),
});

/**
 * Generalised neighbourhood attention (GNA, arXiv 2504.16922): a window of 12 x 12 x 12 tokens that groups of 4 x 4 x 4 queries share, after
 * .24 of the steps (12 of 50) dense. Departs: window and stride are ours, for small grids (theirs are 18 x 24 x 24 and 16 x 8 x 8 on 30 x 48 x
 * 80), and so are the dense steps.
 * @throws RangeError for sides that are no whole numbers above 0, or a stride above its window.
 */
export const neighborhood = ({ window = [12, 12, 12], stride = [4, 4, 4], dilation }: Partial<NeighborhoodOptions> = {}): Method => ({
  name: 'neighborhood',
  layout: tiles(4, 4, 4),
  score: pattern(neighborhoodPattern({ window, stride, dilation })),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.24 }),
});
