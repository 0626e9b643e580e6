// Full attention, and combinations of stages that no paper has.
import { preset } from '../checks.ts';
import type { Method } from '../method.ts';
import { upTo } from '../search/levels.ts';
import { alwaysDense, searchAt } from '../search/schedule.ts';
import { exact, sampled, withText } from '../search/score.ts';
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
 * Ours: the exact block mass of AdaSpa over columns of 2 x 4 places through time, the best blocks of each row in full and every other one at its
 * mean, found at .2 and .6 of the run and kept between. `sparsity` counts the means. Measured on the embedded model at equal work, padding
 * counted (.1 and .2 of full attention, layers 1, 4 and 6, one prompt a size): error .087 and .054 at 320 x 320 x 49, where boxes of 4 x 4 x 4 have
 * .124 and .077; .161 and .088 at 256 x 256 x 33, for .235 and .120. On boxes, dropping the rest made the error 2.5 to 4 times as large, and a
 * middle level pooled by 4 or 8 changed little.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const exactRest = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'exactRest',
  layout: columns(2, 4),
  score: withText(exact()),
  select: rank(),
  levels: bestAndRest(sparsity),
  schedule: searchAt(0.2, 0.6),
}));
