// Methods that need training, in the form that works without: the idea of a stage is taken, what is learned is left out.
import { preset } from '../checks.ts';
import { restAt, upTo } from '../search/levels.ts';
import { forced, pattern, withPattern } from '../search/pattern.ts';
import { firstFrame, ownBlock, shards } from '../search/patterns.ts';
import { pooled } from '../search/pooled.ts';
import { searchEvery, searchOnce } from '../search/schedule.ts';
import { sampled, withText } from '../search/score.ts';
import { mass, rank } from '../search/select.ts';
import { slidingTile } from '../search/windows.ts';
import { curve, tiles } from '../sparse3d/layout.ts';
import { bestAndRest, checkSparsity, type SparsityOptions } from './sparsity.ts';

/**
 * ASA of BLADE (arXiv 2508.10774), untrained: sampled scores, .95 of each row's mass within 5 to 17 % of its blocks, and all the rest pooled by
 * 32. Departs: blocks of 64 for 128; theirs pools everything, by 30, and counts what is selected twice; the dense .24 of the steps are ours.
 * @param options All have defaults.
 * @param options.seed Seed of the token draws. Default 0.
 */
export const asa = preset(({ seed = 0 }: { readonly seed?: number } = {}) => ({
  name: 'asa',
  layout: curve(64),
  score: withText(sampled({ queries: 1 / 4, keys: 1 / 4, seed })),
  select: mass({ floor: 0.05, ceiling: 0.17 }),
  levels: [...upTo(0.95), ...restAt(32)],
  schedule: searchEvery({ denseSteps: 0.24 }),
}));

/**
 * S2-Attention (arXiv 2407.17678, of its abstract), untrained: each head reads another quarter of the key blocks, the union is everything. Departs: the rule of
 * the shards, the adjacent blocks, the first frame and the dense .2 of the steps are ours.
 * @param options All have defaults.
 * @param options.shares Heads that read all key blocks together. Default 4.
 * @throws RangeError unless shares are a whole number from 1 up.
 */
export const s2 = preset(({ shares = 4 }: { readonly shares?: number } = {}) => ({
  name: 's2',
  layout: tiles(4, 4, 4),
  score: pattern(shards({ of: shares }), ownBlock({ reach: 1 }), firstFrame()),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.2 }),
}));

/**
 * VSA (arXiv 2505.13389) and SLA (arXiv 2509.24006), untrained: both start from the best blocks by their means, and what they learn is zero at first. Departs: the dense .2
 * of the steps is ours.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const vsa = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'vsa',
  layout: tiles(4, 4, 4),
  score: withText(pooled()),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * NSA (arXiv 2502.11089) and VideoNSA, untrained: the own block and its neighbours, the best blocks by their means, and all the rest at its means.
 * Departs: one softmax for the three in place of learned gates, a fifth of the blocks for 16, chosen by blocks of queries; a window of 3 x 3 x 3
 * tiles for 512 tokens.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const nsaLike = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'nsaLike',
  layout: tiles(4, 4, 4),
  score: withText(withPattern(pooled(), slidingTile({ tile: [4, 4, 4] }))),
  select: rank(),
  levels: bestAndRest(sparsity),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * DHSA, untrained, and SeerAttention (arXiv 2410.13276) without its gate: means times the root of their tokens, so that short blocks are not
 * favoured, the best fifth of each row. Departs: equal chunks for those of a learned boundary; dense .2 of the steps.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const seer = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'seer',
  layout: tiles(4, 4, 4),
  score: withText(pooled({ short: 'root' })),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));
