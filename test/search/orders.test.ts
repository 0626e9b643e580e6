// Orders of each head's own by hand: what blocks hold, what a method remembers of them, and what is refused.
import { expect, test } from 'vitest';
import { createAttention } from '../../src/attention.ts';
import { referenceBackend as ops } from '../../src/conformance/reference-backend.ts';
import { adaSpa, liteAttention, pbs, svg2 } from '../../src/methods.ts';
import { clusters } from '../../src/search/clusters.ts';
import { heavyKeys } from '../../src/search/heavy-keys.ts';
import { pattern } from '../../src/search/pattern.ts';
import { ownBlock } from '../../src/search/patterns.ts';
import { headShape } from '../../src/sparse3d/heads.ts';
import { raster } from '../../src/sparse3d/layout.ts';
import { type Grid, tokensOf } from '../../src/sparse3d/plan.ts';
import { openedOps } from '../backend/opened.ts';

const grid: Grid = { frames: 1, height: 2, width: 6, text: 3 };
const heads = 2;

test('each label in blocks of its own, text behind, and empty blocks where a head needs fewer', async () => {
  const shape = headShape({ name: 'labels', grid, block: 8, videoBlocks: 3 });
  const labels = Int32Array.of(...[1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1], ...Array<number>(12).fill(1));
  const { heads: orders } = ops.byLabel(ops.upload(labels, [heads, 12]), 2, shape);
  expect([...(await ops.read(orders!.counts!))]).toEqual([2, 8, 2, 3, 8, 4, 0, 3]);
  expect([...orders!.layouts[0].order]).toEqual([
    ...[1, 4, -1, -1, -1, -1, -1, -1],
    ...[0, 2, 3, 5, 6, 7, 8, 9],
    ...[10, 11, -1, -1, -1, -1, -1, -1],
    ...[12, 13, 14, -1, -1, -1, -1, -1],
  ]);
  expect([...(await ops.read(orders!.lnCounts!))].slice(4)).toEqual([Math.log(8), Math.log(4), -Infinity, Math.log(3)]);
});

test('tokens by falling weight, the first of equal ones first', () => {
  const shape = headShape({ name: 'sorted', grid, block: 8, videoBlocks: 2, counts: Int32Array.of(8, 4, 3) });
  const weights = Float32Array.from({ length: 24 }, (_, at) => (at < 12 ? (at % 3) / 2 : -at));
  const { layouts } = ops.byWeight(ops.upload(weights, [heads, 12]), shape).heads!;
  expect([...layouts[0].order].slice(0, 12)).toEqual([2, 5, 8, 11, 1, 4, 7, 10, 0, 3, 6, 9]);
  expect([...layouts[1].order].slice(0, 12)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test('probed rows and their lines, where heads have keys of their own', async () => {
  const of: Grid = { frames: 1, height: 1, width: 12, text: 0 };
  const shape = headShape({ name: 'labels', grid: of, block: 8, videoBlocks: 3 });
  // Head 0 has tokens 0..3 apart from the others, head 1 token 11.
  const labels = Int32Array.from({ length: 24 }, (_, at) => (at < 12 ? Number(at >= 4) : Number(at === 23)));
  const q = raster(8)(of);
  for (const backend of [ops, await openedOps('onnxruntime-node')]) {
    const k = backend.byLabel(backend.upload(labels, [heads, 12]), 2, shape);
    const flat = backend.upload(new Float32Array(heads * 12 * 8), [heads, 12, 8]);
    const [queries, keys] = [backend.gather(flat, q), backend.gather(flat, k)];
    const layout = { q, k };
    const weights = backend.probe(queries, keys, Int32Array.of(0, 9), layout);
    const blocks = backend.probeBlocks(queries, keys, Int32Array.of(0, 9), layout);
    // All keys weigh a twelfth: blocks weigh their tokens.
    const expected = [4, 8, 0, 4, 8, 0, 8, 3, 1, 8, 3, 1].map((tokens) => expect.closeTo(tokens / 12, 6));
    expect([...(await backend.read(blocks))]).toEqual(expected);
    expect([...(await backend.read(backend.blockSums(weights, k)))]).toEqual(expected);
    const { columns, diagonals } = backend.lineSums(blocks, Int32Array.of(0, 9), layout);
    expect([...(await backend.read(columns))]).toEqual([8, 16, 0, 16, 6, 2].map((tokens) => expect.closeTo(tokens / 12, 6)));
    // Of head 0 the rows are in query blocks 0 and 1: number j - i + 1.
    expect([...(await backend.read(diagonals))].slice(0, 4)).toEqual([4, 12, 8, 0].map((tokens) => expect.closeTo(tokens / 12, 6)));
    expect(() => backend.antidiagonal(queries, keys, layout, { stride: 8 })).toThrow(
      'cannot group neighbours of labels, whose heads differ in which slots hold a token; take a layout of the grid',
    );
    expect(() => backend.probe(keys, keys, Int32Array.of(0), { q: k, k })).toThrow('cannot probe rows of labels');
    expect(() => backend.probeBlocks(keys, keys, Int32Array.of(0), { q: k, k })).toThrow('cannot probe rows of labels');
    expect(() => backend.lineSums(blocks, Int32Array.of(0), { q: k, k })).toThrow('cannot sum lines from rows of labels');
  }
});

const site = (step: number, of: Grid) => ({ step, steps: 10, layer: 3, layers: 8, branches: [0], grid: of });
const wide: Grid = { frames: 3, height: 8, width: 8, text: 5 };

/** Tokens round three centers that lie apart, in no order of the grid. */
const tokens = (seed: number): Float32Array =>
  Float32Array.from({ length: heads * tokensOf(wide) * 8 }, (_, at) => {
    const token = Math.floor(at / 8);
    return (at % 8 === (token * 5) % 3 ? 4 : 0) + 0.3 * Math.sin(at * 1.7 + seed);
  });

test('a share of all is full attention, with warm centers and kept orders too', async () => {
  const cpu = await openedOps('onnxruntime-node');
  const method = { ...svg2({ share: 1 }), layout: clusters({ queryBlock: 8, keyBlock: 8 }) };
  for (const sparse of [method, pbs({ share: 1 })]) {
    const { attention, reset } = createAttention(cpu, sparse);
    for (const step of [2, 3, 7]) {
      const [q, k, v] = [step, 20, 30].map((seed) => cpu.upload(tokens(seed), [heads, tokensOf(wide), 8]));
      const [own, full] = await Promise.all([cpu.read(attention(q, k, v, site(step, wide))), cpu.read(cpu.attendAll(q, k, v).out)]);
      for (const [at, x] of own.entries()) expect(Math.abs(x - full[at])).toBeLessThan(2e-5);
    }
    reset();
  }
});

test('clusters find what lies apart, so that blocks are left out at little cost', async () => {
  const cpu = await openedOps('onnxruntime-node');
  const method = { ...svg2(), layout: clusters({ queries: 3, keys: 3, queryBlock: 8, keyBlock: 8 }) };
  const { attention, take, reset } = createAttention(cpu, method);
  const [q, k, v] = [1, 2, 3].map((seed) => cpu.upload(tokens(seed), [heads, tokensOf(wide), 8]));
  const [own, full] = await Promise.all([cpu.read(attention(q, k, v, site(2, wide))), cpu.read(cpu.attendAll(q, k, v).out)]);
  const gap = Math.max(...Array.from(own, (x, at) => Math.abs(x - full[at])));
  expect((await take()).density).toBeLessThan(0.7);
  expect(gap).toBeLessThan(0.25);
  reset();
});

test('what needs one order of tokens is refused', () => {
  expect(() => createAttention(ops, { ...adaSpa(), layout: clusters() })).toThrow('adaSpa gives each head an order of its own');
  const [q, k, v] = [1, 2, 3].map((seed) => ops.upload(tokens(seed), [heads, tokensOf(wide), 8]));
  const run = (method: Parameters<typeof createAttention>[1]) => () => createAttention(ops, method).attention(q, k, v, site(3, wide));
  expect(run({ ...liteAttention(), layout: heavyKeys() })).toThrow('a plan only shrinks in one order');
  expect(run({ ...svg2(), score: pattern(ownBlock()) })).toThrow('differ by head and are not known beforehand');
  expect(() => clusters({ keys: 0 })).toThrow('clusters take keys 0');
  expect(() => clusters({ keyBlock: 12 })).toThrow('a block of 12 tokens');
  expect(() => heavyKeys({ rows: 0.5 })).toThrow('0.5 probed rows');
});
