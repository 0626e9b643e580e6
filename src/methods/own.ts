// Full attention, and combinations of stages that no paper has.
import type { Method } from '../method.ts';
import { scaledPyramid, upTo } from '../search/levels.ts';
import { alwaysDense, searchAt } from '../search/schedule.ts';
import { exact, sampled, withText } from '../search/score.ts';
import { rank } from '../search/select.ts';
import { curve, raster } from '../sparse3d/layout.ts';
import { checkSparsity, type SparsityOptions } from './sparsity.ts';

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
 * Ours: the exact block mass of AdaSpa over the curve of PSA, best blocks in full and the next ones pooled by 2 and 4, found at .2 and .6 of
 * the run and kept between. The cuts keep the proportions 15 : 25 : 45, the best of PSA's own ablation at a fixed budget.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const exactPyramid = ({ sparsity = 0.8 }: SparsityOptions = {}): Method => ({
  name: 'exactPyramid',
  layout: curve(64),
  score: withText(exact()),
  select: rank(),
  levels: scaledPyramid([0.15, 0.25, 0.45], 1 - checkSparsity(sparsity)),
  schedule: searchAt(0.2, 0.6),
});
