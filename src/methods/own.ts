// Full attention, and combinations of stages that no paper has.
import type { Method } from '../method.ts';
import { upTo } from '../search/levels.ts';
import { alwaysDense, searchAt } from '../search/schedule.ts';
import { exact, sampled, withText } from '../search/score.ts';
import { rank } from '../search/select.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { bestAndRest, type SparsityOptions } from './sparsity.ts';

/** Full attention at every step: what the others are measured against. */
export const dense = (): Method => ({
  name: 'dense',
  layout: raster(64),
  score: sampled(),
  select: rank(),
  levels: upTo(1),
  schedule: alwaysDense(),
});

/**
 * Ours: the exact block mass of AdaSpa over 3D tiles, the best blocks of each row in full and every other one at its mean, found at .2 and .6 of the
 * run and kept between. A first measurement on the embedded model, at equal work: .4 times the error of the same plans without the rest, .7 times
 * that of pooled scores with it. `sparsity` counts the means.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const exactRest = ({ sparsity = 0.8 }: SparsityOptions = {}): Method => ({
  name: 'exactRest',
  layout: tiles(4, 4, 4),
  score: withText(exact()),
  select: rank(),
  levels: bestAndRest(sparsity),
  schedule: searchAt(0.2, 0.6),
});
