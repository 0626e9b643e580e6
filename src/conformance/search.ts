// Checks of how plans are found: scores, selection, recall and budgets.
import type { Backend, Selection } from '../backend/backend.ts';
import type { Selector } from '../method.ts';
import { pyramid, restAt, upTo, within } from '../search/levels.ts';
import { mass, rank } from '../search/select.ts';
import { covering, offline, refine, union } from '../search/select-by.ts';
import { curve, raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type Bound, type Check, check, difference, type Results, type Size } from './check.ts';
import { input, numbers, type Storage, stored } from './inputs.ts';
import { patternChecks } from './patterns.ts';
import { planOfAll, randomPlan, uploadPlan } from './plans.ts';

const near: Bound = { measure: 'absolute', tolerance: 1e-4 };
const exact: Bound = { measure: 'absolute', tolerance: 0 };
const samePlan: Bound = { measure: 'plan', tolerance: 0 };

/** Every check of the operations that find plans. */
export const searchChecks = (storage: Storage): readonly Check[] => [
  ...scoreChecks(storage),
  ...(storage === 'f32' ? selectionChecks : []),
  ...patternChecks(storage),
];

const odd: Grid = { frames: 5, height: 7, width: 9, text: 13 };
const LAYOUTS: readonly { readonly q: Layout; readonly k: Layout }[] = [
  ...[raster(64), tiles(4, 4, 4), curve(16)].map((make) => ({ q: make(odd), k: make(odd) })),
  { q: curve(32)(odd), k: raster(64)(odd) },
  { q: raster(64)({ frames: 1, height: 2, width: 3, text: 0 }), k: raster(64)({ frames: 1, height: 2, width: 3, text: 0 }) },
];

const two = raster(64)({ frames: 2, height: 7, width: 9, text: 0 });
const few = { q: two, k: two };

const orderOf = ({ q, k }: { q: Layout; k: Layout }) => `${q.name} on ${k.name}, ${tokensOf(q.grid)} tokens`;

const scoreChecks = (storage: Storage): Check[] => [
  blockMassCheck(storage, few, 64, 'quick'),
  blockMassCheck(storage, few, 128, 'medium'),
  sampledCheck(storage, few, 64, 'quick'),
  ...LAYOUTS.flatMap((layout) => [
    blockMassCheck(storage, layout, 24),
    sampledCheck(storage, layout, 24),
    check(`poolCap, ${orderOf(layout)}`, 'small', (ops) => ({ cap: caps(ops, storage, layout.k) }), { cap: exact }),
  ]),
];

function blockMassCheck(storage: Storage, layout: { q: Layout; k: Layout }, dim: number, size: Size = 'small'): Check {
  const bound: Bound = { measure: 'relative', tolerance: storage === 'f32' ? 5e-5 : 1e-3 };
  return check(`blockMass, 2 x ${dim}, ${orderOf(layout)}`, size, (ops) => ({ mass: massOf(ops, storage, layout, dim) }), {
    mass: bound,
  });
}

const blocked = (ops: Backend, storage: Storage, seed: number, layout: Layout, dim: number) =>
  ops.gather(input(ops, storage, [2, tokensOf(layout.grid), dim], seed), layout);

function sampledCheck(storage: Storage, layout: { q: Layout; k: Layout }, dim: number, size: Size = 'small'): Check {
  const name = `sampledScores, 2 x ${dim}, ${orderOf(layout)}`;
  return check(name, size, (ops) => sampledTwice(ops, storage, layout, dim), { quarter: near, rows: near });
}

function massOf(ops: Backend, storage: Storage, layout: { q: Layout; k: Layout }, dim: number) {
  const [q, k] = [1, 2].map((seed) => input(ops, storage, [2, tokensOf(layout.q.grid), dim], seed));
  const lse = ops.gather(ops.attendAll(q, k, k).lse, layout.q);
  return ops.blockMass(ops.gather(q, layout.q), ops.gather(k, layout.k), lse, layout);
}

function sampledTwice(ops: Backend, storage: Storage, layout: { q: Layout; k: Layout }, dim: number): Results {
  const [q, k] = [blocked(ops, storage, 1, layout.q, dim), blocked(ops, storage, 2, layout.k, dim)];
  return {
    quarter: ops.sampledScores(q, k, layout, { queries: 1 / 4, keys: 1 / 4, seed: 7 }),
    rows: ops.sampledScores(q, k, layout, { queries: 1, keys: 1 / 8, seed: 8 }),
  };
}

/** Keys that turn slowly, in some blocks slower than in others, so that every factor is somewhere the coarsest. */
function caps(ops: Backend, storage: Storage, layout: Layout) {
  const tokens = tokensOf(layout.grid);
  const keys = Float32Array.from({ length: 2 * tokens * 8 }, (_, at) => {
    const [token, axis] = [Math.floor(at / 8) % tokens, at % 8];
    const turn = token * 0.35 * Math.sin(token / 60 + Math.floor(at / 8 / tokens)) ** 2;
    return axis === 0 ? Math.cos(turn) : axis === 1 ? Math.sin(turn) : 0;
  });
  const k = ops.gather(stored(ops, storage, keys, [2, tokens, 8]), layout);
  const pools = [2, 4, 8].map((pool, at) => ({ pool, cosine: [0.7, 0.65, 0.6][at] }));
  return ops.poolCap(k, layout, pools);
}

const [HEADS, QUERY_BLOCKS, KEY_BLOCKS] = [3, 11, 37];

/** Positive scores with equal ones among them, some forced, some forbidden. */
function scoresOf(ops: Backend) {
  const scores = numbers(HEADS * QUERY_BLOCKS * KEY_BLOCKS, 21).map((x, at) => {
    if (at % 41 === 5) return Infinity;
    if (at % 29 === 3) return -Infinity;
    return at % 7 === 2 ? 0.5 : Math.abs(x);
  });
  return ops.upload(scores, [HEADS, QUERY_BLOCKS, KEY_BLOCKS]);
}

const SELECTIONS: Readonly<Record<string, (ops: Backend) => Selection>> = {
  'rank, a fifth': () => ({ measure: 'rank', levels: upTo(0.2) }),
  'rank, everything': () => ({ measure: 'rank', levels: upTo(1) }),
  'rank, a pyramid': () => ({ measure: 'rank', levels: pyramid(0.1, 0.25, 0.4, 0.8) }),
  'rank, budgets': (ops) => ({ measure: 'rank', levels: upTo(0.3), budgets: ops.upload(Float32Array.of(0.5, 1, 1.5), [HEADS]) }),
  'rank over a head, a pyramid': () => ({ measure: 'rank', over: 'head', levels: [...pyramid(0.1, 0.3), ...restAt(64)] }),
  'mass over the layer, with a ceiling': () => ({ measure: 'mass', over: 'layer', levels: upTo(0.6), floor: 0.05, ceiling: 0.5 }),
  'margins from the best score': () => ({ measure: 'margin', levels: within(0.3, 1, 1.5) }),
  'margins from zero, the rest coarsely': () => ({ measure: 'margin', anchor: 'zero', levels: [...within(0.1), ...restAt(8)], forced: 2 }),
  'mass, four fifths': () => ({ measure: 'mass', levels: upTo(0.8) }),
  'mass, a pyramid with floor and cap': (ops) => ({
    measure: 'mass',
    levels: pyramid(0.5, 0.6, 0.7, 0.8),
    floor: 0.2,
    cap: ops.upload(
      Int32Array.from({ length: HEADS * KEY_BLOCKS }, (_, at) => [1, 2, 4, 8][at % 4]),
      [HEADS, KEY_BLOCKS],
    ),
  }),
};

const selectionChecks: readonly Check[] = [
  ...Object.entries(SELECTIONS).map(([name, selection]) =>
    check(`select, ${name}`, 'small', (ops) => ({ plan: ops.select(scoresOf(ops), selection(ops)) }), { plan: samePlan }),
  ),
  check('select, rows of nothing but forbidden blocks', 'small', (ops) => ({ plan: forbidden(ops) }), { plan: samePlan }),
  check('recall', 'small', (ops) => ({ recall: recalled(ops) }), { recall: { measure: 'absolute', tolerance: 1e-5 } }),
  check('planTable', 'small', planTables, { narrow: exact, whole: exact, pooled: exact }),
  check('selection by two', 'small', selectedByTwo, {
    both: samePlan,
    refined: samePlan,
    rescored: samePlan,
    covering: samePlan,
    offline: samePlan,
  }),
  densityCheck([1], 6),
  densityCheck([1, 4], 6),
  check('headBudgets', 'small', budgets, { some: near, most: near, low: near }),
];

const forbidden = (ops: Backend) =>
  ops.select(ops.upload(new Float32Array(2 * 5).fill(-Infinity), [1, 2, 5]), { measure: 'mass', levels: pyramid(0.5, 0.9) });

const recalled = (ops: Backend) => ops.recall(scoresOf(ops), ops.select(scoresOf(ops), { measure: 'rank', levels: upTo(0.3) }));

function planTables(ops: Backend): Results {
  const size = { heads: 2, queryBlocks: 5, keyBlocks: KEY_BLOCKS };
  const narrow = ops.select(scoresOf(ops), { measure: 'rank', levels: upTo(0.1), forced: 3 });
  return {
    narrow: ops.planTable(narrow, { read: Infinity, left: 0 }),
    whole: ops.planTable(planOfAll(ops, size), { read: 0.5, left: -Infinity }),
    pooled: ops.planTable(uploadPlan(ops, randomPlan(size, [1, 4], 9), size, [1, 4]), { read: 2, left: -Infinity }),
  };
}

/** Selectors made of others, on a layer of random scores. */
function selectedByTwo(ops: Backend): Results {
  const site = { step: 0, steps: 1, layer: 1, layers: 2, branches: [0], grid: odd };
  const q = ops.upload(new Float32Array(HEADS), [HEADS, 1, 1]);
  const call = { ops, q, k: q, v: q, layout: few, site, memory: {}, forced: 2 };
  const by = (select: Selector) => select(call, scoresOf(ops), upTo(0.6));
  const other = ops.upload(numbers(HEADS * QUERY_BLOCKS * KEY_BLOCKS, 22).map(Math.abs), [HEADS, QUERY_BLOCKS, KEY_BLOCKS]);
  return {
    both: by(union(rank({ ceiling: 0.2 }), mass({ over: 'head' }))),
    refined: by(refine({ first: rank(), levels: upTo(0.5), second: mass() })),
    rescored: by(refine({ first: rank(), levels: upTo(0.5), score: () => other, second: mass() })),
    covering: by(covering({ cover: 0.7 })),
    offline: by(
      offline({
        shares: [
          [1, 1, 1],
          [0.1, 0.5, 1],
        ],
      }),
    ),
  };
}

/** Density of a random plan, and of the plan of all. */
function densityCheck(pools: readonly number[], keyBlocks: number): Check {
  const size = { heads: 2, queryBlocks: 5, keyBlocks };
  return {
    name: `density, pools ${pools.join(' ')}`,
    size: 'small',
    async run(ops) {
      const plan = randomPlan(size, pools, 9);
      const cost = [...plan.counts].reduce((sum, count, at) => sum + count / pools[at % pools.length], 0);
      const plans = [uploadPlan(ops, plan, size, pools), planOfAll(ops, size)];
      const own = await Promise.all(plans.map((each) => ops.density(each)));
      return { what: 'density', error: difference(own, [cost / (2 * 5 * keyBlocks), 1], false), tolerance: 1e-9 };
    },
  };
}

function budgets(ops: Backend): Results {
  const of = (recall: readonly number[], sparsity: number) =>
    ops.headBudgets(ops.upload(Float32Array.from(recall), [recall.length]), { threshold: 0.8, sparsity });
  return {
    some: of([0.5, 0.95, 0.7, 0.85, 0.6], 0.8),
    most: of([0.9, 0.9, 0.9, 0.81, 0.2, 0.9], 0.5),
    low: of([0.9, 0.99, 0.1, 0.2], 0.1),
  };
}
