// Full attention, and combinations of stages that no paper has.
import { preset } from '../checks.ts';
import type { Method } from '../method.ts';
import { poolingError } from '../search/error.ts';
import { upTo } from '../search/levels.ts';
import { alwaysDense, searchAt } from '../search/schedule.ts';
import { sampled, withText } from '../search/score.ts';
import { rank } from '../search/select.ts';
import { columns, raster } from '../sparse3d/layout.ts';
import { bestAndRest, type SparsityOptions } from './sparsity.ts';

/** Full attention at every step: what the others are measured against. */
export const dense: () => Method = preset(() => ({
  name: 'dense',
  layout: raster(64),
  score: sampled(),
  select: rank(),
  levels: upTo(1),
  schedule: alwaysDense(),
}));

/**
 * Ours: over columns of 2 x 4 places through time, the blocks whose means would be most wrong are read in full and every other one at its mean, as
 * many for each head, wherever in it. The error is SVG-EAR's, of 8 queries at a time, an eighth of the products of full attention; four searches,
 * and the plan kept between. `sparsity` counts the means. Measured on the embedded model at 320 x 320 x 49, padding counted: error .083, .041
 * and .026 at .1, .2 and .3 of full attention (layer 5, plans three steps old), where of the other presets the best have .13, .07 and .04. Against
 * the exact mass of blocks, row by row, the score and the cut over a head each take away up to a third. A cut over all heads starves some, and
 * boxes, other columns, or a middle level at means of 16 do no better or little.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const exactRest = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'exactRest',
  layout: columns(2, 4),
  score: withText(poolingError({ queries: 8 })),
  select: rank({ over: 'head' }),
  levels: bestAndRest(sparsity),
  schedule: searchAt(0.2, 0.4, 0.6, 0.8),
}));
