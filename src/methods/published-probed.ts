// The methods published training-free on video that look at logits: antidiagonals, or margins.
import { preset } from '../checks.ts';
import { antidiagonal } from '../search/antidiagonal.ts';
import { upTo, within } from '../search/levels.ts';
import { margins } from '../search/low-bit.ts';
import { searchEvery } from '../search/schedule.ts';
import { withText } from '../search/score.ts';
import { margin, mass } from '../search/select.ts';
import { shrinking } from '../search/select-by.ts';
import { raster } from '../sparse3d/layout.ts';

/**
 * XAttention (arXiv 2503.16428): antidiagonals of 8 x 8 patches, .9 of each row's mass (or .95), after a tenth of the steps dense. Departs: blocks of
 * 64 for 128, and padding takes no weight.
 * @param options All have defaults.
 * @param options.share Share of each row's mass that is read. Default .9.
 * @throws RangeError for a share outside (0, 1].
 */
export const xAttention = preset(({ share = 0.9 }: { readonly share?: number } = {}) => ({
  name: 'xAttention',
  layout: raster(64),
  score: antidiagonal({ stride: 8 }),
  select: mass(),
  levels: upTo(share),
  schedule: searchEvery({ denseSteps: 0.1 }),
}));

/**
 * LiteAttention (arXiv 2511.11062): full attention at first, and from then on a block that lies 10 (of base 2) or more below the maximum of all its
 * rows is dropped, for good. Departs: blocks of 64 for 128 x 176; each step scores what the kept plan reads before it attends, where the authors
 * test blocks as they attend, against the maximum so far.
 * @param options All have defaults.
 * @param options.nats How far below a row's largest logit a block is dropped. Default 10 ln 2.
 * @throws RangeError for nats outside (0, 30].
 */
export const liteAttention = preset(({ nats = 10 * Math.LN2 }: { readonly nats?: number } = {}) => ({
  name: 'liteAttention',
  layout: raster(64),
  score: withText(margins()),
  select: shrinking(margin({ anchor: 'zero' })),
  levels: within(nats),
  schedule: searchEvery({ denseSteps: 1 }),
}));
