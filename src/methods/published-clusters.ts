// The methods published training-free on video that put tokens which are alike in blocks together, for each head in an order of its own.
import { preset } from '../checks.ts';
import { type ClusterOptions, clusters } from '../search/clusters.ts';
import { poolingError } from '../search/error.ts';
import { upTo } from '../search/levels.ts';
import { pooled } from '../search/pooled.ts';
import { searchEvery } from '../search/schedule.ts';
import { withText } from '../search/score.ts';
import { mass, rank } from '../search/select.ts';
import { ofTokens } from '../search/select-by.ts';
import { bestAndRest, type SparsityOptions } from './sparsity.ts';

/** Options of `svg2`. */
export interface Svg2Options extends Pick<ClusterOptions, 'queries' | 'keys'> {
  /** Share of each row's mass that is read. Default .9. */
  readonly share?: number;
}

/**
 * Sparse VideoGen 2 (arXiv 2505.18875): k-means of each head's queries and keys, softmax of means that weigh as many keys as they stand for, .9 of
 * each row's mass and at least .1 of the blocks, after .2 of the steps and .03 of the layers dense (.3 of the steps in the paper). Departs:
 * as `clusters` of search/clusters.ts says; blocks of a large cluster are judged by themselves, and padding, about an eighth of each
 * side, is computed and counted in the density.
 * @throws RangeError for clusters or a share out of range.
 */
export const svg2 = preset(({ queries, keys, share = 0.9 }: Svg2Options = {}) => ({
  name: 'svg2',
  layout: clusters({ queries, keys }),
  score: withText(pooled()),
  select: mass({ floor: 0.1 }),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.2, denseLayers: 0.03 }),
}));

/**
 * SVG-EAR (arXiv 2603.08982), error-aware routing over the clusters of Sparse VideoGen 2: read in full is where a mean would be most wrong for its
 * cost, and all the rest at its mean. Departs: as `svg2` does; errors are those of the mean query of a block, and rests the means of blocks of
 * 32, not of whole clusters; a fixed share of each row, dense .2 of the steps and .03 of the layers. `sparsity` counts the means.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const svgEar = preset(({ sparsity = 0.74 }: SparsityOptions = {}) => ({
  name: 'svgEar',
  layout: clusters({ keyBlock: 32 }),
  score: withText(poolingError()),
  select: ofTokens(rank()),
  levels: bestAndRest(sparsity, 32),
  schedule: searchEvery({ denseSteps: 0.2, denseLayers: 0.03 }),
}));
