// Checks of tensors moved and stored anew: nothing may change.
import type { Backend } from '../backend/backend.ts';
import { curve, raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type Check, check } from './check.ts';
import { input, numbers, rounded, type Storage } from './inputs.ts';

const exact = { measure: 'absolute', tolerance: 0 } as const;
// A GPU may round to f16 either way, and may take subnormal numbers for zero.
const lastDigit = { measure: 'absolute', tolerance: 2 ** -11 } as const;

/** Casts, cuts of a batch, token orders. */
export const memoryChecks = (storage: Storage): readonly Check[] => [
  check('cast', 'small', (ops) => casts(ops, storage), { there: exact, odd: exact, rounded: lastDigit, tiny: lastDigit }),
  check('split and concat', 'small', (ops) => batches(ops, storage), { second: exact, joined: exact }),
  check('gather and scatter', 'small', (ops) => orders(ops, storage), {
    ...Object.fromEntries(layouts.flatMap(({ name }) => ['', '-back', '-sums'].map((part) => [name + part, exact]))),
  }),
];

const grid: Grid = { frames: 5, height: 7, width: 9, text: 77 };
const layouts: readonly Layout[] = [raster(64), tiles(4, 4, 4), tiles(1, 8, 8), curve(16)].map((make) => make(grid));

/** Through a storage and back: numbers that f16 holds, numbers it rounds, and numbers it holds as subnormals; an odd number of them too. */
function casts(ops: Backend, storage: Storage) {
  const through = (...x: readonly number[]) => ops.cast(ops.cast(ops.upload(Float32Array.from(x), [x.length]), storage), 'f32');
  return {
    there: through(1, -2.5, 0, 65504, -65504, 2048, 2 ** -14, 0.333251953125),
    odd: through(...rounded(numbers(7, 3), 'f16')),
    rounded: through(1 / 3, -1 / 3, 1e-3, 0.9999),
    tiny: through(1e-7, -3e-8, 1e-6, 5e-5),
  };
}

function batches(ops: Backend, storage: Storage) {
  const x = input(ops, storage, [6, 10, 8], 1);
  const parts = ops.split(x, 3);
  return { second: parts[1], joined: ops.concat([parts[2], parts[0]]) };
}

function orders(ops: Backend, storage: Storage) {
  const x = input(ops, storage, [2, tokensOf(grid), 24], 2);
  const sums = ops.upload(numbers(2 * tokensOf(grid), 3), [2, tokensOf(grid)]);
  const results = layouts.flatMap((layout) => {
    const there = ops.gather(x, layout);
    return [
      [layout.name, there],
      [`${layout.name}-back`, ops.scatter(there, layout)],
      [`${layout.name}-sums`, ops.scatter(ops.gather(sums, layout), layout)],
    ] as const;
  });
  return Object.fromEntries(results);
}
