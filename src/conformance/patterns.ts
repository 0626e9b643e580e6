// Checks of static patterns: their plans are those of f64 on grids that do not divide, with text and without.
import type { Backend } from '../backend/backend.ts';
import type { Call, Scorer } from '../method.ts';
import { frameBand, placeBand, radial } from '../search/bands.ts';
import { bestOf } from '../search/best-of.ts';
import { upTo } from '../search/levels.ts';
import { byHead, forced, type Pattern, pattern, withPattern } from '../search/pattern.ts';
import { checkerboard, firstFrame, ownBlock, shards } from '../search/patterns.ts';
import { sampled } from '../search/score.ts';
import { neighborhood, slidingTile } from '../search/windows.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, type Plan, tokensOf } from '../sparse3d/plan.ts';
import { type Check, check } from './check.ts';
import { input, type Storage } from './inputs.ts';

const HEADS = 3;
const GRIDS: readonly Grid[] = [
  { frames: 13, height: 17, width: 9, text: 0 },
  { frames: 5, height: 7, width: 9, text: 13 },
  { frames: 1, height: 2, width: 3, text: 0 },
];

interface Case {
  readonly layout: (grid: Grid) => Layout;
  readonly patterns: readonly Pattern[];
}
const CASES: Readonly<Record<string, Case>> = {
  radial: { layout: raster(64), patterns: [radial(), firstFrame()] },
  'sliding tile': { layout: tiles(1, 8, 8), patterns: [slidingTile({ tile: [2, 8, 8] })] },
  neighborhood: { layout: tiles(4, 4, 4), patterns: [neighborhood({ window: [5, 8, 8], stride: [4, 4, 4] })] },
  'shards by head': { layout: tiles(4, 4, 4), patterns: [shards({ of: 2 }), ownBlock({ reach: 1 })] },
};

/** Patterns alone, and forced over scores; plans hold no numbers of q and k, so one storage is enough. */
export const patternChecks = (storage: Storage): readonly Check[] =>
  storage === 'f32' ? [...GRIDS.flatMap(plansOn), ...GRIDS.slice(1).flatMap((grid) => [scoresOn(grid), ...bestOn(grid)])] : [];

const over = withPattern(sampled(), byHead(checkerboard(), frameBand()));

const plansOn = (grid: Grid): Check[] =>
  Object.entries(CASES).map(([name, { layout, patterns }]) =>
    check(`pattern ${name}, ${tokensOf(grid)} tokens`, 'small', (ops) => ({ plan: planOf(ops, grid, layout, pattern(...patterns)) }), {
      plan: { measure: 'plan', tolerance: 0 },
    }),
  );

const scoresOn = (grid: Grid): Check =>
  check(`pattern over scores, ${tokensOf(grid)} tokens`, 'small', (ops) => ({ scores: over(callOf(ops, grid, tiles(4, 4, 4))) }), {
    scores: { measure: 'absolute', tolerance: 1e-4 },
  });

const CANDIDATES = [frameBand(), placeBand(), checkerboard(), firstFrame()];
const JUDGES: Readonly<Record<string, Scorer>> = {
  recall: bestOf(CANDIDATES),
  error: bestOf(CANDIDATES, { by: 'error', rows: 32 }),
  'enough recall': bestOf(CANDIDATES, { rows: 20, atLeast: 0.3 }),
};

const bestOn = (grid: Grid): Check[] =>
  Object.entries(JUDGES).map(([name, score]) =>
    check(
      `pattern best of four by ${name}, ${tokensOf(grid)} tokens`,
      'small',
      (ops) => ({ scores: score(callOf(ops, grid, tiles(4, 4, 4))) }),
      {
        scores: { measure: 'absolute', tolerance: 0 },
      },
    ),
  );

function planOf(ops: Backend, grid: Grid, layout: Case['layout'], score: Scorer): Plan {
  const call = callOf(ops, grid, layout);
  return forced()({ ...call, forced: score.forced?.(call.layout) }, score(call), upTo(1));
}

function callOf(ops: Backend, grid: Grid, layout: Case['layout']): Call {
  const made = layout(grid);
  const [q, k] = [1, 2].map((seed) => ops.gather(input(ops, 'f32', [HEADS, tokensOf(grid), 8], seed), made));
  const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid };
  return { ops, q, k, v: k, layout: { q: made, k: made }, site, memory: {} };
}
