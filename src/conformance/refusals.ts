// Bad input is refused by every backend: at once, by its class and with the value in the message.
import type { Backend } from '../backend/backend.ts';
import { pyramid, upTo } from '../search/levels.ts';
import { raster } from '../sparse3d/layout.ts';
import { type Check, unlessUnsupported } from './check.ts';
import { input, type Storage } from './inputs.ts';
import { planOfAll } from './plans.ts';

const layout = raster(64)({ frames: 2, height: 8, width: 8, text: 0 });
const both = { q: layout, k: layout };
const size = { heads: 2, queryBlocks: 2, keyBlocks: 2 };

type Bad = (ops: Backend, good: ReturnType<typeof goodTensors>, storage: Storage) => unknown;

/** What is done, and what the message must say. */
const BAD: readonly [name: string, says: string, bad: Bad][] = [
  ['an upload of too few numbers', '[3]', (ops) => ops.upload(new Float32Array(2), [3])],
  ['seven rows split in two', '[7,4]', (ops) => ops.split(ops.upload(new Float32Array(28), [7, 4]), 2)],
  ['a sum of nothing', '0 parts', (ops) => ops.combine([], [])],
  ['a sum of two parts by one weight', '2 parts and 1 weights', (ops, { one }) => ops.combine([one, one], [1])],
  ['a sum of unlike shapes', '[2] and [2,2,2]', (ops, { one, scores }) => ops.combine([one, scores], [1, 1])],
  ['a sum of integers', 'i32 [2]', (ops) => ops.combine([ops.upload(new Int32Array(2), [2])], [1])],
  ['a head dimension of 20', '[2,128,20]', (ops, _, storage) => attendAll(ops, input(ops, storage, [2, 128, 20], 1))],
  [
    'no keys',
    '[2,0,8]',
    (ops, { x }) => ops.attendAll(x, ops.upload(new Float32Array(0), [2, 0, 8]), ops.upload(new Float32Array(0), [2, 0, 8])),
  ],
  ['values with fewer tokens than keys', '[2,64,8]', (ops, { x, short }) => ops.attendAll(x, x, short)],
  ['tokens that are not those of the layout', '128', (ops, { short }) => ops.gather(short, layout)],
  ['slots that are not those of the layout', '128', (ops, { short }) => ops.scatter(short, layout)],
  [
    'a merge of unlike results',
    '[2,64,8]',
    (ops, { x, short }) =>
      ops.merge(
        { out: x, lse: ops.upload(new Float32Array(256), [2, 128]) },
        { out: short, lse: ops.upload(new Float32Array(128), [2, 64]) },
      ),
  ],
  ['blocked keys of another length', '[2,64,8]', (ops, { x, short, plan }) => ops.attend(x, short, x, plan, both)],
  ['a plan for more heads', '3', (ops, { x }) => ops.attend(x, x, x, planOfAll(ops, { ...size, heads: 3 }), both)],
  ['a pool of 3', '3', (ops, { x, plan }) => ops.attend(x, x, x, { ...plan, levels: [{ pool: 3, upTo: 1 }] }, both)],
  ['block mass of a short log-sum-exp', 'lse', (ops, { x }) => ops.blockMass(x, x, ops.upload(new Float32Array(2), [2, 1]), both)],
  ['recall of a plan for more heads', 'counts', (ops, { scores }) => ops.recall(scores, planOfAll(ops, { ...size, heads: 3 }))],
  ['a product of unlike depths', '[2,2,2] and [2,128,8]', (ops, { scores, wide }) => ops.product(scores, wide, 1)],
  ['factors of unlike shapes', '[2,2,2] and [2,128,8]', (ops, { scores, wide }) => ops.multiply(scores, wide)],
  [
    'forcing that would enlarge the scores',
    '[2,2,2]',
    (ops, { scores, one }) => ops.force(ops.reshape(one, [1, 1, 2]), ops.reshape(scores, [2, 2, 2])),
  ],
  ['a shape of too many numbers', '[3,3]', (ops, { scores }) => ops.reshape(scores, [3, 3])],
  ['the best 0 numbers', '0', (ops, { scores }) => ops.top(scores, 0)],
  ['a step at no number', 'NaN', (ops, { scores }) => ops.step(scores, NaN, 0, 1)],
  ['a choice that is no whole number', 'f32 [2]', (ops, { scores, one }) => ops.pick(scores, one)],
  ['a selection without levels', 'level', (ops, { scores }) => ops.select(scores, { measure: 'rank', levels: [] })],
  [
    'budgets for a pyramid',
    '2 levels',
    (ops, { scores, one }) => ops.select(scores, { measure: 'rank', levels: pyramid(0.2, 0.5), budgets: one }),
  ],
  ['a margin over a head', 'head', (ops, { scores }) => ops.select(scores, { measure: 'margin', over: 'head', levels: upTo(0.5) })],
  [
    'head budgets over a layer',
    'layer',
    (ops, { scores, one }) => ops.select(scores, { measure: 'rank', over: 'layer', levels: upTo(0.5), budgets: one }),
  ],
  ['a cap of another shape', 'cap', (ops, { scores, one }) => ops.select(scores, { measure: 'mass', levels: upTo(0.5), cap: one })],
];

const attendAll = (ops: Backend, x: Parameters<Backend['attendAll']>[0]) => ops.attendAll(x, x, x);

function goodTensors(ops: Backend, storage: Storage) {
  return {
    x: input(ops, storage, [2, 128, 8], 1),
    short: input(ops, storage, [2, 64, 8], 2),
    plan: planOfAll(ops, size),
    scores: ops.upload(new Float32Array(8), [2, 2, 2]),
    wide: ops.upload(new Float32Array(2 * 128 * 8), [2, 128, 8]),
    one: ops.upload(new Float32Array(2), [2]),
  };
}

/** One check: how many of the bad calls are not refused as they should be. */
export const refusalChecks = (storage: Storage): readonly Check[] => [
  {
    name: 'bad input is refused',
    size: 'small',
    run: (ops) =>
      unlessUnsupported(async () => {
        const through = ops.scope(() => {
          const good = goodTensors(ops, storage);
          return BAD.filter(([, says, bad]) => !refuses(() => bad(ops, good, storage), says));
        });
        return { what: through.map(([name]) => name).join(', ') || 'nothing is let through', error: through.length, tolerance: 0 };
      }),
  },
];

function refuses(call: () => unknown, says: string): boolean {
  try {
    call();
    return false;
  } catch (error) {
    return (error instanceof RangeError || error instanceof TypeError) && error.message.includes(says);
  }
}
