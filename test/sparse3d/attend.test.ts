import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Sparse3dOps, sparse3dOps } from '../../src/sparse3d/ops.ts';
import { type Grid, type Layout, PAD, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, attendReference, planRows, rowsOf } from '../../src/sparse3d/reference.ts';
import type { Tensor } from '../../src/tensor.ts';
import { evenPlan, numbers, randomPlan, relativeError, type TestPlan } from './cases.ts';

const TOLERANCE = 2e-5;

interface Inputs {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

const inputsFor = (heads: number, tokens: number, dim: number, seed = 1): Inputs => ({
  q: numbers(heads * tokens * dim, seed),
  k: numbers(heads * tokens * dim, seed + 1),
  v: numbers(heads * tokens * dim, seed + 2),
});

function denseTwin({ q, k, v }: Inputs, heads: number, dim: number) {
  const [qs, ks, vs] = [q, k, v].map((x) => rowsOf(x, heads, dim));
  const results = qs.map((rows, head) => attendAllReference(rows, ks[head], vs[head]));
  return { out: results.flatMap(({ out }) => out.flat()), lse: results.flatMap(({ lse }) => lse) };
}

function planTwin({ q, k, v }: Inputs, heads: number, dim: number, plan: TestPlan, layout: { q: Layout; k: Layout }) {
  const [qs, ks, vs] = [q, k, v].map((x) => rowsOf(x, heads, dim));
  const results = qs.map((rows, head) => {
    const { counts, blocks } = plan.host;
    return attendReference(rows, ks[head], vs[head], planRows(counts, blocks, plan.levels, head, layout.q.blocks, layout.k.blocks), layout);
  });
  return { out: results.flatMap(({ out }) => out.flat()), lse: results.flatMap(({ lse }) => lse) };
}

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('on %s', (runtime) => {
  let device: CpuDevice;
  let ops: Sparse3dOps;
  beforeAll(async () => {
    device = await openCpu(runtime);
    ops = sparse3dOps(device);
  });
  afterAll(() => device.dispose());

  async function attended({ q, k, v }: Inputs, heads: number, dim: number, plan: TestPlan, layout: { q: Layout; k: Layout }) {
    const [qs, ks, vs] = [q, k, v].map((x) => ops.upload(x, [heads, x.length / heads / dim, dim]));
    const result = ops.attend(ops.gather(qs, layout.q), ops.gather(ks, layout.k), ops.gather(vs, layout.k), plan, layout);
    const lse = await ops.read(ops.scatter(result.lse, layout.q));
    return { out: await ops.read(ops.scatter(result.out, layout.q)), lse, blocked: await ops.read(result.out) };
  }

  async function attendedAll({ q, k, v }: Inputs, heads: number, dim: number) {
    const [qs, ks, vs] = [q, k, v].map((x) => ops.upload(x, [heads, x.length / heads / dim, dim]));
    const result = ops.attendAll(qs, ks, vs);
    return { out: await ops.read(result.out), lse: await ops.read(result.lse) };
  }

  test.each([
    [1, 1, 8],
    [2, 300, 64],
    [3, 77, 24],
  ])('dense attention of %i heads, %i tokens, dim %i equals the twin', async (heads, tokens, dim) => {
    const inputs = inputsFor(heads, tokens, dim);
    const [actual, expected] = [await attendedAll(inputs, heads, dim), denseTwin(inputs, heads, dim)];
    expect(relativeError(actual.out, expected.out)).toBeLessThan(TOLERANCE);
    expect(relativeError(actual.lse, expected.lse)).toBeLessThan(TOLERANCE);
  });

  test('dense attention of more keys than queries equals the twin', async () => {
    const inputs = { q: numbers(2 * 40 * 16, 5), k: numbers(2 * 130 * 16, 6), v: numbers(2 * 130 * 16, 7) };
    const [actual, expected] = [await attendedAll(inputs, 2, 16), denseTwin(inputs, 2, 16)];
    expect(relativeError(actual.out, expected.out)).toBeLessThan(TOLERANCE);
  });

  test('dense attention without log-sum-exp equals the twin, and its log-sum-exp cannot be read', async () => {
    const inputs = inputsFor(2, 300, 16);
    const [q, k, v] = [inputs.q, inputs.k, inputs.v].map((x) => ops.upload(x, [2, 300, 16]));
    const { out, lse } = ops.attendAll(q, k, v, { lse: false });
    expect(relativeError(await ops.read(out), denseTwin(inputs, 2, 16).out)).toBeLessThan(TOLERANCE);
    await expect(ops.read(lse)).rejects.toThrow('without its log-sum-exp');
  });

  const grids = [
    { frames: 4, height: 8, width: 8, text: 0 },
    { frames: 5, height: 7, width: 9, text: 77 },
    { frames: 1, height: 1, width: 1, text: 0 },
    { frames: 1, height: 8, width: 8, text: 256 },
    { frames: 3, height: 6, width: 10, text: 20 },
    { frames: 2, height: 10, width: 10, text: 0 },
  ];
  const readings: [string, (grid: Grid) => Layout, number[]][] = [
    ['raster, unpooled', raster(64), [1]],
    ['raster, pyramid', raster(64), [1, 2, 4, 8]],
    ['tiles, unpooled', tiles(4, 4, 4), [1]],
    ['tiles, rest at 64', tiles(4, 4, 4), [1, 64]],
    ['flat tiles, all pooled', tiles(1, 8, 8), [2]],
    ['curve, pyramid', curve(64), [1, 2, 4, 8]],
    ['small curve, coarse', curve(16), [4, 16]],
  ];

  for (const grid of grids)
    test(`plans on ${grid.frames} x ${grid.height} x ${grid.width} + ${grid.text} equal the twin in every layout and pooling`, async () => {
      const [heads, dim] = [2, 24];
      const inputs = inputsFor(heads, tokensOf(grid), dim, 11);
      for (const [name, make, pools] of readings) {
        const layout = { q: make(grid), k: make(grid) };
        const plan = randomPlan(ops.upload, heads, layout.q.blocks, layout.k.blocks, pools, 3);
        const [actual, expected] = [await attended(inputs, heads, dim, plan, layout), planTwin(inputs, heads, dim, plan, layout)];
        expect(relativeError(actual.out, expected.out), name).toBeLessThan(TOLERANCE);
        expect(relativeError(actual.lse, expected.lse), name).toBeLessThan(TOLERANCE);
      }
    });

  test('queries and keys may have layouts of their own', async () => {
    const grid = { frames: 3, height: 6, width: 10, text: 20 };
    const layout = { q: curve(16)(grid), k: tiles(2, 4, 4)(grid) };
    const inputs = inputsFor(1, tokensOf(grid), 8, 21);
    const plan = randomPlan(ops.upload, 1, layout.q.blocks, layout.k.blocks, [1, 4], 5);
    const [actual, expected] = [await attended(inputs, 1, 8, plan, layout), planTwin(inputs, 1, 8, plan, layout)];
    expect(relativeError(actual.out, expected.out)).toBeLessThan(TOLERANCE);
    expect(relativeError(actual.lse, expected.lse)).toBeLessThan(TOLERANCE);
  });

  test.each([
    ['whole blocks', raster(64), { frames: 4, height: 8, width: 8, text: 64 }],
    ['short blocks', tiles(4, 4, 4), { frames: 5, height: 7, width: 9, text: 77 }],
  ])('a plan of all blocks equals dense attention: %s', async (_, make, grid) => {
    const [heads, dim] = [3, 16];
    const inputs = inputsFor(heads, tokensOf(grid), dim, 31);
    const layout = { q: make(grid), k: make(grid) };
    const all = evenPlan(ops.upload, heads, layout.q.blocks, layout.k.blocks);
    const [sparse, dense] = [await attended(inputs, heads, dim, all, layout), await attendedAll(inputs, heads, dim)];
    expect(relativeError(sparse.out, [...dense.out])).toBeLessThan(TOLERANCE);
    expect(relativeError(sparse.lse, [...dense.lse])).toBeLessThan(TOLERANCE);
    expect(await ops.density(all)).toBe(1);
  });

  test('rows may be narrower than the key blocks, and a row of all of them needs no list', async () => {
    const grid = { frames: 5, height: 7, width: 9, text: 20 };
    const layout = { q: tiles(4, 4, 4)(grid), k: tiles(4, 4, 4)(grid) };
    const { blocks: keyBlocks } = layout.k;
    const inputs = inputsFor(2, tokensOf(grid), 8, 41);
    const rows = 2 * layout.q.blocks;
    const counts = Int32Array.from({ length: 2 * rows }, (_, at) => (at % 6 === 0 ? keyBlocks : at % 6 === 1 ? 0 : 1));
    const blocks = Int32Array.from({ length: 2 * rows }, (_, at) => (at % 6 < 2 ? PAD : at % keyBlocks));
    const plan = { levels: [1, 4].map((pool) => ({ pool, upTo: 1 })), host: { counts, blocks } };
    const tensors = { counts: ops.upload(counts, [2, layout.q.blocks, 2]), blocks: ops.upload(blocks, [2, layout.q.blocks, 2]) };
    const actual = await attended(inputs, 2, 8, { ...plan, ...tensors, keyBlocks }, layout);
    const [qs, ks, vs] = [inputs.q, inputs.k, inputs.v].map((x) => rowsOf(x, 2, 8));
    const twin = qs.flatMap((q, head) => {
      const read = planRows(counts, blocks, plan.levels, head, layout.q.blocks, 2, keyBlocks);
      expect(read[0].length).toBe(head === 0 ? keyBlocks : 2);
      return attendReference(q, ks[head], vs[head], read, layout).out.flat();
    });
    expect(relativeError(actual.out, twin)).toBeLessThan(TOLERANCE);
    const pairs = counts.reduce((sum, count, at) => sum + count / (at % 2 ? 4 : 1), 0);
    expect(await ops.density({ ...plan, ...tensors, keyBlocks })).toBeCloseTo(pairs / rows / keyBlocks, 12);
  });

  test('padding takes no mass, even where every token has a far lower logit than zero', async () => {
    const grid = { frames: 1, height: 3, width: 5, text: 9 };
    const layout = { q: raster(64)(grid), k: raster(64)(grid) };
    const tokens = tokensOf(grid);
    const inputs = {
      q: new Float32Array(tokens * 8).fill(4),
      k: numbers(tokens * 8, 4).map((x) => -20 - Math.abs(x)),
      v: numbers(tokens * 8, 5),
    };
    for (const pool of [1, 2, 4, 8, 64]) {
      const plan = evenPlan(ops.upload, 1, layout.q.blocks, layout.k.blocks, 2, pool);
      const [actual, expected] = [await attended(inputs, 1, 8, plan, layout), planTwin(inputs, 1, 8, plan, layout)];
      expect(Math.max(...expected.lse)).toBeLessThan(-100);
      expect(relativeError(actual.out, expected.out), `pool ${pool}`).toBeLessThan(TOLERANCE);
      expect(relativeError(actual.lse, expected.lse), `pool ${pool}`).toBeLessThan(TOLERANCE);
      expect([...actual.blocked.slice(15 * 8, 64 * 8)].every((x) => x === 0)).toBe(true);
    }
  });

  test.each([1, 2, 4, 8, 64])('equal keys pooled by %i keep the mass of their true count', async (pool) => {
    const grid = { frames: 1, height: 1, width: 13, text: 0 };
    const layout = { q: raster(64)(grid), k: raster(64)(grid) };
    const ones = new Float32Array(13 * 8).fill(1);
    const plan = evenPlan(ops.upload, 1, 1, 1, 1, pool);
    const { lse } = await attended({ q: ones, k: ones, v: ones }, 1, 8, plan, layout);
    for (const x of lse) expect(x).toBeCloseTo(8 / Math.sqrt(8) + Math.log(13), 5);
  });

  test('scatter undoes gather, and PAD rows are zero', async () => {
    const grid = { frames: 5, height: 7, width: 9, text: 77 };
    const layout = tiles(4, 4, 4)(grid);
    const x = numbers(2 * tokensOf(grid) * 8, 9);
    const blocked = ops.gather(ops.upload(x, [2, tokensOf(grid), 8]), layout);
    expect(await ops.read(ops.scatter(blocked, layout))).toEqual(x);
    const rows = rowsOf(await ops.read(blocked), 2, 8);
    for (const head of rows)
      for (const [slot, row] of head.entries()) expect(row.every((value) => value === 0)).toBe(layout.order[slot] === PAD);
  });
});

describe('at the border', () => {
  const grid = { frames: 2, height: 8, width: 8, text: 0 };
  const layout = { q: raster(64)(grid), k: raster(64)(grid) };
  let device: CpuDevice;
  let ops: Sparse3dOps;
  let x: Tensor;
  let plan: TestPlan;
  beforeAll(async () => {
    device = await openCpu();
    ops = sparse3dOps(device);
    x = ops.upload(new Float32Array(2 * 128 * 8), [2, 128, 8]);
    plan = evenPlan(ops.upload, 2, 2, 2);
  });
  afterAll(() => device.dispose());

  test('wrong shapes are refused with one sentence', () => {
    const short = ops.upload(new Float32Array(2 * 64 * 8), [2, 64, 8]);
    const odd = ops.upload(new Float32Array(2 * 128 * 4), [2, 128, 4]);
    expect(() => ops.gather(short, layout.q)).toThrow(
      'gather takes [heads, 128, dim] or [heads, 128] for this layout of 128 tokens, got [2,64,8]',
    );
    expect(() => ops.scatter(short, layout.q)).toThrow('scatter takes [heads, 128, dim] or [heads, 128]');
    expect(() => ops.attend(x, short, x, plan, layout)).toThrow('attend needs k as f32 [2,128,8]');
    expect(() => ops.attend(short, x, x, plan, layout)).toThrow('attend needs q as f32 [2,128,8]');
    expect(() => ops.attendAll(x, x, short)).toThrow('attendAll needs v as f32 [2,128,8]');
    expect(() => ops.attendAll(odd, odd, odd)).toThrow('with dim a multiple of 8, got [2,128,4]');
  });

  test('a plan for other layouts or with an impossible pool is refused', () => {
    expect(() => ops.attend(x, x, x, evenPlan(ops.upload, 2, 3, 3), layout)).toThrow(
      'a plan for 2 heads on these layouts has counts [2,2,1]',
    );
    expect(() => ops.attend(x, x, x, { ...plan, levels: [{ pool: 3, upTo: 1 }] }, layout)).toThrow('a level of pool 3 does not divide');
  });

  test('an empty row is an error, not a silent zero', async () => {
    const counts = ops.upload(Int32Array.from([1, 1, 0, 1]), [2, 2, 1]);
    await expect(ops.read(ops.attend(x, x, x, { ...plan, counts }, layout).out)).rejects.toThrow('reads no key block');
  });

  test('density counts pooled blocks by what they cost', async () => {
    const pooled = evenPlan(ops.upload, 1, 4, 4, 2, 8);
    expect(await ops.density(pooled)).toBeCloseTo(2 / 4 / 8, 12);
  });
});
