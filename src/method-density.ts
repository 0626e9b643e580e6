// What share of full attention a method is to compute over a run, before anything is known of q and k.
import type { Method, Site } from './method.ts';
import { layoutsOf } from './method-order.ts';
import { flopShare } from './search/levels.ts';
import type { Grid } from './sparse3d/plan.ts';

/**
 * Mean FLOP-equivalent density a method promises over a run: 1 where its schedule is dense or its first search needs a log-sum-exp, else what its
 * patterns force, what its levels read of the rest (cuts taken as shares of blocks, which a share of mass is at most), and what its correction
 * computes beside that.
 */
export function expectedDensity(method: Method, steps: number, layers: number, grid: Grid): number {
  const { schedule, score } = method;
  let total = 0;
  for (let layer = 0; layer < layers; layer++) {
    let searched = !score.needsLse;
    let corrected = false;
    for (let step = 0; step < steps; step++) {
      const site: Site = { step, steps, layer, layers, branches: [0], grid };
      const phase = schedule(site);
      if (phase === 'dense' || !searched) total += 1;
      else {
        total += sparseDensity(method, site, phase, corrected);
        corrected = true;
      }
      searched ||= phase !== 'dense';
    }
  }
  return total / (steps * layers);
}

/** Of one call; `corrected` says whether the layer's correction had one before. */
function sparseDensity(method: Method, site: Site, phase: 'search' | 'reuse', corrected: boolean): number {
  const { score, select, levels, correct } = method;
  const layout = layoutsOf(method, site);
  const { forced, open } = score.decided?.(layout) ?? { forced: 0, open: 1 };
  const read = forced + open * (select.share ?? flopShare)(levels);
  return Math.min(1, read) + (correct?.share?.({ layout, phase, memory: corrected ? { residual: NOTHING } : {} }) ?? 0);
}

/** Stands for what an earlier search has kept. */
const NOTHING = { shape: [0], dtype: 'f32' } as const;
