// Query blocks of more tokens than key blocks: how they are joined, attention by them against f64, and orders that a model keeps.
import { describe, expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import type { Backend } from '../src/backend/backend.ts';
import { webgpuBackend } from '../src/backend/webgpu/backend.ts';
import type { Layouts, Method, Site } from '../src/method.ts';
import { keptOrder, layoutsOf } from '../src/method-order.ts';
import { withQueryBlocks } from '../src/method-queries.ts';
import { adaSpa, pyramidSparse, svg2 } from '../src/methods.ts';
import { columns, curve, cyclic, raster, tiles } from '../src/sparse3d/layout.ts';
import { type Grid, PAD, tokensOf } from '../src/sparse3d/plan.ts';
import { attendReference, planRows, rowsOf } from '../src/sparse3d/reference.ts';
import { openedOps } from './backend/opened.ts';
import { openedGpu } from './gpu/device.ts';
import { numbers, randomPlan, relativeError } from './sparse3d/cases.ts';

const odd: Grid = { frames: 13, height: 17, width: 9, text: 77 };
const siteOf = (grid: Grid, step = 0): Site => ({ step, steps: 4, layer: 0, layers: 2, branches: [0], grid });
const joined = (layout: Method['layout'], grid: Grid, tokens?: number): Layouts =>
  layoutsOf(withQueryBlocks({ ...adaSpa(), layout }, tokens), siteOf(grid));

describe('query blocks', () => {
  test.each([raster(64), tiles(4, 4, 4), curve(32), columns(2, 4)].map((layout) => ({ layout, name: layout(odd).name })))(
    'of $name hold the tokens of whole key blocks, text apart',
    ({ layout }) => {
      const { q, k } = joined(layout, odd);
      expect(k).toBe(layout(odd));
      const [each, video] = [q.block / k.block, tokensOf(odd) - odd.text];
      expect(q.blocks).toBe(Math.ceil(k.videoBlocks / each) + Math.ceil((k.blocks - k.videoBlocks) / each));
      expect(q.videoBlocks).toBe(Math.ceil(k.videoBlocks / each));
      expect([...q.order].filter((token) => token !== PAD)).toEqual([...k.order].filter((token) => token !== PAD));
      for (const [block, count] of q.counts.entries()) {
        const slots = [...q.order.subarray(block * q.block, (block + 1) * q.block)];
        expect(count).toBeGreaterThan(0);
        expect(slots.map((token) => token !== PAD)).toEqual(slots.map((_, at) => at < count));
        expect(slots.slice(0, count).every((token) => token >= video === block >= q.videoBlocks)).toBe(true);
      }
    },
  );

  test('are one object for a grid, and the own blocks where these are as large', () => {
    const method = withQueryBlocks({ ...adaSpa(), layout: cyclic(curve(64), raster(32)) });
    const [first, again, next] = [0, 2, 1].map((layer) => layoutsOf(method, { ...siteOf(odd), layer }));
    expect(again.q).toBe(first.q);
    expect(next.q.name).toBe('raster(32), queries by 128');
    const same = raster(64);
    expect(joined(same, odd, 64)).toEqual({ q: same(odd), k: same(odd) });
  });

  test('that are none are refused in one sentence', () => {
    expect(() => withQueryBlocks(adaSpa(), 100)).toThrow('query blocks of 100 tokens are not possible');
    expect(() => withQueryBlocks(adaSpa as never)).toThrow('there is no method: it is ');
    expect(() => withQueryBlocks(svg2())).toThrow('the method svg2 finds the blocks of each head from its queries');
    expect(() => joined(raster(64), odd, 96)).toThrow('query blocks of 96 tokens are no whole blocks of raster(64)');
  });
});

const cpu = await openedOps('onnxruntime-node');
const gpu = await openedGpu();
const backends: readonly (readonly [string, Backend])[] = [['cpu', cpu], ...(gpu ? [['webgpu', await webgpuBackend(gpu)] as const] : [])];

describe.each(backends)('on %s', (name, ops) => {
  test('attention by a plan of 128 queries and 64 keys, text and pooled blocks among them, is that of f64', async () => {
    const [heads, dim, layout] = [1, 8, joined(curve(64), odd)];
    const given = [1, 2, 3].map((seed) => numbers(heads * tokensOf(odd) * dim, seed));
    const [q, k, v] = given.map((x, at) => ops.gather(ops.upload(x, [heads, tokensOf(odd), dim]), at ? layout.k : layout.q));
    const plan = randomPlan(ops.upload, heads, layout.q.blocks, layout.k.blocks, name === 'cpu' ? [1, 4] : [1], 5);
    const { out, lse } = ops.attend(q, k, v, plan, layout);
    const actual = [await ops.read(ops.scatter(out, layout.q)), await ops.read(ops.scatter(lse, layout.q))];
    const [rows, keys, values] = given.map((x) => rowsOf(x, heads, dim)[0]);
    const read = planRows(plan.host.counts, plan.host.blocks, plan.levels, 0, layout.q.blocks, layout.k.blocks);
    const twin = attendReference(rows, keys, values, read, layout);
    expect(relativeError(actual[0], twin.out.flat())).toBeLessThan(2e-5);
    expect(relativeError(actual[1], twin.lse)).toBeLessThan(2e-5);
  });

  // 504 tokens are 63 blocks of keys and 32 of queries, whose last slots are padding that keys do not have.
  const uneven: Grid = { frames: 7, height: 8, width: 9, text: 0 };
  const schedule: Method['schedule'] = ({ step }) => (['search', 'reuse', 'search'] as const)[step];
  const methods = [adaSpa({ sparsity: 0.6 }), pyramidSparse({ sparsity: 0.6 })];
  const served = (name === 'cpu' ? methods : methods.slice(0, 1)).map((one) => withQueryBlocks({ ...one, layout: curve(8), schedule }, 16));
  test.each(served)('in an order that is kept, $name attends as in raster order', async (method) => {
    const [heads, dim, slots] = [2, 16, 512];
    const order = keptOrder(method)(siteOf(uneven))!;
    expect(order.order.length).toBe(slots);
    const [kept, moved] = [createAttention(ops, method), createAttention(ops, method)];
    for (let step = 0; step < (name === 'cpu' ? 3 : 2); step++) {
      const raw = [1, 2, 3].map((seed) => ops.upload(numbers(heads * 504 * dim, 10 * step + seed), [heads, 504, dim]));
      const [q, k, v] = raw.map((x) => ops.gather(x, order));
      const site = siteOf(uneven, step);
      const own = ops.scatter(kept.attention(q, k, v, { ...site, layout: order }), order);
      const expected = moved.attention(raw[0], raw[1], raw[2], site);
      expect(relativeError(await ops.read(own), [...(await ops.read(expected))])).toBeLessThan(2e-5);
    }
    const [own, expected] = [await kept.take(), await moved.take()];
    expect(own.density).toBeCloseTo(expected.density, 6);
    expect(own.density).toBeLessThan(0.8);
    for (const { reset } of [kept, moved]) reset();
  });
});
