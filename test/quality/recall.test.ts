// Recall and error: worked by hand, and against f64.
import { afterAll, expect, test } from 'vitest';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { seeded } from '../../src/bench/random.ts';
import { relativeError } from '../../src/quality/error.ts';
import { massTable, massTables, recallOf } from '../../src/quality/recall.ts';
import { curve, raster } from '../../src/sparse3d/layout.ts';
import { type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, blockMassReference, rowsOf } from '../../src/sparse3d/reference.ts';

const device = await openCpu();
const ops = cpuBackend(device);
afterAll(() => device.dispose());

const both = (layout: Layout) => ({ q: layout, k: layout });

test('the share of the mass that a plan reads, and of what it reads token by token', async () => {
  const layout = both(raster(8)({ frames: 1, height: 2, width: 8, text: 0 }));
  // Two query blocks by two key blocks: of 16 in all, row 0 reads 6 in full and 2 pooled, row 1 reads 5 pooled.
  const table = { mass: Float32Array.of(6, 2, 3, 5), heads: 1, layout };
  const plan = {
    counts: ops.upload(Int32Array.of(1, 1, 0, 1), [1, 2, 2]),
    blocks: ops.upload(Int32Array.of(0, 1, 1, -1), [1, 2, 2]),
    levels: [1, 2].map((pool) => ({ pool, upTo: 1 })),
  };
  expect(await recallOf(ops, plan, table)).toEqual({ read: 13 / 16, full: 6 / 16 });
  const whole = { counts: ops.upload(Int32Array.of(2, 2), [1, 2, 1]), blocks: ops.upload(Int32Array.of(-1, -1), [1, 2, 1]) };
  expect(await recallOf(ops, { ...whole, levels: [{ pool: 1, upTo: 1 }], keyBlocks: 2 }, table)).toEqual({ read: 1, full: 1 });
});

test('mass is that of f64 in the layout asked for, with text and a grid that does not divide', async () => {
  const [grid, heads, dim] = [{ frames: 3, height: 5, width: 7, text: 4 }, 2, 16];
  const uniform = seeded(3);
  const tokens = tokensOf(grid);
  const numbers = () => Float32Array.from({ length: heads * tokens * dim }, () => 6 * uniform() - 3);
  const [queries, keys] = [numbers(), numbers()];
  const [q, k] = [queries, keys].map((x) => ops.upload(x, [heads, tokens, dim]));
  const { lse } = ops.attendAll(q, k, k);
  const layout = both(curve(16)(grid));
  const { mass } = await massTable(ops, { q, k, lse }, layout);
  const expected = rowsOf(queries, heads, dim).flatMap((rows, head) => {
    const own = rowsOf(keys, heads, dim)[head];
    return blockMassReference(rows, own, attendAllReference(rows, own, own).lse, layout).flat();
  });
  expect(relativeError(mass, expected)).toBeLessThan(1e-5);
  expect(mass.reduce((sum, share) => sum + share, 0)).toBeCloseTo(heads * tokens, 2);
});

test('a table is made once for each pair of layouts', async () => {
  const grid = { frames: 1, height: 4, width: 8, text: 0 };
  const [q, k] = [1, 2].map((by) => ops.upload(new Float32Array(32 * 8).fill(by), [1, 32, 8]));
  const tables = massTables(ops, { q, k, lse: ops.attendAll(q, k, k).lse });
  const layout = both(raster(8)(grid));
  expect(await tables(layout)).toBe(await tables({ ...layout }));
  const mixed = await tables({ ...layout, k: raster(16)(grid) });
  expect(mixed.mass).toHaveLength(4 * 2);
});

test('relative error', () => {
  expect(relativeError([3, 4], [3, 4])).toBe(0);
  expect(relativeError([3, 5], [3, 4])).toBeCloseTo(1 / 5, 12);
  expect(relativeError([1], [0])).toBe(1);
  expect(relativeError([Number.NaN], [1])).toBeNaN();
  expect(() => relativeError([1], [1, 2])).toThrow('1 numbers are compared with 2');
});
