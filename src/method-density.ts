// What share of full attention a method is to compute over a run, before anything is known of q and k.
import type { Method, Site } from './method.ts';
import { layoutsOf } from './method-order.ts';
import { flopShare } from './search/levels.ts';
import type { Grid } from './sparse3d/plan.ts';

/**
 * Mean FLOP-equivalent density a method promises over a run: 1 of full calls, else what its patterns force, what its levels read of the rest (cuts
 * taken as shares of blocks, which a share of mass is at most), and what its correction computes beside that.
 */
export function expectedDensity(method: Method, steps: number, layers: number, grid: Grid): number {
  let total = 0;
  let correctedLayer = -1;
  for (const { site, phase } of callsOf(method, { steps, layers, grid, branches: [0] }))
    if (phase === 'full') total += 1;
    else {
      total += sparseDensity(method, site, phase, correctedLayer === site.layer);
      correctedLayer = site.layer;
    }
  return total / (steps * layers);
}

/** Share of the attention calls of a run that a method's schedule computes in full. */
export function fullShare(method: Method, run: Run): number {
  let full = 0;
  for (const { phase } of callsOf(method, run)) if (phase === 'full') full++;
  return full / (run.steps * run.layers);
}

type Run = Omit<Site, 'step' | 'layer'>;

/** Calls layer by layer. Full are those whose schedule is dense, and those before a first search by a log-sum-exp has one, that search included. */
function* callsOf({ schedule, score }: Method, run: Run): Generator<{ readonly site: Site; readonly phase: 'full' | 'search' | 'reuse' }> {
  for (let layer = 0; layer < run.layers; layer++) {
    let searched = !score.needsLse;
    for (let step = 0; step < run.steps; step++) {
      const site: Site = { ...run, step, layer };
      const phase = schedule(site);
      yield { site, phase: phase === 'dense' || !searched ? 'full' : phase };
      searched ||= phase !== 'dense';
    }
  }
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
