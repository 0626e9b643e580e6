// Scores of block means: hand-worked blocks, the traps of short and mixed blocks, and the same numbers on every backend.
import { afterAll, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import { numbers } from '../../src/conformance/inputs.ts';
import { referenceBackend } from '../../src/conformance/reference-backend.ts';
import type { Scorer } from '../../src/method.ts';
import { hierarchical, pooled } from '../../src/search/pooled.ts';
import { withText } from '../../src/search/score.ts';
import { raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { openedGpu } from '../gpu/device.ts';

const gpu = await openedGpu();
const device = openCpu();
afterAll(async () => (await device).dispose());

const DIM = 4;
const line = (length: number): Layout => raster(8)({ frames: 1, height: 1, width: length, text: 0 });

/** The scores of a stage for raster q and k, [heads * tokens * dim]. */
async function scoresOf(ops: Backend, scorer: Scorer, layout: Layout, q: Float32Array, k: Float32Array, dim = DIM): Promise<number[]> {
  const heads = q.length / tokensOf(layout.grid) / dim;
  const [queries, keys] = [q, k].map((x) => ops.gather(ops.upload(x, [heads, tokensOf(layout.grid), dim]), layout));
  const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: layout.grid };
  const scores = scorer({ ops, q: queries, k: keys, v: keys, layout: { q: layout, k: layout }, site, memory: {} });
  expect(scores.shape).toEqual([heads, layout.blocks, layout.blocks]);
  return [...(await ops.read(scores))];
}

/** Tokens of one head, each of DIM numbers. */
const tokens = (length: number, token: (at: number) => readonly number[]): Float32Array =>
  Float32Array.from(Array.from({ length }, (_, at) => token(at)).flat());

const near = (actual: readonly number[], expected: readonly number[]): void => {
  expect(actual.length).toBe(expected.length);
  for (const [at, number] of expected.entries())
    if (Number.isFinite(number)) expect(actual[at]).toBeCloseTo(number, 4);
    else expect(actual[at]).toBe(number);
};

describe('by hand, four blocks', () => {
  const zeros = new Float32Array(32 * DIM);
  // Block b's keys are ln(b + 1) on average, after a product of 2 and the scale of 1 / 2.
  const twos = tokens(32, () => [2, 0, 0, 0]);
  const rising = tokens(32, (at) => [Math.log(Math.floor(at / 8) + 1) + (at % 2 ? 1 : -1), at % 2 ? 1 : -1, 0, 0]);

  test('rows are softmax weights of the means', async () => {
    const scores = await scoresOf(referenceBackend, pooled(), line(32), twos, rising);
    near(
      scores,
      [0, 1, 2, 3].flatMap(() => [0.1, 0.2, 0.3, 0.4]),
    );
  });
  test('logits as they are, scaled or not', async () => {
    const logits = (scaled: boolean) =>
      scoresOf(referenceBackend, pooled({ scaled, short: 'alike', normalize: 'none' }), line(32), twos, rising);
    near((await logits(true)).slice(0, 4), [0, Math.log(2), Math.log(3), Math.log(4)]);
    near((await logits(false)).slice(0, 4), [0, 2 * Math.log(2), 2 * Math.log(3), 2 * Math.log(4)]);
  });
  test('a short block weighs its tokens', async () => {
    const scores = await scoresOf(referenceBackend, pooled(), line(27), zeros.subarray(0, 27 * DIM), zeros.subarray(0, 27 * DIM));
    near(scores.slice(0, 4), [8 / 27, 8 / 27, 8 / 27, 3 / 27]);
    const alike = await scoresOf(
      referenceBackend,
      pooled({ short: 'alike' }),
      line(27),
      zeros.subarray(0, 27 * DIM),
      zeros.subarray(0, 27 * DIM),
    );
    near(alike.slice(0, 4), [0.25, 0.25, 0.25, 0.25]);
  });
  test('means times the root of their tokens', async () => {
    const ones = tokens(27, () => [1, 0, 0, 0]);
    const logits = await scoresOf(referenceBackend, pooled({ short: 'root', normalize: 'none' }), line(27), ones, ones);
    near(logits.slice(8), [4, 4, 4, Math.sqrt(24) / 2, ...[1, 1, 1].map(() => Math.sqrt(24) / 2), 1.5]);
  });
  test('all pairs of a head lie between 0 and 1, each head by itself', async () => {
    const q = Float32Array.from([...tokens(32, (at) => [Math.floor(at / 8) + 1, 0, 0, 0]), ...tokens(32, () => [1, 0, 0, 0])]);
    const k = Float32Array.from([
      ...tokens(32, (at) => [Math.floor(at / 8), 0, 0, 0]),
      ...tokens(32, (at) => [-Math.floor(at / 8), 0, 0, 0]),
    ]);
    const scores = await scoresOf(referenceBackend, pooled({ scaled: false, short: 'alike', normalize: 'minMax' }), line(32), q, k);
    near(
      scores.slice(0, 16),
      [0, 1, 2, 3].flatMap((row) => [0, 1, 2, 3].map((column) => ((row + 1) * column) / 12)),
    );
    near(
      scores.slice(16),
      [0, 1, 2, 3].flatMap(() => [1, 2 / 3, 1 / 3, 0]),
    );
  });
});

describe('the guard', () => {
  const alike = tokens(32, () => [2, 0, 0, 0]);
  // Key block 2 looks both ways: its mean is nothing, and so is its self-similarity.
  const torn = tokens(32, (at) => (Math.floor(at / 8) === 2 ? [at % 2 ? 5 : -5, 0, 0, 0] : [1, 0, 0, 0]));

  test('a torn key block is left out of the shares and forced for every row', async () => {
    const scores = await scoresOf(referenceBackend, pooled({ guard: 0.6 }), line(32), alike, torn);
    near(
      scores,
      [0, 1, 2, 3].flatMap(() => [1 / 3, 1 / 3, Infinity, 1 / 3]),
    );
  });
  test('a torn query block reads everything', async () => {
    const scores = await scoresOf(referenceBackend, pooled({ guard: 0.6 }), line(32), torn, alike);
    near(
      scores,
      [0, 1, 2, 3].flatMap((row) => [1, 2, 3, 4].map(() => (row === 2 ? Infinity : 0.25))),
    );
  });
  test('below every cosine it does nothing', async () => {
    const [off, none] = [pooled({ guard: -0.1 }), pooled()];
    near(await scoresOf(referenceBackend, off, line(32), alike, torn), await scoresOf(referenceBackend, none, line(32), alike, torn));
  });
  test('smooth keys: what all have in common hides nothing from it, and changes no share', async () => {
    const q = numbers(32 * DIM, 1);
    const shifted = tokens(32, (at) => [50 + torn[at * DIM], 0, 0, 0]);
    const unguarded = await scoresOf(referenceBackend, pooled(), line(32), q, shifted);
    near(await scoresOf(referenceBackend, pooled({ smooth: true }), line(32), q, shifted), unguarded);
    const columns = (scores: readonly number[]) => [0, 1, 2, 3].map((column) => scores[column] === Infinity);
    expect(columns(await scoresOf(referenceBackend, pooled({ guard: 0.6 }), line(32), alike, shifted))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    const smooth = await scoresOf(referenceBackend, pooled({ guard: 0.6, smooth: true }), line(32), alike, shifted);
    expect(columns(smooth)).toEqual([false, false, true, false]);
  });
  test('says nothing of how many blocks are forced', () => {
    expect(pooled({ guard: 0.6 }).forced).toBeUndefined();
    expect(pooled().forced?.({ q: line(32), k: line(32) })).toBe(0);
  });
});

describe('in two steps', () => {
  const layout = line(77);
  const [q, k] = [numbers(77 * DIM, 2), numbers(77 * DIM, 3)];

  test('with all groups they are those of one step', async () => {
    const one = await scoresOf(referenceBackend, pooled(), layout, q, k);
    near(await scoresOf(referenceBackend, hierarchical({ group: 3, keep: 1 }), layout, q, k), one);
    near(await scoresOf(referenceBackend, hierarchical({ group: 1, keep: 1 }), layout, q, k), one);
  });
  test('blocks of the groups with the best means are scored, the others forbidden', async () => {
    const scores = await scoresOf(referenceBackend, hierarchical({ group: 4, keep: 0.3 }), layout, q, k);
    const meanOf = (x: Float32Array, from: number, to: number) =>
      [0, 1, 2, 3].map((axis) => {
        const own = x.filter((_, at) => at % DIM === axis).subarray(from, to);
        return own.reduce((sum, number) => sum + number, 0) / own.length;
      });
    for (let row = 0; row < layout.blocks; row++) {
      const query = meanOf(q, 8 * row, 8 * row + 8);
      const ofGroup = [0, 1, 2].map((group) => meanOf(k, 32 * group, 32 * group + 32).reduce((sum, x, at) => sum + x * query[at], 0));
      const best = ofGroup.indexOf(Math.max(...ofGroup));
      const own = scores.slice(row * layout.blocks, (row + 1) * layout.blocks);
      for (const [block, score] of own.entries())
        expect(score > -Infinity, `row ${row}, block ${block}`).toBe(Math.floor(block / 4) === best);
      expect(own.filter(Number.isFinite).reduce((sum, score) => sum + score, 0)).toBeCloseTo(1, 5);
    }
  });
  test('text has groups of its own', async () => {
    const grid: Grid = { frames: 1, height: 1, width: 24, text: 16 };
    const keys = tokens(40, (at) => [at < 24 ? 0 : 9, 0, 0, 0]);
    const queries = tokens(40, () => [1, 0, 0, 0]);
    const scores = await scoresOf(referenceBackend, hierarchical({ group: 2, keep: 0.3 }), raster(8)(grid), queries, keys);
    near(scores.slice(0, 5), [-Infinity, -Infinity, -Infinity, 0.5, 0.5]);
  });
});

test.each<[string, () => Scorer]>([
  ['a guard of 2 is no cosine', () => pooled({ guard: 2 })],
  ['groups of 0 blocks', () => hierarchical({ group: 0 })],
  ['a share of 0', () => hierarchical({ keep: 0 })],
])('%s: refused', (says, make) => expect(make).toThrow(says));

describe.each(['cpu', 'webgpu'] as const)('%s', (name) => {
  const scorers: Readonly<Record<string, Scorer>> = {
    sparge: withText(pooled({ smooth: true, guard: 0.3 })),
    vmoba: pooled({ scaled: false, short: 'alike', normalize: 'minMax' }),
    dhsa: withText(pooled({ short: 'root' })),
    hierarchical: withText(hierarchical({ group: 3 })),
  };
  const grids: readonly Grid[] = [
    { frames: 5, height: 7, width: 9, text: 13 },
    { frames: 1, height: 2, width: 3, text: 0 },
  ];
  const open = name === 'cpu' ? device.then(cpuBackend) : gpu && webgpuBackend(gpu);

  test.skipIf(!open).each(Object.entries(scorers))('%s is that of the twins', async (_, scorer) => {
    const ops = await open!;
    for (const grid of grids) {
      const layout = tiles(4, 4, 4)(grid);
      const length = 2 * tokensOf(grid) * 24;
      // Tokens of the first frames are alike, so that some blocks pass the guard and some do not.
      const [q, k] = [4, 5].map((seed) =>
        numbers(length, seed).map((x, at) => 0.4 * x + (Math.floor(at / 24) % tokensOf(grid) < 4 * 63 ? 2 * Math.cos(at % 24) : 0)),
      );
      const expected = await scoresOf(referenceBackend, scorer, layout, q, k, 24);
      near(await scoresOf(ops, scorer, layout, q, k, 24), expected);
      if (layout.blocks > 1 && scorer === scorers.sparge)
        expect(new Set(expected.slice(0, layout.blocks).map(Number.isFinite)).size).toBe(2);
    }
  });
});
