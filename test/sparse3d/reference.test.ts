import { expect, test } from 'vitest';
import { curve, raster } from '../../src/sparse3d/layout.ts';
import { attendAllReference, attendReference, blockMassReference, poolReference, rowsOf } from '../../src/sparse3d/reference.ts';
import { numbers } from './cases.ts';

const grid = { frames: 2, height: 3, width: 5, text: 3 };
const layout = { q: curve(8)(grid), k: curve(8)(grid) };
const [q, k, v] = [1, 2, 3].map((seed) => rowsOf(numbers(33 * 4, seed), 1, 4)[0]);

test('two keys by hand: the share of each is the logistic function of the difference of logits', () => {
  const { out, lse } = attendAllReference([[2]], [[1], [0]], [[1], [0]]);
  expect(out[0][0]).toBeCloseTo(1 / (1 + Math.exp(-2)), 12);
  expect(lse[0]).toBeCloseTo(Math.log(Math.exp(2) + 1), 12);
});

test('a short last pool is the mean of what is there and counts it', () => {
  const keys = [1, 2, 3, 4, 5].map((x) => [x]);
  const row = raster(8)({ frames: 1, height: 1, width: 5, text: 0 });
  expect(poolReference(keys, keys, row, 0, 4)).toEqual([
    { key: [2.5], value: [2.5], count: 4 },
    { key: [5], value: [5], count: 1 },
  ]);
});

test('a plan of all blocks is dense attention', () => {
  const all = Array.from({ length: layout.k.blocks }, (_, block) => ({ block, pool: 1 }));
  const sparse = attendReference(q, k, v, Array(layout.q.blocks).fill(all), layout);
  const dense = attendAllReference(q, k, v);
  for (const [token, lse] of dense.lse.entries()) {
    expect(sparse.lse[token]).toBeCloseTo(lse, 10);
    for (const [index, x] of dense.out[token].entries()) expect(sparse.out[token][index]).toBeCloseTo(x, 10);
  }
});

test('block mass over all key blocks is the number of rows', () => {
  const mass = blockMassReference(q, k, attendAllReference(q, k, v).lse, layout);
  for (const [block, row] of mass.entries()) expect(row.reduce((sum, x) => sum + x, 0)).toBeCloseTo(layout.q.counts[block], 10);
});
