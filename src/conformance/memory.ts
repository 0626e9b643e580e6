// Checks of tensors moved and stored anew, where nothing may change, and of weighted sums.
import type { Backend } from '../backend/backend.ts';
import { curve, raster, tiles } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type Check, check } from './check.ts';
import { input, numbers, rounded, type Storage } from './inputs.ts';

const exact = { measure: 'absolute', tolerance: 0 } as const;
// A GPU may round to f16 either way, and may take subnormal numbers for zero.
const lastDigit = { measure: 'absolute', tolerance: 2 ** -11 } as const;

/** Casts, cuts of a batch, weighted sums, token orders. */
export const memoryChecks = (storage: Storage): readonly Check[] => [
  check('cast', 'small', (ops) => casts(ops, storage), { there: exact, odd: exact, rounded: lastDigit, tiny: lastDigit }),
  check('split and concat', 'small', (ops) => batches(ops, storage), { second: exact, joined: exact }),
  ...SUMS.map((parts) =>
    check(`combine ${parts}`, 'small', (ops) => sums(ops, parts), { whole: inF32, odd: inF32, close: inF32, one: inF32 }),
  ),
  check('gather and scatter', 'small', (ops) => orders(ops, storage), {
    ...Object.fromEntries(layouts.flatMap(({ name }) => ['', '-back', '-sums'].map((part) => [name + part, exact]))),
  }),
];

// More than a GPU sums at once, too.
const SUMS = [1, 2, 3, 4, 5, 6, 9];
// Roundings of f32 of the largest term, of which a sum of close parts leaves little.
const inF32 = { measure: 'absolute', tolerance: 2e-5 } as const;

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

/** Sums in vectors and in single numbers; `close` parts leave a thousandth of what they are. */
function sums(ops: Backend, parts: number) {
  const weights = Array.from({ length: parts }, (_, part) => (part % 2 === 0 ? 1.7 : -0.6) / (part + 1));
  const sum = (shape: readonly number[]) =>
    ops.combine(
      weights.map((_, part) => input(ops, 'f32', shape, 10 + part)),
      weights,
    );
  const x = numbers(1001, 7);
  const near = weights.map((_, part) => ops.upload(part === 0 ? x : x.map((y) => y * (1 + 2 ** -10 * part)), [1001]));
  const last = parts - 1 || 1;
  const close = ops.combine(
    near,
    weights.map((_, part) => (part === 0 ? 1 : -1 / last)),
  );
  return { whole: sum([3, 70, 20]), odd: sum([7, 11, 13]), close, one: sum([1]) };
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
