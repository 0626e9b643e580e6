// Ideas of work on language models, ported: the stages are the paper's as far as they are known, on video none has been proven by its authors.
import type { Method } from '../method.ts';
import { upTo } from '../search/levels.ts';
import { forced, pattern } from '../search/pattern.ts';
import { firstFrame, ownBlock, powerDistances } from '../search/patterns.ts';
import { hierarchical } from '../search/pooled.ts';
import { searchAt, searchEvery, searchOnce } from '../search/schedule.ts';
import { exact, withText } from '../search/score.ts';
import { rank } from '../search/select.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { checkSparsity, type SparsityOptions } from './sparsity.ts';

/**
 * SparseD (ICLR 2026, diffusion language models), ported: exact block mass, the best .3 of each row, one search at .2 of the run, kept to its
 * end. Departs: blocks of 64 for 128, the sum of a block's weights for their mean, text is read in full.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const sparseD = ({ sparsity = 0.7 }: SparsityOptions = {}): Method => ({
  name: 'sparseD',
  layout: raster(64),
  score: withText(exact()),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchAt(0.2),
});

/**
 * PowerAttention (of its abstract), ported: key blocks at distances of 1, 2, 4, ... blocks, whose union over d layers reaches 2^d. Departs:
 * distances run both ways; the adjacent blocks, the first frame and the dense .2 of the steps are ours.
 */
export const powerAttention = (): Method => ({
  name: 'powerAttention',
  layout: raster(64),
  score: pattern(powerDistances(), ownBlock({ reach: 1 }), firstFrame()),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.2 }),
});

/**
 * HiP (of its abstract), ported: groups of 8 key blocks by their means, the blocks of the better half (of more where less is left out) by theirs, the best fifth of each row.
 * Departs: two levels for its tree, groups along the layout, dense .2 of the steps.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const hip = ({ sparsity = 0.8 }: SparsityOptions = {}): Method => ({
  name: 'hip',
  layout: tiles(4, 4, 4),
  score: withText(hierarchical({ group: 8, keep: Math.max(0.5, 1 - checkSparsity(sparsity)) })),
  select: rank(),
  levels: upTo(1 - sparsity),
  schedule: searchEvery({ denseSteps: 0.2 }),
});
