// Scores: hand-worked cases, the fast operations against their f64 twins on odd grids, and the traps that papers leave in them.
import { describe, expect, test } from 'vitest';
import type { Call, Site } from '../../src/method.ts';
import { sampledScoresReference } from '../../src/search/reference.ts';
import { drawSlots, mixSeeds, randomFrom, slotsOfHead } from '../../src/search/sampling.ts';
import { exact, sampled, withText } from '../../src/search/score.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, blockMassReference, rowsOf } from '../../src/sparse3d/reference.ts';
import { openedOps } from '../backend/opened.ts';

/** Near-normal numbers, with a few outliers times ten as real activations have. */
function noise(length: number, seed: number): Float32Array {
  const random = randomFrom(seed);
  return Float32Array.from({ length }, () => {
    const x = (random() + random() + random() + random() - 2) * 1.7;
    return random() < 0.002 ? x * 10 : x;
  });
}

const one = (length: number): Layout => raster(8)({ frames: 1, height: 1, width: length, text: 0 });
const grids: readonly Grid[] = [
  { frames: 5, height: 7, width: 9, text: 0 },
  { frames: 5, height: 7, width: 9, text: 13 },
  { frames: 1, height: 2, width: 3, text: 0 },
];

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('%s', (runtime) => {
  const opened = openedOps(runtime);

  test('block mass of equal logits is rows times keys over the sum: exp, not log', async () => {
    const ops = await opened;
    const layout = one(11);
    const zeros = ops.upload(new Float32Array(16 * 8), [1, 16, 8]);
    const lse = ops.upload(new Float32Array(16).fill(Math.log(11)), [1, 16]);
    const mass = await ops.read(ops.blockMass(zeros, zeros, lse, { q: layout, k: layout }));
    for (const [at, expected] of [64 / 11, 24 / 11, 24 / 11, 9 / 11].entries()) expect(mass[at]).toBeCloseTo(expected, 5);
  });

  test('a stale log-sum-exp only scales the rows', async () => {
    const ops = await opened;
    const layout = one(32);
    const x = ops.upload(noise(32 * 8, 1), [1, 32, 8]);
    const at = async (shift: number) =>
      (await ops.read(
        ops.blockMass(x, x, ops.upload(new Float32Array(32).fill(shift), [1, 32]), { q: layout, k: layout }),
      )) as Float32Array;
    const [now, stale] = [await at(3), await at(5)];
    for (const [pair, mass] of now.entries()) expect(stale[pair] / mass).toBeCloseTo(Math.exp(-2), 5);
    for (const mass of await at(-500)) expect(Number.isFinite(mass)).toBe(true);
  });

  for (const grid of grids)
    for (const layout of [raster(64)(grid), tiles(4, 4, 4)(grid), curve(16)(grid)])
      test(`twins on ${grid.frames}x${grid.height}x${grid.width}+${grid.text} ${layout.name}`, async () => {
        const ops = await opened;
        const [heads, dim, tokens] = [2, 16, tokensOf(grid)];
        const raw = [1, 2].map((seed) => noise(heads * tokens * dim, seed));
        const [q, k] = raw.map((x) => ops.gather(ops.upload(x, [heads, tokens, dim]), layout));
        const [qRows, kRows] = raw.map((x) => rowsOf(x, heads, dim));
        const exactLse = qRows.map((rows, head) => attendAllReference(rows, kRows[head], kRows[head]).lse);
        const lse = ops.gather(ops.upload(Float32Array.from(exactLse.flat()), [heads, tokens]), layout);
        const both = { q: layout, k: layout };
        const mass = await ops.read(ops.blockMass(q, k, lse, both));
        const expectedMass = qRows.flatMap((rows, head) => blockMassReference(rows, kRows[head], exactLse[head], both).flat());
        for (const [at, expected] of expectedMass.entries()) expect(Math.abs(mass[at] - expected)).toBeLessThan(1e-5 * (1 + expected));
        expect((mass as Float32Array).reduce((sum, x) => sum + x, 0)).toBeCloseTo(heads * tokens, 2);
        for (const sampling of [
          { queries: 1 / 4, keys: 1 / 4, seed: 7 },
          { queries: 1, keys: 1 / 8, seed: 8 },
        ]) {
          const scores = await ops.read(ops.sampledScores(q, k, both, sampling));
          const twin = qRows.flatMap((rows, head) => sampledScoresReference(rows, kRows[head], both, sampling, head).flat());
          for (const [at, expected] of twin.entries()) expect(Math.abs(scores[at] - expected)).toBeLessThan(1e-5);
        }
      });

  test('twins over several tiles of rows and keys, with other blocks for queries than for keys', async () => {
    const ops = await opened;
    const grid = { frames: 5, height: 14, width: 17, text: 5 };
    const both = { q: curve(32)(grid), k: raster(64)(grid) };
    const [dim, tokens] = [8, tokensOf(grid)];
    const [q, k] = [3, 4].map((seed) => noise(tokens * dim, seed));
    const [[qRows], [kRows]] = [rowsOf(q, 1, dim), rowsOf(k, 1, dim)];
    const lse = Float32Array.from({ length: tokens }, (_, token) => 6 + Math.sin(token));
    const blocked = [ops.gather(ops.upload(q, [1, tokens, dim]), both.q), ops.gather(ops.upload(k, [1, tokens, dim]), both.k)] as const;
    const mass = await ops.read(ops.blockMass(...blocked, ops.gather(ops.upload(lse, [1, tokens]), both.q), both));
    for (const [at, expected] of blockMassReference(qRows, kRows, [...lse], both)
      .flat()
      .entries())
      expect(Math.abs(mass[at] - expected)).toBeLessThan(1e-5 * (1 + expected));
    const sampling = { queries: 1 / 2, keys: 1, seed: 9 };
    const scores = await ops.read(ops.sampledScores(...blocked, both, sampling));
    for (const [at, expected] of sampledScoresReference(qRows, kRows, both, sampling, 0).flat().entries())
      expect(Math.abs(scores[at] - expected)).toBeLessThan(1e-5);
  });

  test('sampled scores of four blocks by hand: every row weighs the same, and shares add up to one', async () => {
    const ops = await opened;
    const layout = one(16);
    const key = (x: number) => Array.from({ length: 8 * 8 }, (_, at) => (at % 8 === 0 ? x * Math.sqrt(8) : 0));
    const k = ops.upload(Float32Array.from([...key(0), ...key(Math.log(4))]), [1, 16, 8]);
    const q = ops.upload(Float32Array.from([...key(1 / Math.sqrt(8)), ...key(-2 / Math.sqrt(8))]), [1, 16, 8]);
    const scores = await ops.read(ops.sampledScores(q, k, { q: layout, k: layout }, { queries: 0.25, keys: 0.25, seed: 3 }));
    for (const [at, expected] of [1 / 5, 4 / 5, 16 / 17, 1 / 17].entries()) expect(scores[at]).toBeCloseTo(expected, 6);
  });

  test('a pool cap is the coarsest factor whose own test passes', async () => {
    const ops = await opened;
    const layout = raster(8)({ frames: 1, height: 1, width: 8 * 3 + 1, text: 0 });
    const turned = (turns: readonly number[]) => turns.flatMap((turn) => [Math.cos(turn), Math.sin(turn), 0, 0, 0, 0, 0, 0]);
    const alike = turned([0, 0, 0, 0, 0, 0, 0, 0]);
    const pairs = turned([0, 0, 2, 2, 4, 4, 6, 6]);
    const ends = turned([0, 2, 4, 0, 0, 2, 4, 0]);
    const last = [...turned([1]), ...Array(7 * 8).fill(0)];
    const k = ops.upload(Float32Array.from([...alike, ...pairs, ...ends, ...last]), [1, 32, 8]);
    const pools = [2, 4, 8].map((pool) => ({ pool, cosine: 0.97 }));
    expect([...(await ops.read(ops.poolCap(k, layout, pools)))]).toEqual([8, 2, 8, 8]);
    expect([...(await ops.read(ops.poolCap(k, layout, [{ pool: 4, cosine: 1 }])))].slice(0, 2)).toEqual([1, 1]);
  });

  test('forcing replaces scores, in every head', async () => {
    const ops = await opened;
    const scores = ops.upload(Float32Array.of(1, 2, -Infinity, 4, 5, 6, 7, Infinity), [2, 2, 2]);
    const force = ops.upload(Float32Array.of(0, Infinity, Infinity, -Infinity), [2, 2]);
    expect([...(await ops.read(ops.force(scores, force)))]).toEqual([1, Infinity, Infinity, -Infinity, 5, Infinity, Infinity, -Infinity]);
  });

  test('text is forced as rows and as columns, and only text', async () => {
    const ops = await opened;
    const grid = { frames: 1, height: 1, width: 10, text: 3 };
    const layout = raster(8)(grid);
    const site: Site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid };
    const flat = ops.upload(new Float32Array(24 * 8), [1, 24, 8]);
    const call: Call = { ops, q: flat, k: flat, v: flat, layout: { q: layout, k: layout }, site, memory: {} };
    const scores = await ops.read(withText(sampled())(call));
    expect([...scores].map(Number.isFinite)).toEqual([true, true, false, true, true, false, false, false, false]);
    expect(withText(exact()).needsLse).toBe(true);
    expect(withText(sampled()).needsLse).toBeFalsy();
    expect(() => exact()(call)).toThrow('log-sum-exp');
  });

  test('tensors that do not fit the layout are refused by name', async () => {
    const ops = await opened;
    const layout = one(16);
    const [good, bad] = [ops.upload(new Float32Array(16 * 8), [1, 16, 8]), ops.upload(new Float32Array(8 * 8), [1, 8, 8])];
    const both = { q: layout, k: layout };
    expect(() => ops.sampledScores(good, bad, both, { queries: 1, keys: 1, seed: 0 })).toThrow('k has shape [1,8,8], expected [1,16,8]');
    expect(() => ops.blockMass(good, good, bad, both)).toThrow('lse');
    const scores = ops.upload(new Float32Array(4), [1, 2, 2]);
    expect(() => ops.select(scores, { measure: 'rank', levels: [] })).toThrow('level');
    const budgets = ops.upload(new Float32Array(1), [1]);
    expect(() => ops.select(scores, { measure: 'rank', levels: [...'ab'].map(() => ({ pool: 1, upTo: 1 })), budgets })).toThrow('budgets');
  });
});

describe('draws', () => {
  test('are different slots in order, the same for the same seed', () => {
    const slots = drawSlots(64, 1 / 4, 5);
    expect(slots.length).toBe(16);
    expect(new Set(slots).size).toBe(16);
    expect([...slots]).toEqual([...slots].sort((a, b) => a - b));
    expect(drawSlots(64, 1 / 4, 5)).toEqual(slots);
    expect(drawSlots(64, 1 / 4, 6)).not.toEqual(slots);
    expect(drawSlots(8, 0.01, 1).length).toBe(1);
  });
  test('reach every slot about equally', () => {
    const hits = new Array(64).fill(0);
    for (let seed = 0; seed < 4000; seed++) for (const slot of drawSlots(64, 1 / 4, mixSeeds(seed, 1))) hits[slot]++;
    expect(Math.min(...hits)).toBeGreaterThan(850);
    expect(Math.max(...hits)).toBeLessThan(1150);
  });
  test('differ between heads, sides, steps and layers', () => {
    const draws = [slotsOfHead(64, 1 / 4, 1, 0, 'queries'), slotsOfHead(64, 1 / 4, 1, 0, 'keys'), slotsOfHead(64, 1 / 4, 1, 1, 'queries')];
    expect(new Set(draws.map(String)).size).toBe(3);
    expect(new Set([mixSeeds(0, 0, 0), mixSeeds(0, 1, 0), mixSeeds(0, 0, 1), mixSeeds(1, 0, 0)]).size).toBe(4);
  });
  test('shares outside (0, 1] are refused', () => {
    expect(() => sampled({ queries: 0 })).toThrow('queries');
    expect(() => sampled({ keys: 2 })).toThrow('keys');
  });
});
