// Checks of what is found from rows of q: probes, lines, antidiagonals, peaks and errors of pooling.
import type { Backend } from '../backend/backend.ts';
import type { Scorer } from '../method.ts';
import { antidiagonal } from '../search/antidiagonal.ts';
import { poolingError } from '../search/error.ts';
import { lessAnchor } from '../search/pattern.ts';
import { firstFrame, ownBlock } from '../search/patterns.ts';
import { pooled } from '../search/pooled.ts';
import { blocksOrLines, sampledRows, verticalSlash } from '../search/probes.ts';
import { curve, raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type Bound, type Check, check, type Results, type Size } from './check.ts';
import { input, numbers, type Storage } from './inputs.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

const odd: Grid = { frames: 5, height: 7, width: 9, text: 13 };
const tall: Grid = { frames: 3, height: 17, width: 5, text: 0 };
const tiny: Grid = { frames: 1, height: 2, width: 3, text: 0 };
const one = (layout: Layout): Layouts => ({ q: layout, k: layout });
const LAYOUTS: readonly Layouts[] = [
  ...[raster(64), tiles(4, 4, 4), curve(16)].map((make) => one(make(odd))),
  one(tiles(2, 4, 8)(tall)),
  { q: curve(32)(odd), k: raster(64)(odd) },
  one(raster(64)(tiny)),
];
const few = one(raster(64)({ frames: 2, height: 7, width: 9, text: 0 }));

/** One size of rows for all, since a GPU compiles anew for each. */
const DIM = 24;

/** Weights are between 0 and 1; those of f16 inputs are held against f64 of the same inputs. */
const weight: Bound = { measure: 'absolute', tolerance: 2e-5 };
const near: Bound = { measure: 'relative', tolerance: 1e-4 };

/** Every check of the operations that probe rows. */
export const probeChecks = (storage: Storage): readonly Check[] => [
  pairCheck(storage, few, 'quick'),
  ...LAYOUTS.map((layout) => pairCheck(storage, layout)),
  ...LAYOUTS.map((layout) => peakCheck(storage, layout)),
  ...LAYOUTS.filter(({ q, k }) => q === k).map((layout) => errorCheck(storage, layout)),
  scorerCheck(storage, LAYOUTS[1]),
  ...(storage === 'f32' ? [divergenceCheck, ...LAYOUTS.map(lineCheck)] : []),
];

const nameOf = ({ q, k }: Layouts) => `${q.name} on ${k.name}, ${tokensOf(q.grid)} tokens`;

/** Slots of the first and last token of each block, and one twice. */
function endsOf({ counts, block }: Layout): Int32Array {
  const ends = [...counts].flatMap((count, at) => [at * block, at * block + count - 1]);
  return Int32Array.from([...ends, ends[0]]);
}

const blocked = (ops: Backend, storage: Storage, seed: number, of: Layout) =>
  ops.gather(input(ops, storage, [2, tokensOf(of.grid), DIM], seed), of);

const pairCheck = (storage: Storage, layout: Layouts, size: Size = 'small'): Check =>
  check(
    `probes, ${nameOf(layout)}`,
    size,
    (ops) => {
      const [q, k, rows] = [blocked(ops, storage, 1, layout.q), blocked(ops, storage, 2, layout.k), endsOf(layout.q)];
      const stride = layout.k.block / 8;
      return {
        weights: ops.probe(q, k, rows, layout),
        blocks: ops.probeBlocks(q, k, rows, layout),
        antidiagonal: ops.antidiagonal(q, k, layout, { stride }),
      };
    },
    { weights: weight, blocks: weight, antidiagonal: near },
  );

/** The largest logits, and how far they lie below those of their rows. */
const peakCheck = (storage: Storage, layout: Layouts): Check =>
  check(
    `blockPeaks, ${nameOf(layout)}`,
    'small',
    (ops) => {
      const [q, k] = [blocked(ops, storage, 3, layout.q), blocked(ops, storage, 4, layout.k)];
      return { peaks: ops.blockPeaks(q, k, layout), margins: ops.blockPeaks(q, k, layout, { margin: true }) };
    },
    { peaks: near, margins: near },
  );

/** Errors of rows that are no tokens, as means are. */
const errorCheck = (storage: Storage, { k: layout }: Layouts): Check =>
  check(
    `poolingError, ${nameOf({ q: layout, k: layout })}`,
    'small',
    (ops) => {
      const [k, v] = [blocked(ops, storage, 5, layout), blocked(ops, storage, 6, layout)];
      const rows = input(ops, 'f32', [2, 7, DIM], 7, 0.5);
      return { weights: ops.poolingError(rows, k, layout), values: ops.poolingError(rows, k, layout, v) };
    },
    { weights: near, values: near },
  );

const absolute: Bound = { measure: 'absolute', tolerance: 1e-4 };

/** Scorers that are put together from these operations. */
const SCORERS: Readonly<Record<string, readonly [score: Scorer, bound: Bound]>> = {
  antidiagonal: [antidiagonal(), near],
  sampledRows: [sampledRows({ every: 2 }), near],
  verticalSlash: [verticalSlash({ columns: 2, diagonals: 3 }), absolute],
  // One head of each kind.
  blocksOrLines: [blocksOrLines({ threshold: 0.17 }), absolute],
  poolingError: [poolingError(), near],
  lessAnchor: [lessAnchor(pooled({ normalize: 'none' }), ownBlock(), firstFrame()), near],
};

const scorerCheck = (storage: Storage, layout: Layouts): Check =>
  check(
    `scorers of probes, ${nameOf(layout)}`,
    'small',
    (ops) => {
      const [q, k, v] = [8, 9, 10].map((seed) => blocked(ops, storage, seed, layout.q));
      const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: layout.q.grid };
      const call = { ops, q, k, v, layout, site, phase: 'search' as const, memory: {} };
      return mapped(SCORERS, ([score]) => score(call));
    },
    mapped(SCORERS, ([, bound]) => bound),
  );

const mapped = <From, To>(all: Readonly<Record<string, From>>, to: (one: From) => To): Record<string, To> =>
  Object.fromEntries(Object.entries(all).map(([name, one]) => [name, to(one)]));

/** Rows of shares, some of them 0: unlike ones, and alike ones. */
const divergenceCheck: Check = check(
  'divergence',
  'small',
  (ops) => {
    const shares = (seed: number) =>
      ops.softmax(
        ops.upload(
          numbers(2 * 3 * 300, seed).map((x, at) => (at % 11 === 2 ? -Infinity : x)),
          [2, 3, 300],
        ),
      );
    return { unlike: ops.divergence(shares(51), shares(52)), alike: ops.divergence(shares(51), shares(51)) };
  },
  { unlike: { measure: 'absolute', tolerance: 1e-5 }, alike: { measure: 'absolute', tolerance: 1e-3 } },
);

/** Sums of numbers that stand in PAD slots too, and lines of which some are forced. */
const lineCheck = (layout: Layouts): Check =>
  check(`lines, ${nameOf(layout)}`, 'small', (ops) => linesOf(ops, layout), {
    sums: near,
    columns: near,
    diagonals: near,
    lines: { measure: 'absolute', tolerance: 1e-5 },
  });

function linesOf(ops: Backend, layout: Layouts): Results {
  const rows = endsOf(layout.q);
  const slots = layout.k.blocks * layout.k.block;
  const sums = ops.blockSums(ops.upload(numbers(2 * rows.length * slots, 31).map(Math.abs), [2, rows.length, slots]), layout.k);
  const { columns, diagonals } = ops.lineSums(sums, rows, layout);
  const table = (length: number, seed: number) => {
    const values = numbers(2 * length, seed).map((x, at) => (at % 5 === 3 ? Infinity : Math.abs(x)));
    return ops.upload(values, [2, 1, length]);
  };
  const lines = ops.lines(table(layout.k.blocks, 32), table(layout.q.blocks + layout.k.blocks - 1, 33), layout);
  return { sums, columns, diagonals, lines };
}
