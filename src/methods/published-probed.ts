// The methods published training-free on video that look at logits: antidiagonals, margins, or what reading a block as its mean loses.
import type { Method } from '../method.ts';
import { antidiagonal } from '../search/antidiagonal.ts';
import { poolingError } from '../search/error.ts';
import { upTo, within } from '../search/levels.ts';
import { margins } from '../search/low-bit.ts';
import { searchEvery } from '../search/schedule.ts';
import { withText } from '../search/score.ts';
import { margin, mass, rank } from '../search/select.ts';
import { shrinking } from '../search/select-by.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { bestAndRest, type SparsityOptions } from './sparsity.ts';

/**
 * XAttention (arXiv 2503.16428): antidiagonals of 8 x 8 patches, .9 of each row's mass (or .95), after a tenth of the steps dense. Departs: blocks of
 * 64 for 128, and padding takes no weight.
 */
export const xAttention = ({ share = 0.9 } = {}): Method => ({
  name: 'xAttention',
  layout: raster(64),
  score: antidiagonal({ stride: 8 }),
  select: mass(),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.1 }),
});

/**
 * SVG-EAR, the error-aware routing of Sparse VideoGen 2 (arXiv 2505.18875): read in full is where a mean would be most wrong, and all the rest at
 * its mean. Departs: equal blocks in tiles for clusters of queries and keys, a fixed share of each row, dense .2 of the steps. `sparsity` counts the
 * means.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const svgEar = ({ sparsity = 0.74 }: SparsityOptions = {}): Method => ({
  name: 'svgEar',
  layout: tiles(4, 4, 4),
  score: withText(poolingError()),
  select: rank(),
  levels: bestAndRest(sparsity),
  schedule: searchEvery({ denseSteps: 0.2, denseLayers: 0.03 }),
});

/**
 * LiteAttention (arXiv 2511.11062): full attention at first, and from then on a block that lies 10 (of base 2) or more below the maximum of all its
 * rows is dropped, for good. Departs: blocks of 64 for 128 x 176; each step scores what the kept plan reads before it attends, where the authors
 * test blocks as they attend, against the maximum so far.
 */
export const liteAttention = ({ nats = 10 * Math.LN2 } = {}): Method => ({
  name: 'liteAttention',
  layout: raster(64),
  score: withText(margins()),
  select: shrinking(margin({ anchor: 'zero' })),
  levels: within(nats),
  schedule: searchEvery({ denseSteps: 1 }),
});
