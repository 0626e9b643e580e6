// Scorers: how much does a query block want a key block. Each returns a stage, f32 [heads, qBlocks, kBlocks].
import type { Sampling } from '../backend/backend.ts';
import { checkStage } from '../checks.ts';
import type { Call, Scorer } from '../method.ts';
import type { Tensor } from '../tensor.ts';
import { withPattern } from './pattern.ts';
import { text } from './patterns.ts';
import { mixSeeds } from './sampling.ts';

/**
 * Exact softmax mass of each block pair, from q, k and the row log-sum-exp kept by the first search (AdaSpa, arXiv 2502.21079, section 4.3;
 * printed there as a logarithm where exp is meant). In later steps that log-sum-exp is stale, which scales rows and leaves the order within
 * a row of tokens as it is.
 * @throws Error, when scoring, where no log-sum-exp was kept: outside of `createAttention`.
 */
export const exact = (): Scorer => {
  const score = ({ ops, q, k, memory, layout }: Call): Tensor => {
    if (!memory.lse)
      throw new Error('exact() has no log-sum-exp to score with; run it through createAttention, which keeps one at the first search');
    return ops.blockMass(q, k, memory.lse, layout);
  };
  return Object.assign(score, { needsLse: true, forced: () => 0 });
};

/**
 * Scores from a share of the queries and keys of each block: exp(logit - the row's largest), the most of a block's rows, then shares of the
 * row's sum (PSA, arXiv 2512.04025, as its code does it: not softmax weights, every row weighs the same). One draw per head for all blocks,
 * the same for the same seed, step and layer.
 * @throws RangeError when a share is not in (0, 1].
 */
export const sampled = ({ queries = 1 / 4, keys = 1 / 4, seed = 0 }: Partial<Sampling> = {}): Scorer => {
  for (const [name, share] of Object.entries({ queries, keys }))
    if (!(share > 0 && share <= 1))
      throw new RangeError(`sampled takes a share of ${share} of the ${name}; choose one above 0 and at most 1`);
  const score = ({ ops, q, k, layout, site }: Call): Tensor =>
    ops.sampledScores(q, k, layout, { queries, keys, seed: mixSeeds(seed, site.step, site.layer) });
  return Object.assign(score, { forced: () => 0 });
};

/**
 * Forces all text: every pair of blocks of which one or both hold text is read in full (AdaSpa's text sink). Without text the scores stay
 * as they are.
 */
export const withText = (scorer: Scorer): Scorer => {
  checkStage('withText', scorer, 'a scorer, such as sampled()');
  return withPattern(scorer, text());
};
