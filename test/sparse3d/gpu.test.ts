// Tokens and blocks on the GPU against the naive twins: every variant of attention, memory, orders.
import { describe, expect, test } from 'vitest';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { sparse3dGpuOps } from '../../src/sparse3d/gpu.ts';
import { attendVariants } from '../../src/sparse3d/gpu-attend.ts';
import type { AttendVariant } from '../../src/sparse3d/gpu-attend-call.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, PAD, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, attendReference, planRows, rowsOf } from '../../src/sparse3d/reference.ts';
import { openedGpu } from '../gpu/device.ts';
import { evenPlan, numbers, randomPlan, relativeError, type TestPlan } from './cases.ts';

const TOLERANCE = 2e-5;
const opened = await openedGpu();
const kernels = await loadKernels(sparse3dKernels);

interface Inputs {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}
interface Layouts {
  readonly q: Layout;
  readonly k: Layout;
}

const inputsFor = (heads: number, queries: number, keys: number, dim: number, seed = 1): Inputs => ({
  q: numbers(heads * queries * dim, seed),
  k: numbers(heads * keys * dim, seed + 1),
  v: numbers(heads * keys * dim, seed + 2),
});

function twin({ q, k, v }: Inputs, heads: number, dim: number, sparse?: { readonly plan: TestPlan; readonly layout: Layouts }) {
  const [qs, ks, vs] = [q, k, v].map((x) => rowsOf(x, heads, dim));
  const results = qs.map((rows, head) => {
    if (!sparse) return attendAllReference(rows, ks[head], vs[head]);
    const { plan, layout } = sparse;
    const read = planRows(plan.host.counts, plan.host.blocks, plan.levels, head, layout.q.blocks, layout.k.blocks);
    return attendReference(rows, ks[head], vs[head], read, layout);
  });
  return { out: results.flatMap(({ out }) => out.flat()), lse: results.flatMap(({ lse }) => lse) };
}

describe.skipIf(!opened)('on a GPU', () => {
  const gpu = opened!;

  for (const variant of attendVariants) {
    const lacking = gpu && variant.lacking(gpu.adapter, { dim: 64, dtype: 'f32' });
    if (lacking) console.warn(`attention, variant ${variant.name}, is skipped: ${lacking}`);
    describe.skipIf(lacking !== undefined)(`attention, variant ${variant.name}`, () => attentionTests(variant));
  }

  function attentionTests(variant: AttendVariant): void {
    const ops = sparse3dGpuOps(gpu, kernels, { attend: variant.name });
    const handles = ({ q, k, v }: Inputs, heads: number, dim: number) =>
      [q, k, v].map((x) => ops.upload(x, [heads, x.length / heads / dim, dim]));

    async function attended(inputs: Inputs, heads: number, dim: number, plan: TestPlan, layout: Layouts) {
      const [q, k, v] = handles(inputs, heads, dim);
      const result = ops.attend(ops.gather(q, layout.q), ops.gather(k, layout.k), ops.gather(v, layout.k), plan, layout);
      const [out, lse] = [ops.scatter(result.out, layout.q), ops.scatter(result.lse, layout.q)];
      return {
        out: await ops.read(out),
        lse: await ops.read(lse),
        blocked: await ops.read(result.out),
        blockedLse: await ops.read(result.lse),
      };
    }

    const close = (actual: { out: ArrayLike<number>; lse: ArrayLike<number> }, expected: { out: number[]; lse: number[] }, what = '') => {
      expect(relativeError(actual.out, expected.out), what).toBeLessThan(TOLERANCE);
      expect(relativeError(actual.lse, expected.lse), what).toBeLessThan(TOLERANCE);
    };

    const dense = [
      [2, 70, 130, 24],
      [1, 9, 140, 256],
    ];
    const served = dense.filter(([, , , dim]) => !variant.lacking(gpu.adapter, { dim, dtype: 'f32' }));
    test.each(served)('dense: %i heads, %i queries, %i keys, dim %i', async (heads, queries, keys, dim) => {
      const inputs = inputsFor(heads, queries, keys, dim);
      const [q, k, v] = handles(inputs, heads, dim);
      const { out, lse } = ops.attendAll(q, k, v);
      close({ out: await ops.read(out), lse: await ops.read(lse) }, twin(inputs, heads, dim));
    });

    const grids: Grid[] = [
      { frames: 3, height: 5, width: 7, text: 11 },
      { frames: 1, height: 3, width: 5, text: 0 },
      { frames: 2, height: 8, width: 8, text: 70 },
    ];
    const readings: [string, (grid: Grid) => Layout, number[]][] = [
      ['blocks of 64, unpooled', raster(64), [1]],
      ['blocks of 64, pyramid', raster(64), [1, 2, 4, 8]],
      ['blocks of 8, pyramid', curve(8), [1, 2, 8]],
      ['tiles of 24, rest in one', tiles(2, 3, 4), [1, 24]],
      ['tiles of 128, pooled', tiles(2, 8, 8), [2, 64]],
    ];
    for (const grid of grids)
      test(`plans on ${grid.frames} x ${grid.height} x ${grid.width} + ${grid.text}`, async () => {
        const [heads, dim] = [2, 24];
        const inputs = inputsFor(heads, tokensOf(grid), tokensOf(grid), dim, 11);
        for (const [reading, make, pools] of readings) {
          const layout = { q: make(grid), k: make(grid) };
          const plan = randomPlan(ops.upload, heads, layout.q.blocks, layout.k.blocks, pools, 3);
          close(await attended(inputs, heads, dim, plan, layout), twin(inputs, heads, dim, { plan, layout }), reading);
        }
      });

    test('queries and keys may have layouts of their own, and padded rows are zero', async () => {
      const grid = { frames: 3, height: 6, width: 10, text: 20 };
      const layout = { q: curve(16)(grid), k: tiles(2, 4, 4)(grid) };
      const inputs = inputsFor(1, tokensOf(grid), tokensOf(grid), 24, 21);
      const plan = randomPlan(ops.upload, 1, layout.q.blocks, layout.k.blocks, [1, 4], 5);
      const actual = await attended(inputs, 1, 24, plan, layout);
      close(actual, twin(inputs, 1, 24, { plan, layout }));
      for (const [slot, token] of layout.q.order.entries())
        if (token === PAD) {
          expect(actual.blockedLse[slot]).toBe(0);
          expect([...actual.blocked.subarray(slot * 24, (slot + 1) * 24)].every((x) => x === 0)).toBe(true);
        }
    });

    test('a row of all blocks needs no list', async () => {
      const grid = { frames: 3, height: 5, width: 7, text: 11 };
      const layout = { q: raster(16)(grid), k: raster(16)(grid) };
      const [heads, { blocks }] = [2, layout.q];
      const inputs = inputsFor(heads, tokensOf(grid), tokensOf(grid), 24, 31);
      const counts = ops.upload(new Int32Array(heads * blocks).fill(blocks), [heads, blocks, 1]);
      const list = ops.upload(new Int32Array(heads * blocks).fill(PAD), [heads, blocks, 1]);
      const host = { counts: new Int32Array(), blocks: new Int32Array() };
      close(
        await attended(inputs, heads, 24, { counts, blocks: list, levels: [{ pool: 1, upTo: 1 }], host }, layout),
        twin(inputs, heads, 24),
      );
    });

    test('padding takes no mass, even where every token has a far lower logit than zero', async () => {
      const grid = { frames: 1, height: 3, width: 5, text: 9 };
      const layout = { q: raster(64)(grid), k: raster(64)(grid) };
      const tokens = tokensOf(grid);
      const inputs = {
        q: new Float32Array(tokens * 24).fill(4),
        k: numbers(tokens * 24, 4).map((x) => -5 - Math.abs(x)),
        v: numbers(tokens * 24, 5),
      };
      for (const pool of [1, 2, 4, 8, 64]) {
        const plan = evenPlan(ops.upload, 1, layout.q.blocks, layout.k.blocks, 2, pool);
        close(await attended(inputs, 1, 24, plan, layout), twin(inputs, 1, 24, { plan, layout }), `pool ${pool}`);
      }
    });

    const halfLacking = variant.lacking(gpu.adapter, { dim: 128, dtype: 'f16' });
    if (halfLacking) console.warn(`attention of f16, variant ${variant.name}, is skipped: ${halfLacking}`);
    test.skipIf(halfLacking).each([24, 64, 128])('f16 storage, dim %i, dense and by a plan', async (dim) => {
      const grid = { frames: 3, height: 5, width: 7, text: 11 };
      const layout = { q: raster(64)(grid), k: curve(16)(grid) };
      const [heads, tokens] = [2, tokensOf(grid)];
      const halves = handles(inputsFor(heads, tokens, tokens, dim, 41), heads, dim).map((x) => ops.cast(x, 'f16'));
      const [q, k, v] = await Promise.all(halves.map((x) => ops.read(x) as Promise<Float32Array>));
      const plan = randomPlan(ops.upload, heads, layout.q.blocks, layout.k.blocks, [1, 2, 8], 3);
      const dense = ops.attendAll(halves[0], halves[1], halves[2]);
      const [blockedQ, blockedK, blockedV] = halves.map((x, at) => ops.gather(x, at === 0 ? layout.q : layout.k));
      const sparse = ops.attend(blockedQ, blockedK, blockedV, plan, layout);
      for (const [{ out, lse }, expected] of [
        [dense, twin({ q, k, v }, heads, dim)],
        [
          { out: ops.scatter(sparse.out, layout.q), lse: ops.scatter(sparse.lse, layout.q) },
          twin({ q, k, v }, heads, dim, { plan, layout }),
        ],
      ] as const) {
        expect(out.dtype).toBe('f16');
        expect(relativeError(await ops.read(out), expected.out)).toBeLessThan(2e-3);
        for (const [at, value] of (await ops.read(lse)).entries()) expect(Math.abs(value - expected.lse[at])).toBeLessThan(1e-3);
      }
    });

    test('scores that rise from key to key, by far', async () => {
      const [keys, dim] = [300, 8];
      const q = new Float32Array(5 * dim).fill(1);
      const k = Float32Array.from({ length: keys * dim }, (_, at) => Math.floor(at / dim) * 0.3 - 40);
      const inputs = { q, k, v: numbers(keys * dim, 9) };
      const { out, lse } = ops.attendAll(ops.upload(q, [1, 5, dim]), ops.upload(k, [1, keys, dim]), ops.upload(inputs.v, [1, keys, dim]));
      close({ out: await ops.read(out), lse: await ops.read(lse) }, twin(inputs, 1, dim));
    });
  }

  // f16 is where it matters, which is checked by the conformance suite on a GPU that has it.
  const subgroups = attendVariants.find(({ name }) => name === 'subgroups')!;
  test.skipIf(!gpu || subgroups.lacking(gpu.adapter, { dim: 24, dtype: 'f32' }))(
    'sums that leave their type are made of smaller values',
    async () => {
      const [keys, dim] = [130, 24];
      const ops = sparse3dGpuOps(gpu, kernels, { attend: 'subgroups' });
      const same = ops.upload(new Float32Array(keys * dim), [1, keys, dim]);
      const v = numbers(keys * dim, 4).map((x) => (40 + x) * 1e36);
      const { out } = ops.attendAll(same, same, ops.upload(v, [1, keys, dim]));
      const mean = Array.from({ length: dim }, (_, at) => v.reduce((sum, x, index) => (index % dim === at ? sum + x / keys : sum), 0));
      expect(relativeError((await ops.read(out)).subarray(0, dim), mean)).toBeLessThan(TOLERANCE);
    },
  );
});
