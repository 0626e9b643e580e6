// Scores on the GPU against their f64 twins and the CPU's operations, for every block size, with text, outliers and padding.
import { describe, expect, test } from 'vitest';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { capOf } from '../../src/search/cpu-select.ts';
import { searchGpuOps } from '../../src/search/gpu.ts';
import { massVariants, peakVariants } from '../../src/search/gpu-product.ts';
import { searchKernels } from '../../src/search/kernels/index.ts';
import { sampledScoresReference } from '../../src/search/reference.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { toBlocked } from '../../src/sparse3d/permute.ts';
import { type Grid, type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, blockMassReference, rowsOf } from '../../src/sparse3d/reference.ts';
import type { Numbers, Tensor } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';
import { numbers } from '../sparse3d/cases.ts';

const gpu = await openedGpu();
const kernels = gpu && (await loadKernels(searchKernels));
const ops = gpu && searchGpuOps(gpu, kernels!);
const read = (x: Tensor): Promise<Numbers> => gpu!.read(x as never);

const small: Grid = { frames: 3, height: 5, width: 7, text: 0 };
const joint: Grid = { ...small, text: 13 };
const one: Grid = { frames: 1, height: 2, width: 3, text: 0 };

interface Case {
  readonly q: Layout;
  readonly k: Layout;
}
const same = (layout: Layout): Case => ({ q: layout, k: layout });
const cases: readonly Case[] = [
  same(raster(64)(small)),
  same(raster(64)(joint)),
  same(tiles(4, 4, 4)(joint)),
  same(curve(16)(one)),
  same(raster(8)(small)),
  same(raster(24)(joint)),
  same(tiles(2, 4, 5)(small)),
  same(raster(128)(joint)),
  { q: curve(32)(joint), k: raster(72)(joint) },
];
const nameOf = ({ q, k }: Case) => `${q.name} by ${k.name} on ${q.grid.frames}x${q.grid.height}x${q.grid.width}+${q.grid.text}`;

describe.skipIf(!ops)('scores on the GPU', () => {
  const [heads, dim] = [2, 24];
  const blocked = (raw: Float32Array, layout: Layout, width = dim) => {
    const shape = width === 1 ? [heads, layout.order.length] : [heads, layout.order.length, width];
    return gpu!.upload(toBlocked(raw, heads, width, layout), shape);
  };

  for (const layout of cases)
    test(`twins: ${nameOf(layout)}`, async () => {
      const tokens = tokensOf(layout.q.grid);
      const raw = [1, 2].map((seed) => numbers(heads * tokens * dim, seed));
      const [qRows, kRows] = raw.map((x) => rowsOf(x, heads, dim));
      const lse = qRows.map((rows, head) => attendAllReference(rows, kRows[head], kRows[head]).lse);
      const [q, k] = [blocked(raw[0], layout.q), blocked(raw[1], layout.k)];
      const mass = await read(ops!.blockMass(q, k, blocked(Float32Array.from(lse.flat()), layout.q, 1), layout));
      const twin = qRows.flatMap((rows, head) => blockMassReference(rows, kRows[head], lse[head], layout).flat());
      expect(mass.length).toBe(twin.length);
      for (const [at, expected] of twin.entries()) expect(Math.abs(mass[at] - expected)).toBeLessThan(2e-5 * (1 + expected));
      for (const sampling of [
        { queries: 1 / 4, keys: 1 / 4, seed: 7 },
        { queries: 1, keys: 0.3, seed: 8 },
      ])
        for (const by of [ops!, searchGpuOps(gpu!, kernels!, { tableBytes: 1000 })]) {
          const scores = await read(by.sampledScores(q, k, layout, sampling));
          const sampledTwin = qRows.flatMap((rows, head) => sampledScoresReference(rows, kRows[head], layout, sampling, head).flat());
          for (const [at, expected] of sampledTwin.entries()) expect(Math.abs(scores[at] - expected)).toBeLessThan(1e-5);
        }
    });

  test('a stale log-sum-exp only scales the rows, and makes no infinity', async () => {
    const layout = same(raster(64)(small));
    const x = blocked(numbers(heads * 105 * dim, 3), layout.q);
    const at = async (shift: number) => read(ops!.blockMass(x, x, blocked(new Float32Array(heads * 105).fill(shift), layout.q, 1), layout));
    const [now, stale] = [await at(40), await at(42)];
    for (const [pair, mass] of now.entries()) expect(stale[pair] / mass).toBeCloseTo(Math.exp(-2), 4);
    for (const mass of await at(-500)) expect(Number.isFinite(mass)).toBe(true);
    for (const mass of await at(5000)) expect(mass).toBe(0);
  });

  test('pool caps are those of the host', async () => {
    const pools = [2, 4, 8].map((pool, at) => ({ pool, cosine: [0.5, 0.3, 0.2][at] }));
    for (const layout of [raster(64)(joint), raster(8)(small), tiles(4, 4, 4)(small)]) {
      const tokens = tokensOf(layout.grid);
      const walk = numbers(heads * tokens * dim, 5, 1);
      for (let at = dim; at < walk.length; at++) walk[at] = 0.8 * walk[at - dim] + 0.5 * walk[at];
      const k = toBlocked(walk, heads, dim, layout);
      const caps = await read(ops!.poolCap(blocked(walk, layout), layout, pools));
      const expected = capOf(k, heads, dim, layout, pools);
      expect([...caps]).toEqual([...expected]);
      expect(new Set(caps).size).toBeGreaterThan(1);
      expect([...(await read(ops!.poolCap(blocked(walk, layout), layout, [])))].every((cap) => cap === 1)).toBe(true);
    }
  });

  test('equal tokens are not more alike than 1, and zeros are like nothing', async () => {
    const layout = raster(8)({ frames: 1, height: 1, width: 17, text: 0 });
    const k = new Float32Array(heads * 17 * dim).fill(0.3).map((x, at) => (Math.floor(at / dim) % 17 < 8 ? x : 0));
    const cap = async (cosine: number) => [...(await read(ops!.poolCap(blocked(k, layout), layout, [{ pool: 4, cosine }]))).subarray(0, 3)];
    expect(await cap(1)).toEqual([1, 1, 1]);
    expect(await cap(0.99)).toEqual([4, 1, 4]);
  });

  test('what a variant lacks is named', () => {
    const call = { dtype: 'f16', dim: 128, together: 64, rows: 1024, keys: 64 } as const;
    const limits = { maxComputeWorkgroupStorageSize: 24576 };
    const listed = { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 };
    const features = new Set(['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix', 'subgroup_id']);
    const able = { features, limits, subgroupSizes: [32, 32] as const, matrices: [listed] };
    for (const [matrix] of [massVariants, peakVariants]) {
      expect(matrix.lacking(able, call)).toBeUndefined();
      expect(matrix.lacking(able, { ...call, dim: 24 })).toContain('multiple of 16');
      expect(matrix.lacking(able, { ...call, dtype: 'f32' })).toContain('f32');
      expect(matrix.lacking(able, { ...call, dim: 256 })).toContain('workgroup memory');
      expect(matrix.lacking({ ...able, subgroupSizes: [8, 32] }, call)).toContain('from 8 to 32');
      expect(matrix.lacking({ ...able, matrices: [{ ...listed, M: 4 }] }, call)).toContain('16x16x16');
      expect(matrix.lacking({ ...able, features: new Set() }, call)).toContain('shader-f16');
    }
    expect(massVariants[0].lacking(able, { ...call, together: 24 })).toContain('tiles');
    expect(peakVariants[0].lacking(able, { ...call, rows: 16 })).toContain('16');
    const x = gpu!.upload(new Float32Array(16 * 8), [1, 16, 8]);
    const layout = same(raster(8)({ frames: 1, height: 1, width: 16, text: 0 }));
    const wanting = searchGpuOps(gpu!, kernels!, { score: 'matrix' });
    if (!gpu!.adapter.features.has('chromium-experimental-subgroup-matrix'))
      expect(() => wanting.sampledScores(x, x, layout, { queries: 1, keys: 1, seed: 0 })).toThrow('no variant can run here: matrix');
  });

  test('tensors that do not fit the layout are refused by name', () => {
    const layout = same(raster(8)({ frames: 1, height: 1, width: 16, text: 0 }));
    const [good, bad] = [gpu!.upload(new Float32Array(16 * 8), [1, 16, 8]), gpu!.upload(new Float32Array(8 * 8), [1, 8, 8])];
    expect(() => ops!.sampledScores(good, bad, layout, { queries: 1, keys: 1, seed: 0 })).toThrow('k has shape [1,8,8], expected [1,16,8]');
    expect(() => ops!.blockMass(good, good, bad, layout)).toThrow('lse');
    expect(() => ops!.poolCap(bad, layout.k, [])).toThrow('k has shape');
    const whole = gpu!.upload(new Int32Array(16 * 8), [1, 16, 8]);
    expect(() => ops!.blockMass(good, whole, bad, layout)).toThrow('scores need q and k both as f32 or f16, got f32 and i32; cast one');
    expect(() => ops!.poolCap(gpu!.upload(new Float32Array(16 * 6), [1, 16, 6]), layout.k, [])).toThrow('a multiple of 4, got [1,16,6]');
  });

  test('nothing but results is left behind', async () => {
    const layout = same(raster(64)(joint));
    const x = blocked(numbers(heads * 118 * dim, 3), layout.q);
    const search = () =>
      gpu!.scope(() => {
        const scores = ops!.sampledScores(x, x, layout, { queries: 1 / 4, keys: 1 / 4, seed: 1 });
        const cap = ops!.poolCap(x, layout.k, [{ pool: 2, cosine: 0.5 }]);
        const plan = ops!.select(scores, { measure: 'mass', levels: [{ pool: 1, upTo: 0.5 }], cap });
        ops!.recall(scores, plan);
      });
    search();
    const { bytes } = gpu!.memory;
    for (let round = 0; round < 5; round++) search();
    expect(gpu!.memory.bytes).toBe(bytes);
    await gpu!.idle();
  });
});
