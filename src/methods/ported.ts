// Ideas of work on language models, ported: the stages are the paper's as far as they are known, on video none has been proven by its authors.
import type { CalibrationOptions } from '../calibration/calibration.ts';
import { calibratedShares } from '../calibration/stages.ts';
import { preset } from '../checks.ts';
import type { Method } from '../method.ts';
import { delta } from '../search/correct.ts';
import { heavyKeys } from '../search/heavy-keys.ts';
import { upTo, within } from '../search/levels.ts';
import { hadamardCodes, margins } from '../search/low-bit.ts';
import { forced, lessAnchor, pattern, withPattern } from '../search/pattern.ts';
import { firstFrame, ownBlock, powerDistances, text } from '../search/patterns.ts';
import { hierarchical, pooled } from '../search/pooled.ts';
import { blocksOrLines, sampledRows, verticalSlash } from '../search/probes.ts';
import { searchAt, searchEvery, searchLayers, searchOnce } from '../search/schedule.ts';
import { exact, withText } from '../search/score.ts';
import { margin, mass, rank } from '../search/select.ts';
import { covering, refine } from '../search/select-by.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { draft } from './published-pooled.ts';
import { checkSparsity, type SparsityOptions } from './sparsity.ts';

/**
 * SparseD (ICLR 2026, diffusion language models), ported: exact block mass, the best .3 of each row, one search at .2 of the run, kept to its
 * end. Departs: blocks of 64 for 128, the sum of a block's weights for their mean, text is read in full.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const sparseD = preset(({ sparsity = 0.7 }: SparsityOptions = {}) => ({
  name: 'sparseD',
  layout: raster(64),
  score: withText(exact()),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchAt(0.2),
}));

/**
 * PowerAttention (arXiv 2503.03588, of its abstract), ported: key blocks at distances of 1, 2, 4, ... blocks, whose union over d layers reaches 2^d. Departs:
 * distances run both ways; the adjacent blocks, the first frame and the dense .2 of the steps are ours.
 */
export const powerAttention: () => Method = preset(() => ({
  name: 'powerAttention',
  layout: raster(64),
  score: pattern(powerDistances(), ownBlock({ reach: 1 }), firstFrame()),
  select: forced(),
  levels: upTo(1),
  schedule: searchOnce({ denseSteps: 0.2 }),
}));

/**
 * HiP (arXiv 2406.09827, of its abstract), ported: groups of 8 key blocks by their means, the blocks of the better half (of more where less is left out) by theirs, the best fifth of each row.
 * Departs: two levels for its tree, groups along the layout, dense .2 of the steps.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const hip = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'hip',
  layout: tiles(4, 4, 4),
  score: withText(hierarchical({ group: 8, keep: Math.max(0.5, 1 - checkSparsity(sparsity)) })),
  select: rank(),
  levels: upTo(1 - sparsity),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * MInference (arXiv 2407.02490), ported for comparison only: the 16 columns and 96 diagonals of blocks on which 64 rows put most weight, at most
 * half of a row, after .2 of the steps dense. Departs: as `verticalSlash` says, and all heads read lines.
 */
export const minference: () => Method = preset(() => ({
  name: 'minference',
  layout: raster(64),
  score: withText(verticalSlash({ columns: 16, diagonals: 96, most: 0.5, rows: 64 })),
  select: forced(),
  levels: upTo(1),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * SampleAttention (arXiv 2406.15486, of its abstract), ported: the fewest key blocks that hold .95 of what some rows read, for all rows alike, with
 * the own block and its neighbours. Departs: one row of 8 query blocks, the share and the dense .2 of the steps are ours. On the embedded model
 * queries share no key blocks: .84 of the blocks hold .84 of the mass, as blocks drawn at random would.
 * @param options All have defaults.
 * @param options.share Share of the sampled weight that is read. Default .95.
 * @throws RangeError for a share outside (0, 1].
 */
export const sampleAttention = preset(({ share = 0.95 }: { readonly share?: number } = {}) => ({
  name: 'sampleAttention',
  layout: tiles(4, 4, 4),
  score: withText(withPattern(sampledRows({ every: 8 }), ownBlock({ reach: 1 }))),
  select: mass(),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

const near = [ownBlock(), firstFrame(), text()];

/**
 * AnchorAttention (arXiv 2505.23520, of its abstract), ported: key blocks whose mean logit is at most 4 nats below the anchor, the largest of own
 * block, first frame and text, which are always read. Departs: blocks for single keys; anchors, margin and the dense .2 of the steps are ours.
 * @param options All have defaults.
 * @param options.nats How far below the anchor a block is still read. Default 4.
 * @throws RangeError for nats outside (0, 30].
 */
export const anchor = preset(({ nats = 4 }: { readonly nats?: number } = {}) => ({
  name: 'anchor',
  layout: tiles(4, 4, 4),
  score: withPattern(lessAnchor(pooled({ short: 'alike', normalize: 'none' }), ...near), ...near),
  select: margin({ anchor: 'zero' }),
  levels: within(nats),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * TidalDecode (arXiv 2410.05076), ported: the first sparse layer and the middle one choose for the layers after them. Departs: blocks by their
 * means for tokens, a fifth of each row, dense .2 of the steps.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const tidal = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'tidal',
  layout: tiles(4, 4, 4),
  score: withText(pooled()),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchLayers({ denseSteps: 0.2, at: [0.5] }),
}));

/**
 * TCA, training-free context-adaptive attention (of its abstract), ported: each head reads as many blocks as hold .9 of its mass, by block means at
 * each search, or, with a calibration, as many as held .9 of its exact mass. Departs: blocks for tokens; its measure of redundancy is not known
 * and left out; the dense .2 of the steps is ours.
 * @throws RangeError, when it runs, for a model or size that was not calibrated.
 */
export const tca = preset(({ calibration }: CalibrationOptions = {}) => ({
  name: 'tca',
  layout: tiles(4, 4, 4),
  score: withText(pooled()),
  select: calibration ? calibratedShares(calibration) : covering({ cover: 0.9 }),
  levels: upTo(1),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * Delta Attention (arXiv 2505.11254), ported: one dense row for each block of 64 queries, and what the plan left out of it added to all of the
 * block. A correction for any method, here for draft: `{ ...draft(), correct: delta() }`. Departs: blocks of the layout for neighbours in a text, and
 * dense .2 of the steps; the rows add 1/64 of full attention to the density.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const deltaAttention = preset(({ sparsity }: SparsityOptions = {}) => ({
  ...draft({ sparsity }),
  name: 'deltaAttention',
  layout: tiles(4, 4, 4),
  correct: delta(),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * Twilight (arXiv 2502.02770), ported: the better half of each row by block means, and of that .85 of the mass by 4-bit logits; the first two layers
 * and .2 of the steps are dense. Departs: blocks and half a row for pages and a budget of tokens; 4 bits are computed with, not packed; rows are
 * sorted, as their lists are, where its search for a threshold sorts nothing (cuts over a head are searched so).
 * @param options All have defaults.
 * @param options.share Share of the mass by 4-bit logits that is read. Default .85.
 * @throws RangeError for a share outside (0, 1].
 */
export const twilight = preset(({ share = 0.85 }: { readonly share?: number } = {}) => ({
  name: 'twilight',
  layout: tiles(4, 4, 4),
  score: withText(pooled()),
  select: refine({ first: rank(), levels: upTo(0.5), score: withText(margins({ bits: 4, shares: true })), second: mass() }),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.2, denseLayers: 2 }),
}));

/**
 * SALE (arXiv 2505.24179, of its abstract), ported: 4-bit logits of all pairs, key blocks at most 4 nats below a row's largest, searched at .2 and .6
 * of the run, since that costs more than means. Departs: margins for its relative score, their width, and the schedule are ours.
 * @param options All have defaults.
 * @param options.nats How far below a row's largest logit a block is still read. Default 4.
 * @throws RangeError for nats outside (0, 30].
 */
export const sale = preset(({ nats = 4 }: { readonly nats?: number } = {}) => ({
  name: 'sale',
  layout: tiles(4, 4, 4),
  score: withText(margins({ bits: 4 })),
  select: margin({ anchor: 'zero' }),
  levels: within(nats),
  schedule: searchAt(0.2, 0.6),
}));

/**
 * Adamas (arXiv 2510.18413, of its abstract), ported: distances of 2-bit codes of Hadamard-turned means, the best fifth of each row. Departs: block
 * means for tokens, buckets at quartiles, and the dense .2 of the steps are ours.
 * @throws RangeError for a sparsity outside [0, 1).
 */
export const adamas = preset(({ sparsity = 0.8 }: SparsityOptions = {}) => ({
  name: 'adamas',
  layout: tiles(4, 4, 4),
  score: withText(hadamardCodes()),
  select: rank(),
  levels: upTo(1 - checkSparsity(sparsity)),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * FlexPrefill (arXiv 2502.20766), ported: by 128 rows each head reads blocks by their means, .9 of its mass, or the lines that cover .9. Line patterns
 * are known to fail on video. Departs: as `blocksOrLines` says, the crossing block is in, and the dense .2 of the steps are ours.
 * @param options All have defaults.
 * @param options.share Share of the mass, or of the lines' weight, that is read. Default .9.
 * @throws RangeError for a share that is none.
 */
export const flexPrefill = preset(({ share = 0.9 }: { readonly share?: number } = {}) => ({
  name: 'flexPrefill',
  layout: raster(64),
  score: withText(blocksOrLines({ threshold: 0.1, share, rows: 128 })),
  select: mass({ over: 'head' }),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.2 }),
}));

/**
 * PBS-Attn (arXiv 2510.21270, language models), ported: each head's keys by the weight that 64 queries give them, block means over that order, .9 of
 * each row's mass. Departs: all keys of the video are sorted where theirs are sorted within segments of 256 of a causal text, by queries at equal
 * steps and not by the last block's; queries in tiles, blocks of 64 for 128; sorted and searched every 5 steps. On the embedded model this order
 * parts neighbours, whose means then say nothing: .80 of the blocks hold .79 of the mass, as blocks drawn at random would.
 * @param options All have defaults.
 * @param options.share Share of each row's mass that is read. Default .9.
 * @throws RangeError for a share outside (0, 1].
 */
export const pbs = preset(({ share = 0.9 }: { readonly share?: number } = {}) => ({
  name: 'pbs',
  layout: heavyKeys(),
  score: withText(pooled()),
  select: mass(),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.2, every: 5 }),
}));
