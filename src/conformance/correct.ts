// Checks of corrections, and of partial results put together.
import type { Backend } from '../backend/backend.ts';
import type { Call } from '../method.ts';
import { delta, keptResidual } from '../search/correct.ts';
import { raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { attentionBounds } from './attention.ts';
import { type Check, check, type Results } from './check.ts';
import { input, type Storage } from './inputs.ts';
import { type PlanNumbers, planOfAll, randomPlan, uploadPlan } from './plans.ts';

const HEADS = 2;
const DIM = 24;
const odd: Grid = { frames: 5, height: 7, width: 9, text: 0 };
const joint: Grid = { frames: 5, height: 7, width: 9, text: 13 };
const one: Grid = { frames: 1, height: 2, width: 3, text: 0 };

/** Every check of corrections and of `merge`. */
export const correctionChecks = (storage: Storage): readonly Check[] => {
  const { out } = attentionBounds(storage, true);
  const layouts = [tiles(4, 4, 4)(joint), raster(8)(odd), raster(64)(one)];
  return [
    ...layouts.map((layout) =>
      check(`delta, ${nameOf(layout)}`, 'small', (ops) => corrected(ops, storage, layout, true), { now: out, later: out }),
    ),
    check(`keptResidual, ${nameOf(layouts[0])}`, 'small', (ops) => corrected(ops, storage, layouts[0], false), { now: out, later: out }),
    check('merge, halves of the keys', 'small', (ops) => halves(ops, storage), attentionBounds(storage)),
  ];
};

const nameOf = ({ name, grid }: Layout): string => `${name}, ${tokensOf(grid)} tokens`;

const blocked = (ops: Backend, storage: Storage, layout: Layout, seed: number) =>
  ops.gather(input(ops, storage, [HEADS, tokensOf(layout.grid), DIM], seed), layout);

/** A search, and a later call with other queries that keeps what the search measured. */
function corrected(ops: Backend, storage: Storage, layout: Layout, rows: boolean): Results {
  const size = { heads: HEADS, queryBlocks: layout.blocks, keyBlocks: layout.blocks };
  const plan = uploadPlan(ops, randomPlan(size, [1], 3, Math.ceil(layout.blocks / 3)), size, [1]);
  const [k, v] = [2, 3].map((seed) => blocked(ops, storage, layout, seed));
  const correct = rows ? delta({ keep: true }) : keptResidual();
  const memory = {};
  const at = (seed: number, phase: Call['phase']) => {
    const q = blocked(ops, storage, layout, seed);
    const both = { q: layout, k: layout };
    const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: layout.grid };
    return correct({ ops, q, k, v, layout: both, site, phase, memory }, ops.attend(q, k, v, plan, both)).out;
  };
  return { now: at(1, 'search'), later: at(4, 'reuse') };
}

/** Two attentions over every other key block each, merged to one over all. */
function halves(ops: Backend, storage: Storage): Results {
  const layout = tiles(4, 4, 4)(joint);
  const both = { q: layout, k: layout };
  const size = { heads: HEADS, queryBlocks: layout.blocks, keyBlocks: layout.blocks };
  const [q, k, v] = [1, 2, 3].map((seed) => blocked(ops, storage, layout, seed));
  const [even, uneven] = [0, 1].map((first) => ops.attend(q, k, v, uploadPlan(ops, everyOther(layout.blocks, first), size, [1]), both));
  const { out, lse } = ops.merge(even, uneven);
  return { out: ops.scatter(out, layout), lse: ops.scatter(lse, layout) };
}

function everyOther(blocks: number, first: number): PlanNumbers<Int32Array> {
  const own = Array.from({ length: blocks }, (_, block) => block).filter((block) => block % 2 === first);
  const rows = HEADS * blocks;
  const row = [...own, ...Array(blocks - own.length).fill(-1)];
  return { counts: new Int32Array(rows).fill(own.length), blocks: Int32Array.from({ length: rows * blocks }, (_, at) => row[at % blocks]) };
}

/** What the halves must be: used by tests of the suite itself. */
export const wholeOf = (ops: Backend, storage: Storage) => {
  const layout = tiles(4, 4, 4)(joint);
  const [q, k, v] = [1, 2, 3].map((seed) => blocked(ops, storage, layout, seed));
  return ops.attend(q, k, v, planOfAll(ops, { heads: HEADS, queryBlocks: layout.blocks, keyBlocks: layout.blocks }), {
    q: layout,
    k: layout,
  });
};
