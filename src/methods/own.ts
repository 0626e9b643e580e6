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
 * mean, found at .2 and .6 of the run and kept between. `sparsity` counts the means; rows are rounded up to whole blocks. Measured on the embedded
 * model at 320 x 320 x 49, padding counted, two layers of two prompts with plans two and three steps old: errors .039 and .074 at .11 of full
 * attention, .021 and .042 at .21, .014 and .027 at .30; of the other presets the nearest on the second have .13, .07 and .04. Reading where means
 * are most wrong for 8 queries at a time (an eighth of the search), as many blocks for each head, did a little better at .2 and .3, and at .1 made
 * one of the errors 1.6 times as large; cuts over all heads starved some.
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
