// The methods published training-free on video, as presets: each reads as a sentence and is an ordinary `Method`, so
// `{ ...adaSpa(), layout: tiles(4, 4, 4) }` is one too. Doc lines say where a preset departs from its paper.
import { preset } from '../checks.ts';
import type { LayoutStage, Method } from '../method.ts';
import { pyramid, scaledPyramid, upTo } from '../search/levels.ts';
import { searchAt, searchEvery } from '../search/schedule.ts';
import { exact, sampled, withText } from '../search/score.ts';
import { headAdaptive, mass, rank, similarityCap } from '../search/select.ts';
import { curve, raster } from '../sparse3d/layout.ts';
import { checkSparsity } from './sparsity.ts';

/** Options of `adaSpa`. */
export interface AdaSpaOptions {
  /** Share of the video's block pairs that is left out after the warm-up, from 0 to below 1. Default 0.8. */
  readonly sparsity?: number;
}

/**
 * AdaSpa (arXiv 2502.21079), published training-free on video: exact block mass, three head budgets, a plan found at .2 and .6 of the run
 * and kept between. Departs: text is kept outside the budget and the recall, at most half of the heads get the high budget, searches are
 * placed by share of the run (steps 10 and 30 of 50), and below sparsity 1/3 the budgets are narrowed so that none is negative.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const adaSpa = preset(({ sparsity = 0.8 }: AdaSpaOptions = {}) => ({
  name: 'adaSpa',
  layout: raster(64),
  score: withText(exact()),
  select: headAdaptive({ threshold: 0.8 }),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchAt(0.2, 0.6),
}));

/** Options of `pyramidSparse`. */
export interface PyramidSparseOptions {
  /** Cumulative shares of score mass read in full and pooled by 2, 4, 8. Default .5, .6, .7, .8, the paper's for Wan2.1-1.3B. */
  readonly cuts?: readonly number[];
  /** Instead of `cuts`: the FLOP-equivalent share left out, from 0 to below 1; see `pyramidSparse`. */
  readonly sparsity?: number;
  /** Token order; default the Gilbert curve. */
  readonly layout?: LayoutStage;
  /** Seed of the token draws. Default 0. */
  readonly seed?: number;
  /** Share of the run that starts dense. Default .3 (15 of 50 steps). */
  readonly denseSteps?: number;
}

/**
 * PSA, Pyramid Sparse Attention (arXiv 2512.04025), published training-free on video: sampled scores, key blocks pooled by 2, 4 and 8 as
 * their mass falls and their tokens are alike, searched at every step and layer. Departs: blocks of 64, text is read in full, draws are
 * seeded, and pooled ends keep their true counts. With `sparsity` the cuts are shares of blocks in the paper's proportions 5 : 10 : 15 : 25
 * (its `psa_topk`), scaled until they compute 1 - sparsity of full attention, and no block is capped.
 * @throws RangeError for a sparsity outside [0, 1) or cuts that fall, TypeError for both at once.
 */
export const pyramidSparse = preset(({ cuts, sparsity, layout = curve(64), seed = 0, denseSteps = 0.3 }: PyramidSparseOptions = {}) => ({
  name: 'pyramidSparse',
  layout,
  score: withText(sampled({ queries: 1 / 4, keys: 1 / 4, seed })),
  ...(sparsity === undefined ? byMass(cuts) : byRank(sparsity, cuts)),
  schedule: searchEvery({ denseSteps }),
}));

const byMass = (cuts: readonly number[] = [0.5, 0.6, 0.7, 0.8]): Pick<Method, 'select' | 'levels'> => ({
  select: mass({ floor: 0.06, cap: similarityCap([2, 4, 8].map((pool, at) => ({ pool, cosine: [0.7, 0.65, 0.6][at] }))) }),
  levels: pyramid(...cuts),
});

function byRank(sparsity: number, cuts?: readonly number[]): Pick<Method, 'select' | 'levels'> {
  if (cuts) throw new TypeError('pyramidSparse got both cuts and a sparsity; give one of them');
  return { select: rank(), levels: scaledPyramid([0.05, 0.1, 0.15, 0.25], 1 - checkSparsity(sparsity)) };
}
