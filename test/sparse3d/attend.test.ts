import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Sparse3dOps, sparse3dOps } from '../../src/sparse3d/ops.ts';
import { type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, attendReference, planRows, rowsOf } from '../../src/sparse3d/reference.ts';
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

  const grids = [
    { frames: 4, height: 8, width: 8, text: 0 },
    { frames: 5, height: 7, width: 9, text: 77 },
    { frames: 1, height: 1, width: 1, text: 0 },
    { frames: 1, height: 8, width: 8, text: 0 },
    { frames: 3, height: 6, width: 10, text: 20 },
  ];
  const layouts = { raster: raster(64), curve: curve(64), tiles: tiles(4, 4, 4), small: curve(16), flat: tiles(1, 8, 8) };
  const poolings = [[1], [1, 2, 4, 8], [1, 8], [4, 16], [2]];

  for (const grid of grids)
    test(`a plan on ${grid.frames} x ${grid.height} x ${grid.width} + ${grid.text} equals the twin in every layout and pooling`, async () => {
      const [heads, dim] = [2, 32];
      const inputs = inputsFor(heads, tokensOf(grid), dim, 11);
      for (const [name, make] of Object.entries(layouts))
        for (const pools of poolings) {
          const layout = { q: make(grid), k: make(grid) };
          const plan = randomPlan(ops.upload, heads, layout.q.blocks, layout.k.blocks, pools, 3);
          const [actual, expected] = [await attended(inputs, heads, dim, plan, layout), planTwin(inputs, heads, dim, plan, layout)];
          expect(relativeError(actual.out, expected.out), `${name}, pools ${pools}`).toBeLessThan(TOLERANCE);
          expect(relativeError(actual.lse, expected.lse), `${name}, pools ${pools}`).toBeLessThan(TOLERANCE);
        }
    });
});
