// Checks of the operations on score tables: means of blocks, products, arithmetic along rows, forcing, picking.
import type { Backend } from '../backend/backend.ts';
import { curve, raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { elements, type Tensor } from '../tensor.ts';
import { type Bound, type Check, check, type Results } from './check.ts';
import { input, numbers, type Storage } from './inputs.ts';

const exact: Bound = { measure: 'absolute', tolerance: 0 };
const near: Bound = { measure: 'relative', tolerance: 1e-5 };
// Where infinite numbers are among the results, nothing is small beside the largest.
const close: Bound = { measure: 'absolute', tolerance: 1e-4 };
const closest: Bound = { measure: 'absolute', tolerance: 2e-6 };

/** Every check of the operations on score tables. */
export const algebraChecks = (storage: Storage): readonly Check[] => [...meanChecks(storage), ...(storage === 'f32' ? tableChecks : [])];

const odd: Grid = { frames: 5, height: 7, width: 9, text: 13 };
const LAYOUTS: readonly Layout[] = [
  raster(64)(odd),
  tiles(4, 4, 4)(odd),
  curve(16)({ frames: 13, height: 17, width: 9, text: 0 }),
  raster(64)({ frames: 1, height: 2, width: 3, text: 0 }),
];

const meanChecks = (storage: Storage): Check[] =>
  LAYOUTS.flatMap((layout) => {
    const order = `${layout.name}, ${tokensOf(layout.grid)} tokens`;
    const x = (ops: Backend, dim: number) => ops.gather(input(ops, storage, [2, tokensOf(layout.grid), dim], 31), layout);
    const stored: Bound = { measure: 'relative', tolerance: storage === 'f32' ? 1e-5 : 1e-3 };
    return [
      check(`blockMeans, ${order}`, 'small', (ops) => meansOf(ops, x(ops, 21), layout), { mean: near, direction: near }),
      check(`center, ${order}`, 'small', (ops) => ({ centered: ops.center(x(ops, 24), layout) }), { centered: stored }),
    ];
  });

const meansOf = (ops: Backend, x: Tensor, layout: Layout): Results => ({
  mean: ops.blockMeans(x, layout),
  direction: ops.blockMeans(x, layout, { normalized: true }),
});

const table = (ops: Backend, shape: readonly number[], seed: number, scale = 1): Tensor =>
  ops.upload(numbers(elements(shape), seed, scale), shape);

const SCORES = [3, 11, 37];

/** Scores of either sign, some equal, forced, forbidden; one row of nothing but forbidden blocks and one of nothing but forced ones. */
function scoresOf(ops: Backend, seed = 41): Tensor {
  const scores = numbers(elements(SCORES), seed).map((x, at) => {
    const row = Math.floor(at / SCORES[2]);
    if (row === 4) return -Infinity;
    if (row === 9) return Infinity;
    if (row === 6) return 2;
    if (at % 41 === 5 && row !== 3) return Infinity;
    if (at % 29 === 3) return -Infinity;
    return at % 7 === 2 ? 0.5 : x;
  });
  return ops.upload(scores, SCORES);
}

const tableChecks: readonly Check[] = [
  check('product', 'small', products, { own: near, shared: near, tall: near }),
  check('softmax', 'small', (ops) => ({ shares: ops.softmax(scoresOf(ops)), large: ops.softmax(table(ops, [2, 300], 42, 40)) }), {
    shares: closest,
    large: closest,
  }),
  check('reduce', 'small', reduced, { sum: near, mean: near, max: exact, long: near }),
  check('argmax', 'small', (ops) => ({ own: ops.argmax(scoresOf(ops)), long: ops.argmax(table(ops, [2, 700], 43)) }), {
    own: exact,
    long: exact,
  }),
  check('minMax', 'small', (ops) => ({ rows: ops.minMax(scoresOf(ops)), heads: minMaxOfHeads(ops) }), { rows: closest, heads: closest }),
  check('top', 'small', (ops) => ({ one: ops.top(scoresOf(ops), 1), half: ops.top(scoresOf(ops), 19), all: ops.top(scoresOf(ops), 99) }), {
    one: exact,
    half: exact,
    all: exact,
  }),
  check(
    'step',
    'small',
    (ops) => ({ limits: ops.step(scoresOf(ops), 0.5, -Infinity, 0), marks: ops.step(scoresOf(ops), -0.25, 1, Infinity) }),
    {
      limits: exact,
      marks: exact,
    },
  ),
  check('multiply', 'small', multiplied, { same: close, columns: close, outer: close }),
  check('force', 'small', forcedOf, { table: close, rows: close, columns: close }),
  check('pick', 'small', picked, { picked: exact }),
  check(
    'reshape',
    'small',
    (ops) => ({ flat: ops.reshape(scoresOf(ops), [3, 11 * 37]), row: ops.reshape(ops.argmax(scoresOf(ops)), [33]) }),
    {
      flat: exact,
      row: exact,
    },
  ),
];

function products(ops: Backend): Results {
  const a = table(ops, [3, 11, 21], 44);
  return {
    own: ops.product(a, table(ops, [3, 37, 21], 45), 1 / Math.sqrt(21)),
    shared: ops.product(a, table(ops, [1, 5, 21], 46), -2),
    tall: ops.product(table(ops, [1, 70, 130], 47), table(ops, [1, 33, 130], 48), 1),
  };
}

function reduced(ops: Backend): Results {
  const scores = scoresOf(ops);
  const long = ops.reduce(table(ops, [2, 3, 500], 49), 'sum');
  return { sum: ops.reduce(scores, 'sum'), mean: ops.reduce(scores, 'mean'), max: ops.reduce(scores, 'max'), long };
}

const minMaxOfHeads = (ops: Backend) => ops.minMax(ops.reshape(scoresOf(ops), [SCORES[0], SCORES[1] * SCORES[2]]));

function multiplied(ops: Backend): Results {
  const scores = scoresOf(ops);
  return {
    same: ops.multiply(scores, scoresOf(ops, 50)),
    columns: ops.multiply(scores, table(ops, [1, 1, 37], 51)),
    outer: ops.multiply(table(ops, [2, 1, 5, 1], 52), table(ops, [1, 3, 1, 7], 53)),
  };
}

function forcedOf(ops: Backend): Results {
  const force = (shape: readonly number[]) =>
    ops.upload(
      Float32Array.from({ length: elements(shape) }, (_, at) => [0, Infinity, -Infinity, 0.25, 0][at % 5]),
      shape,
    );
  const scores = scoresOf(ops);
  return {
    table: ops.force(scores, force([11, 37])),
    rows: ops.force(scores, force([3, 11, 1])),
    columns: ops.force(scores, force([1, 1, 37])),
  };
}

function picked(ops: Backend): Results {
  const choice = ops.upload(Int32Array.of(2, 0, 1, 2, 7, -1), [6]);
  return { picked: ops.pick(scoresOf(ops), choice) };
}
