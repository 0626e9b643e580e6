// The naive f64 twin of sampled scores, written from the formula and never optimised. (The twin of block mass is in sparse3d/reference.ts.)
import type { Sampling } from '../backend/backend.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { type Rows, tokensIn } from '../sparse3d/reference.ts';
import { type Side, slotsOfHead } from './sampling.ts';

/** Twin of `Backend.sampledScores` for one head, [qBlocks][kBlocks], on the same draws; q and k in raster order. */
export function sampledScoresReference(q: Rows, k: Rows, layout: { q: Layout; k: Layout }, sampling: Sampling, head: number): number[][] {
  const drawn = (of: Layout, side: Side, block: number): number[] => {
    const tokens = tokensIn(of, block);
    return [...slotsOfHead(of.block, sampling[side], sampling.seed, head, side)].map((slot) => tokens[slot % tokens.length]);
  };
  const logit = (row: number, key: number) => q[row].reduce((sum, x, at) => sum + x * k[key][at], 0) / Math.sqrt(q[row].length);
  const keys = Array.from({ length: layout.k.blocks }, (_, block) => drawn(layout.k, 'keys', block));
  return Array.from({ length: layout.q.blocks }, (_, queryBlock) => {
    const scores: number[] = keys.map(() => 0);
    for (const row of drawn(layout.q, 'queries', queryBlock)) {
      const maxima = keys.map((block) => Math.max(...block.map((key) => logit(row, key))));
      const peak = Math.max(...maxima);
      for (const [keyBlock, maximum] of maxima.entries()) scores[keyBlock] = Math.max(scores[keyBlock], Math.exp(maximum - peak));
    }
    const total = scores.reduce((sum, score) => sum + score, 0);
    return scores.map((score) => score / total);
  });
}
