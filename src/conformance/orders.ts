// Checks of layouts whose heads have orders of their own: how they are found, and that attention on them is attention.
import type { Backend } from '../backend/backend.ts';
import { probeRows } from '../search/probes.ts';
import { headShape } from '../sparse3d/heads.ts';
import { raster } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type Bound, type Check, check, type Results } from './check.ts';
import { input, numbers, type Storage, stored } from './inputs.ts';
import { planOfAll, randomPlan, uploadPlan } from './plans.ts';

const [HEADS, DIM] = [2, 24];
const exact: Bound = { measure: 'absolute', tolerance: 0 };
const near = (storage: Storage): Bound => ({ measure: 'relative', tolerance: storage === 'f32' ? 2e-5 : 2e-3 });

const GRIDS: readonly Grid[] = [
  { frames: 4, height: 5, width: 7, text: 13 },
  { frames: 1, height: 3, width: 5, text: 0 },
];

/** Every check of orders by head. */
export const orderChecks = (storage: Storage): readonly Check[] => [
  check('nearest and labelMeans', 'small', (ops) => clustered(ops, storage), { labels: exact, means: near(storage) }),
  ...GRIDS.flatMap((grid) => {
    const size = `${tokensOf(grid)} tokens`;
    return [
      check(`gather and scatter by head, ${size}`, 'small', (ops) => moved(ops, storage, grid), {
        blocked: exact,
        back: exact,
        counts: exact,
        sorted: exact,
      }),
      check(`blocks by head, ${size}`, 'small', (ops) => scored(ops, storage, grid), {
        means: near(storage),
        errors: { measure: 'relative', tolerance: storage === 'f32' ? 1e-4 : 1e-2 },
      }),
      check(`probes by head, ${size}`, 'small', (ops) => probed(ops, storage, grid), {
        ...{ weights: near(storage), blocks: near(storage), sums: near(storage), columns: near(storage) },
      }),
      check(`attend by head, ${size}`, 'small', (ops) => attended(ops, storage, grid), {
        all: near(storage),
        gap: { measure: 'absolute', tolerance: storage === 'f32' ? 2e-5 : 4e-3 },
        some: near(storage),
        lse: near(storage),
        pooled: near(storage),
      }),
    ];
  }),
];

/** Tokens round centers that are far apart, and one center that no token is near. */
function clustered(ops: Backend, storage: Storage): Results {
  const [tokens, count] = [2100, 19];
  const centers = numbers(HEADS * count * DIM, 31, 4);
  const noise = numbers(HEADS * (tokens + 7) * DIM, 32, 0.05);
  const rows = noise.map((x, at) => {
    const [head, token] = [Math.floor(at / DIM / (tokens + 7)), Math.floor(at / DIM) % (tokens + 7)];
    return x + centers[(head * count + ((token * 7) % (count - 1))) * DIM + (at % DIM)];
  });
  const x = stored(ops, storage, rows, [HEADS, tokens + 7, DIM]);
  const given = ops.upload(centers, [HEADS, count, DIM]);
  const labels = ops.nearest(x, given, tokens);
  return { labels, means: ops.labelMeans(x, labels, given) };
}

const LABELS = 6;

/** A layout of labels of which some have many tokens, some few, one none; heads differ. */
function byLabel(ops: Backend, grid: Grid, block: number): Layout {
  const video = tokensOf(grid) - grid.text;
  const count = Math.min(LABELS, video);
  const labels = Int32Array.from({ length: HEADS * video }, (_, at) => {
    const [head, token] = [Math.floor(at / video), at % video];
    const label = Math.floor(Math.abs(Math.sin(token * 12.9 + head)) ** 3 * count);
    return label === 2 ? 0 : label;
  });
  return ops.byLabel(ops.upload(labels, [HEADS, video]), count, shapeOf(grid, block, count));
}

const shapeOf = (grid: Grid, block: number, labels: number): Layout =>
  headShape({ name: 'labels', grid, block, videoBlocks: Math.floor((tokensOf(grid) - grid.text - labels) / block) + labels });

function moved(ops: Backend, storage: Storage, grid: Grid): Results {
  const video = tokensOf(grid) - grid.text;
  const x = input(ops, storage, [HEADS, tokensOf(grid), DIM], 1);
  const layout = byLabel(ops, grid, 16);
  const blocked = ops.gather(x, layout);
  const weights = ops.upload(
    numbers(HEADS * video, 5).map((weight, at) => (at % 5 === 0 ? 0.5 : Math.abs(weight))),
    [HEADS, video],
  );
  const { counts } = raster(64)(grid);
  const shape = headShape({ name: 'sorted', grid, block: 64, videoBlocks: Math.ceil(video / 64), counts });
  const sorted = ops.gather(x, ops.byWeight(weights, shape));
  return { blocked, back: ops.scatter(blocked, layout), counts: ops.reshape(layout.heads!.counts!, [HEADS * layout.blocks]), sorted };
}

function scored(ops: Backend, storage: Storage, grid: Grid): Results {
  const [q, k, v] = [1, 2, 3].map((seed) => input(ops, storage, [HEADS, tokensOf(grid), DIM], seed));
  const [rows, keys] = [byLabel(ops, grid, 64), byLabel(ops, grid, 16)];
  const means = ops.blockMeans(ops.gather(q, rows), rows);
  return { means, errors: ops.poolingError(means, ops.gather(k, keys), keys, ops.gather(v, keys)) };
}

function probed(ops: Backend, storage: Storage, grid: Grid): Results {
  const [q, k] = [1, 2].map((seed) => input(ops, storage, [HEADS, tokensOf(grid), DIM], seed));
  const layout = { q: raster(16)(grid), k: byLabel(ops, grid, 16) };
  const [queries, keys] = [ops.gather(q, layout.q), ops.gather(k, layout.k)];
  const rows = probeRows(layout.q, 7);
  const weights = ops.probe(queries, keys, rows, layout);
  const blocks = ops.probeBlocks(queries, keys, rows, layout);
  return { weights, blocks, sums: ops.blockSums(weights, layout.k), columns: ops.lineSums(blocks, rows, layout).columns };
}

function attended(ops: Backend, storage: Storage, grid: Grid): Results {
  const tokens = tokensOf(grid);
  const [q, k, v] = [1, 2, 3].map((seed) => input(ops, storage, [HEADS, tokens, DIM], seed));
  const layout = { q: byLabel(ops, grid, 64), k: byLabel(ops, grid, 16) };
  const size = { heads: HEADS, queryBlocks: layout.q.blocks, keyBlocks: layout.k.blocks };
  const [rows, keys, values] = [ops.gather(q, layout.q), ops.gather(k, layout.k), ops.gather(v, layout.k)];
  const by = (pools: readonly number[], numbers = randomPlan(size, pools, 4)) =>
    ops.attend(rows, keys, values, uploadPlan(ops, withFirst(numbers, size, pools.length), size, pools), layout);
  const all = ops.scatter(ops.attend(rows, keys, values, planOfAll(ops, size), layout, { lse: false }).out, layout.q);
  const dense = ops.attendAll(q, k, v).out;
  const [some, pooled] = [by([1]), by([1, 8])];
  return {
    all,
    gap: ops.combine([ops.cast(all, 'f32'), ops.cast(dense, 'f32')], [1, -1]),
    some: ops.scatter(some.out, layout.q),
    lse: ops.scatter(some.lse, layout.q),
    pooled: ops.scatter(pooled.out, layout.q),
  };
}

/** Rows also read key block 0, which holds tokens in every head, at the first level: none is left with blocks without tokens alone. */
function withFirst(plan: ReturnType<typeof randomPlan>, { keyBlocks }: { readonly keyBlocks: number }, levels: number): typeof plan {
  for (let row = 0; row < plan.blocks.length / keyBlocks; row++) {
    const own = plan.blocks.subarray(row * keyBlocks, (row + 1) * keyBlocks);
    const read = plan.counts.subarray(row * levels, (row + 1) * levels).reduce((sum, count) => sum + count, 0);
    if (own.subarray(0, read).includes(0)) continue;
    own.copyWithin(1, 0, read);
    own[0] = 0;
    plan.counts[row * levels]++;
  }
  return plan;
}
