// Checks of attention: dense, and by plans on grids that do not divide, with text, short blocks, one-block videos and pooled levels.
import type { Backend } from '../backend/backend.ts';
import { curve, raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type Bound, type Check, check, type Results, type Size } from './check.ts';
import { input, numbers, type Storage, stored } from './inputs.ts';
import { planOfAll, randomPlan, uploadPlan } from './plans.ts';

/** The output is held to what its storage can hold, the log-sum-exp to a thousandth; pooled keys of f16 are means stored in f16. */
export const attentionBounds = (storage: Storage, pooled = false): { readonly out: Bound; readonly lse: Bound } => ({
  out: { measure: 'relative', tolerance: storage === 'f32' ? 2e-5 : pooled ? 5e-3 : 2e-3 },
  lse: { measure: 'absolute', tolerance: pooled && storage === 'f16' ? 1e-2 : 1e-3 },
});

/** Every check of `attendAll` and `attend`. */
export const attentionChecks = (storage: Storage): readonly Check[] => [
  ...denseChecks(storage),
  ...gridChecks(storage),
  ...edgeChecks(storage),
];

interface DenseCase {
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  /** Size of q: large ones make rows that see one key alone. */
  readonly scale?: number;
  readonly size?: Size;
}

// A dimension costs a software GPU seconds to compile for, so the small checks share two.
const DENSE: readonly DenseCase[] = [
  { heads: 1, queries: 1, keys: 1, dim: 24 },
  { heads: 3, queries: 77, keys: 77, dim: 24 },
  { heads: 1, queries: 40, keys: 130, dim: 24 },
  { heads: 1, queries: 150, keys: 150, dim: 64 },
  { heads: 2, queries: 70, keys: 90, dim: 64, size: 'quick' },
  { heads: 1, queries: 90, keys: 90, dim: 64, scale: 12, size: 'quick' },
  { heads: 1, queries: 9, keys: 9, dim: 8, size: 'medium' },
  { heads: 1, queries: 40, keys: 130, dim: 40, size: 'medium' },
  { heads: 2, queries: 130, keys: 130, dim: 128, size: 'medium' },
  { heads: 1, queries: 70, keys: 33, dim: 256, size: 'medium' },
];

const denseChecks = (storage: Storage): Check[] =>
  DENSE.map(({ heads, queries, keys, dim, scale = 1, size = 'small' }) => {
    const of = queries === keys ? `${queries} tokens` : `${queries} queries, ${keys} keys`;
    const steps = (ops: Backend): Results => {
      const [k, v] = [2, 3].map((seed) => input(ops, storage, [heads, keys, dim], seed));
      return { ...ops.attendAll(input(ops, storage, [heads, queries, dim], 1, scale), k, v) };
    };
    return check(`attendAll, ${heads} x ${dim}, ${of}${scale > 1 ? ', sharp' : ''}`, size, steps, attentionBounds(storage));
  });

interface PlanCase {
  readonly grid: Grid;
  readonly layout: { readonly q: Layout; readonly k: Layout };
  readonly pools: readonly number[];
  readonly heads: number;
  readonly dim: number;
}

/** q, k and v attended by a random plan. */
function byPlan(ops: Backend, storage: Storage, { grid, layout, pools, heads, dim }: PlanCase): Results {
  const blocked = (seed: number, of: Layout) => ops.gather(input(ops, storage, [heads, tokensOf(grid), dim], seed), of);
  const size = { heads, queryBlocks: layout.q.blocks, keyBlocks: layout.k.blocks };
  const plan = uploadPlan(ops, randomPlan(size, pools, 3), size, pools);
  const { out, lse } = ops.attend(blocked(11, layout.q), blocked(12, layout.k), blocked(13, layout.k), plan, layout);
  return { out: ops.scatter(out, layout.q), lse: ops.scatter(lse, layout.q) };
}

const LAYOUTS: readonly [make: (grid: Grid) => Layout, pools: readonly number[]][] = [
  [raster(64), [1]],
  [raster(64), [1, 2, 4, 8]],
  [tiles(4, 4, 4), [1, 64]],
  [tiles(1, 8, 8), [2]],
  [curve(64), [1, 2, 4, 8]],
  [curve(16), [4, 16]],
];

const GRIDS: readonly Grid[] = [
  { frames: 1, height: 1, width: 1, text: 0 },
  { frames: 1, height: 8, width: 8, text: 256 },
  { frames: 3, height: 6, width: 10, text: 20 },
];

const named = ({ frames, height, width, text }: Grid): string => `${frames}x${height}x${width}${text ? `+${text}` : ''}`;

function planCheck(storage: Storage, size: Size, plan: PlanCase): Check {
  const { layout, pools, heads, dim, grid } = plan;
  const order = layout.q === layout.k ? layout.q.name : `${layout.q.name} on ${layout.k.name}`;
  const name = `attend, ${heads} x ${dim}, ${named(grid)}, ${order}, pools ${pools.join(' ')}`;
  return check(name, size, (ops) => byPlan(ops, storage, plan), attentionBounds(storage, Math.max(...pools) > 1));
}

function gridChecks(storage: Storage): Check[] {
  const small = GRIDS.flatMap((grid) =>
    LAYOUTS.map(([make, pools]) => {
      const layout = make(grid);
      return planCheck(storage, 'small', { grid, layout: { q: layout, k: layout }, pools, heads: 2, dim: 24 });
    }),
  );
  const odd: Grid = { frames: 5, height: 7, width: 9, text: 77 };
  const [own, wide] = [tiles(4, 4, 4)(odd), curve(64)(odd)];
  const few: Grid = { frames: 2, height: 5, width: 7, text: 11 };
  const boxes = tiles(4, 4, 4)(few);
  const full: Grid = { frames: 13, height: 17, width: 9, text: 0 };
  const curved = curve(64)(full);
  return [
    ...small,
    planCheck(storage, 'quick', { grid: few, layout: { q: boxes, k: boxes }, pools: [1, 4], heads: 1, dim: 64 }),
    planCheck(storage, 'small', { grid: odd, layout: { q: own, k: own }, pools: [1, 4], heads: 2, dim: 64 }),
    planCheck(storage, 'medium', { grid: odd, layout: { q: wide, k: wide }, pools: [1, 2, 4, 8], heads: 1, dim: 128 }),
    planCheck(storage, 'small', { grid: odd, layout: { q: curve(16)(odd), k: own }, pools: [1, 4], heads: 1, dim: 24 }),
    planCheck(storage, 'medium', { grid: odd, layout: { q: own, k: own }, pools: [1, 8], heads: 1, dim: 256 }),
    planCheck(storage, 'medium', { grid: odd, layout: { q: own, k: own }, pools: [1, 8], heads: 2, dim: 8 }),
    planCheck(storage, 'medium', { grid: odd, layout: { q: raster(128)(odd), k: raster(32)(odd) }, pools: [1, 2], heads: 1, dim: 40 }),
    planCheck(storage, 'small', { grid: full, layout: { q: curved, k: curved }, pools: [1, 2, 4, 8], heads: 1, dim: 24 }),
  ];
}

const edgeChecks = (storage: Storage): Check[] => [
  check('attendAll, sums of values beyond f16', 'small', (ops) => largeValues(ops, storage), attentionBounds(storage)),
  check('attend, a plan of all blocks', 'small', (ops) => all(ops, storage), attentionBounds(storage)),
  check('attend, padding takes no mass beside far lower logits', 'small', (ops) => farBelow(ops, storage), {
    out: attentionBounds(storage, true).out,
    lse: { measure: 'relative', tolerance: storage === 'f32' ? 2e-5 : 2e-3 },
  }),
  check('attend, padding of the output is zero', 'small', (ops) => padded(ops, storage), { out: attentionBounds(storage).out }),
];

/** Values of which 64 add up to more than f16 holds, under equal weights. */
function largeValues(ops: Backend, storage: Storage): Results {
  const [queries, keys] = [40, 130].map((rows) => stored(ops, storage, new Float32Array(rows * 24), [1, rows, 24]));
  const values = numbers(130 * 24, 7).map((x) => 4000 + 100 * x);
  return { ...ops.attendAll(queries, keys, stored(ops, storage, values, [1, 130, 24])) };
}

/** Everything read, by lists of one entry. */
function all(ops: Backend, storage: Storage): Results {
  const grid: Grid = { frames: 5, height: 7, width: 9, text: 77 };
  const layout = tiles(4, 4, 4)(grid);
  const [q, k, v] = [1, 2, 3].map((seed) => ops.gather(input(ops, storage, [1, tokensOf(grid), 24], seed), layout));
  const plan = planOfAll(ops, { heads: 1, queryBlocks: layout.blocks, keyBlocks: layout.blocks });
  const { out, lse } = ops.attend(q, k, v, plan, { q: layout, k: layout });
  return { out: ops.scatter(out, layout), lse: ops.scatter(lse, layout) };
}

/** Fifteen and nine tokens in blocks of 64, with logits far below the zero that padding would have. */
function farBelow(ops: Backend, storage: Storage): Results {
  const grid: Grid = { frames: 1, height: 3, width: 5, text: 9 };
  const layout = raster(64)(grid);
  const same = (value: number) => stored(ops, storage, new Float32Array(24 * 24).fill(value), [1, 24, 24]);
  const [q, k, v] = [same(4), same(-20), input(ops, storage, [1, 24, 24], 5)].map((x) => ops.gather(x, layout));
  const [size, pools] = [{ heads: 1, queryBlocks: 2, keyBlocks: 2 }, [1, 8]];
  const plan = uploadPlan(ops, { counts: Int32Array.of(1, 1, 1, 1), blocks: Int32Array.of(0, 1, 1, 0) }, size, pools);
  const { out, lse } = ops.attend(q, k, v, plan, { q: layout, k: layout });
  return { out: ops.scatter(out, layout), lse: ops.scatter(lse, layout) };
}

function padded(ops: Backend, storage: Storage): Results {
  const grid: Grid = { frames: 3, height: 6, width: 10, text: 20 };
  const layout = tiles(4, 4, 4)(grid);
  const [q, k, v] = [1, 2, 3].map((seed) => ops.gather(input(ops, storage, [1, tokensOf(grid), 24], seed), layout));
  const size = { heads: 1, queryBlocks: layout.blocks, keyBlocks: layout.blocks };
  const plan = uploadPlan(ops, randomPlan(size, [1], 4), size, [1]);
  return { out: ops.attend(q, k, v, plan, { q: layout, k: layout }).out };
}
