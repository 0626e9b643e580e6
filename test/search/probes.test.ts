// Scorers from probed rows, antidiagonals, anchors and errors of pooling: hand-worked cases of four blocks, and what is refused.
import { describe, expect, test } from 'vitest';
import type { Call } from '../../src/method.ts';
import { antidiagonal } from '../../src/search/antidiagonal.ts';
import { poolingError } from '../../src/search/error.ts';
import { lessAnchor, withPattern } from '../../src/search/pattern.ts';
import { ownBlock } from '../../src/search/patterns.ts';
import { pooled } from '../../src/search/pooled.ts';
import { blocksOrLines, probeRows, sampledRows, verticalSlash } from '../../src/search/probes.ts';
import { raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Layout, PAD } from '../../src/sparse3d/plan.ts';
import { openedOps } from '../backend/opened.ts';

const row = (tokens: number, text = 0): Layout => raster(8)({ frames: 1, height: 1, width: tokens, text });
const DIM = 8;

/** Blocked numbers of one head: `at(block, place, index)` for real slots. */
const fill = ({ blocks, block, counts }: Layout, at: (block: number, place: number, index: number) => number) =>
  Float32Array.from({ length: blocks * block * DIM }, (_, index) => {
    const slot = Math.floor(index / DIM);
    const place = slot % block;
    const own = Math.floor(slot / block);
    return place < counts[own] ? at(own, place, index % DIM) : 0;
  });

describe('scores of four blocks', () => {
  const opened = openedOps('onnxruntime-node');

  type Fill = Parameters<typeof fill>[1];
  const callOf = async (layout: Layout, q: Fill, k: Fill, v: Fill = k): Promise<Call> => {
    const ops = await opened;
    const [qs, ks, vs] = [q, k, v].map((at) => ops.upload(fill(layout, at), [1, layout.blocks * layout.block, DIM]));
    const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: layout.grid };
    return { ops, q: qs, k: ks, v: vs, layout: { q: layout, k: layout }, site, memory: {} } as unknown as Call;
  };
  const read = async (call: Call, score: (call: Call) => ReturnType<Call['ops']['upload']>) => [...(await call.ops.read(score(call)))];

  const softmax = (logits: readonly number[], times = logits.map(() => 1)) => {
    const exps = logits.map((x, at) => times[at] * Math.exp(x));
    return exps.map((x) => x / exps.reduce((sum, y) => sum + y));
  };
  const close = (actual: readonly number[], expected: readonly number[], digits = 5) => {
    expect(actual.length).toBe(expected.length);
    for (const [at, x] of expected.entries()) expect(actual[at], `number ${at}`).toBeCloseTo(x, digits);
  };

  test('antidiagonal pairs the first query of a group with its last key', async () => {
    const strengths = [1, 2, 3, 4];
    const keys: Fill = (block, place, index) => (place === 0 && index === 0 ? strengths[block] : 0);
    const only =
      (at: number): Fill =>
      (_, place, index) =>
        place === at && index === 0 ? 16 : 0;
    const expected = softmax(strengths.map((x) => (16 * x) / Math.sqrt(DIM) / 8));
    close(await read(await callOf(row(32), only(7), keys), antidiagonal({ stride: 8 })), [expected, expected, expected, expected].flat());
    close(await read(await callOf(row(32), only(0), keys), antidiagonal({ stride: 8 })), new Array(16).fill(1 / 4));
  });

  test('padding takes no weight of antidiagonals, and short groups count their tokens', async () => {
    const zeros: Fill = () => 0;
    const scores = await read(await callOf(row(27), zeros, zeros), antidiagonal({ stride: 8 }));
    const whole = [8 / 27, 8 / 27, 8 / 27, 3 / 27];
    close(scores, [whole, whole, whole, whole.map((x) => (x * 3) / 8)].flat());
  });

  test('sampled rows give one row of scores for all', async () => {
    const strong: Fill = (block, _, index) => (index === 0 && block === 2 ? 3 : 0);
    const scores = await read(await callOf(row(27), (_, __, index) => (index === 0 ? 2 : 0), strong), sampledRows({ every: 1 }));
    const weights = softmax([0, 0, 6 / Math.sqrt(DIM), 0], [8, 8, 8, 3]).map((x) => 4 * x);
    close(scores, [weights, weights, weights, weights].flat());
  });

  test('vertical and slash lines are found on both sides of the main diagonal', async () => {
    for (const shift of [1, -1]) {
      // Query block i wants key block i + shift; all want block 0 a little.
      const query: Fill = (block, _, index) => (index === 7 ? 6 : index === block ? 20 : 0);
      const key: Fill = (block, _, index) => (index === 7 ? Number(block === 0) : Number(index === block - shift));
      const scores = await read(await callOf(row(32), query, key), verticalSlash({ columns: 1, diagonals: 1, most: 1, rows: 32 }));
      const forced = scores.map((x, at) => (x === Infinity ? [Math.floor(at / 4), at % 4] : [])).filter((pair) => pair.length);
      const slash = [0, 1, 2, 3].map((i) => [i, i + shift]).filter(([, j]) => j >= 0 && j < 4);
      for (const pair of slash) expect(forced).toContainEqual(pair);
      expect(forced.length).toBeLessThanOrEqual(4 + slash.length);
      expect(Math.min(...scores)).toBeGreaterThanOrEqual(0);
    }
  });

  test('a head that its means foretell keeps blocks, one that they do not reads lines', async () => {
    // All tokens of a block alike: means are the truth. Then half of them turned round: means are zero.
    const alike: Fill = (block, _, index) => (index === block ? 4 : 0);
    const mixed: Fill = (block, place, index) => (index === 0 ? (place % 2 ? 6 : -6) * Number(block === 2) : 0);
    const foretold = await read(await callOf(row(32), () => 0.1, alike), blocksOrLines());
    close(foretold, new Array(16).fill(1 / 4));
    const unforeseen = await read(await callOf(row(32), (_, __, index) => Number(index === 0) * 4, mixed), blocksOrLines());
    expect(new Set(unforeseen)).toEqual(new Set([Infinity, -Infinity]));
    for (let at = 2; at < 16; at += 4) expect(unforeseen[at]).toBe(Infinity);
    expect(() => blocksOrLines({ share: 0 })).toThrow(/cover 0 of 128 rows/);
  });

  test('lines are cut down to a share of the row, and no row is promised more', async () => {
    const scorer = verticalSlash({ columns: 16, diagonals: 96 });
    const layout = row(64 * 8);
    expect(scorer.forced?.({ q: layout, k: layout })).toBe(4 + 27);
    const scores = await read(
      await callOf(
        row(32),
        (b, p, i) => Math.sin(9 * b + p + i),
        (b, p, i) => Math.cos(5 * b + p * i),
      ),
      scorer,
    );
    for (let at = 0; at < 16; at += 4) expect(scores.slice(at, at + 4).filter((x) => x === Infinity).length).toBeLessThanOrEqual(2);
  });

  test('the error of pooling is zero where tokens are alike, and counts true tokens', async () => {
    const spread: Fill = (block, place, index) => (index === 0 && block === 3 ? (place === 0 ? 1 : place === 1 ? -1 : 0) : 0);
    const call = await callOf(
      row(27),
      (_, __, index) => (index === 0 ? Math.sqrt(DIM) : 0),
      spread,
      (_, __, index) => Number(index === 0) * 2,
    );
    const [up, down] = [Math.E, 1 / Math.E];
    const total = 24 + up + down + 1;
    const error = ((1 - up) ** 2 + (1 - down) ** 2) / total ** 2 / 3;
    close(
      await read(call, poolingError({ values: false })),
      [0, 1, 2, 3].flatMap(() => [0, 0, 0, error]),
      7,
    );
    close(
      await read(call, poolingError()),
      [0, 1, 2, 3].flatMap(() => [0, 0, 0, 4 * error]),
      7,
    );
  });

  test('values that differ make an error where keys do not', async () => {
    const value: Fill = (block, place, index) => (index === 0 && block === 1 ? (place % 2 ? 1 : -1) : 0);
    const call = await callOf(
      row(32),
      () => 0,
      () => 0,
      value,
    );
    close(
      await read(call, poolingError()),
      [0, 1, 2, 3].flatMap(() => [0, 1 / 32 ** 2, 0, 0]),
      7,
    );
    close(await read(call, poolingError({ values: false })), new Array(16).fill(0), 9);
  });

  test('scores less their anchor are zero at the best anchor, and above it where a block is better', async () => {
    const query: Fill = (_, __, index) => (index === 0 ? Math.sqrt(DIM) : 0);
    const key: Fill = (block, _, index) => (index === 0 ? [1, 5, 2, 7][block] : 0);
    const call = await callOf(row(32), query, key);
    const scores = await read(call, lessAnchor(pooled({ normalize: 'none', short: 'alike' }), ownBlock()));
    close(
      scores,
      [1, 5, 2, 7].flatMap((own) => [1, 5, 2, 7].map((x) => x - own)),
    );
    const forced = await read(call, withPattern(lessAnchor(pooled({ normalize: 'none' }), ownBlock()), ownBlock()));
    for (const at of [0, 5, 10, 15]) expect(forced[at]).toBe(Infinity);
  });

  test('what is made in several tiles is as in one', async () => {
    const ops = await opened;
    const layout = row(4096);
    const x = (seed: number) =>
      ops.upload(
        fill(layout, (b, p, i) => Math.sin(seed * (b * 8 + p) + i * i)),
        [1, 4096, DIM],
      );
    const [q, k, both] = [x(0.7), x(1.3), { q: layout, k: layout }];
    const slots = Int32Array.from({ length: 300 }, (_, at) => 13 * at);
    const [all, first, last] = await Promise.all(
      [slots, slots.slice(0, 7), slots.slice(293)].map((rows) => ops.read(ops.probeBlocks(q, k, rows, both))),
    );
    close([...all.slice(0, 7 * 512), ...all.slice(293 * 512)], [...first, ...last]);
    const means = ops.blockMeans(q, layout);
    const errors = await ops.read(ops.poolingError(means, k, layout));
    const tail = ops.upload((await ops.read(means)).slice(-DIM) as Float32Array, [1, 1, DIM]);
    const alone = await ops.read(ops.poolingError(tail, k, layout));
    close(
      [...errors.slice(-512)].map((error) => error * 1e6),
      [...alone].map((error) => error * 1e6),
    );
    const weights = await ops.read(ops.antidiagonal(q, k, both, { stride: 2 }));
    for (let at = 0; at < 512; at += 73)
      expect([...weights.slice(at * 512, (at + 1) * 512)].reduce((sum, w) => sum + w, 0)).toBeCloseTo(4, 4);
  });

  test('what cannot be probed is refused', async () => {
    const call = await callOf(
      row(27),
      () => 0,
      () => 0,
    );
    const { ops, q, k, layout } = call;
    expect(() => ops.probe(q, k, Int32Array.of(27), layout)).toThrow(/slot 27 holds no token/);
    expect(() => ops.probe(q, k, Int32Array.of(), layout)).toThrow(/without rows/);
    expect(() => ops.antidiagonal(q, k, layout, { stride: 3 })).toThrow(/stride of 3 does not cut blocks of 8/);
    expect(() => antidiagonal({ stride: 0.5 })).toThrow(/stride of 0.5/);
    expect(() => sampledRows({ every: 0 })).toThrow(/every 0/);
    expect(() => verticalSlash({ columns: 0 })).toThrow(/columns above 0, got 0/);
    const short = ops.upload(new Float32Array(8 * DIM), [1, 8, DIM]);
    expect(() => ops.poolingError(short, short, layout.k)).toThrow(/k has shape \[1,8,8\]/);
  });
});

test('probed rows are spread over the video, hold tokens, and leave text alone', () => {
  const layout = tiles(4, 4, 4)({ frames: 5, height: 7, width: 9, text: 13 });
  for (const count of [1, 7, 64, 315, 400]) {
    const rows = probeRows(layout, count);
    expect(rows.length).toBe(Math.min(count, 315));
    expect(new Set(rows).size).toBe(rows.length);
    for (const slot of rows) expect(layout.order[slot]).not.toBe(PAD);
    expect(Math.max(...rows)).toBeLessThan(layout.videoBlocks * layout.block);
  }
  expect([...probeRows(row(32), 4)]).toEqual([4, 12, 20, 28]);
});
