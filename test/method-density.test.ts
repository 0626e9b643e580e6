// What a run is said to compute, held to what it does compute.
import { describe, expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import { numbers } from '../src/conformance/inputs.ts';
import type { Method } from '../src/method.ts';
import { expectedDensity } from '../src/method-density.ts';
import { methodNamed } from '../src/methods.ts';
import { keptResidual } from '../src/search/correct.ts';
import { searchEvery } from '../src/search/schedule.ts';
import { type Grid, tokensOf } from '../src/sparse3d/plan.ts';
import { openedOps } from './backend/opened.ts';

const grid: Grid = { frames: 6, height: 12, width: 14, text: 20 };
const [STEPS, LAYERS, HEADS, DIM] = [4, 2, 4, 8];

/** The mean density of a run. */
async function densityOf(method: Method): Promise<number> {
  const ops = await openedOps('onnxruntime-node');
  const bound = createAttention(ops, method);
  for (let step = 0; step < STEPS; step++)
    for (let layer = 0; layer < LAYERS; layer++) {
      const [q, k, v] = [1, 2, 3].map((seed) => ops.upload(numbers(HEADS * tokensOf(grid) * DIM, seed), [HEADS, tokensOf(grid), DIM]));
      ops.release(bound.attention(q, k, v, { step, steps: STEPS, layer, layers: LAYERS, branches: [0], grid }));
    }
  const density = await bound.density();
  bound.reset();
  return density;
}

describe.each(['radial', 'slidingTile', 's2'])('%s', (name) => {
  test('is as dense as its pattern', async () => {
    const method = methodNamed(name).preset();
    const expected = expectedDensity(method, STEPS, LAYERS, grid);
    expect(await densityOf(method)).toBeCloseTo(expected, 6);
    expect(expected).toBeLessThan(0.97);
  });
});

test.each(['exactRest', 'deltaAttention'])('%s is nearly as dense as said', async (name) => {
  const method = methodNamed(name).preset({ sparsity: 0.7 });
  // Cuts are rounded up to whole blocks, of which there are few.
  expect(Math.abs((await densityOf(method)) - expectedDensity(method, STEPS, LAYERS, grid))).toBeLessThan(0.06);
});

test.each(['minference', 'asa', 'twilight'])('%s is no denser than said, or not by much', async (name) => {
  const method = methodNamed(name).preset();
  const [density, expected] = [await densityOf(method), expectedDensity(method, STEPS, LAYERS, grid)];
  expect(density).toBeLessThan(expected + 0.08);
  expect(density).toBeGreaterThan(expected - 0.3);
});

test('what a correction computes when nothing is kept yet is counted', async () => {
  const method = { ...methodNamed('slidingTile').preset(), correct: keptResidual(), schedule: searchEvery({ every: 4 }) };
  expect(await densityOf(method)).toBeCloseTo(expectedDensity(method, STEPS, LAYERS, grid), 6);
  const late = { ...methodNamed('exactRest').preset(), correct: keptResidual() };
  const plain = methodNamed('exactRest').preset();
  // Of four steps one is dense, as the first search is, and two measure what is missing.
  expect(expectedDensity(late, STEPS, LAYERS, grid) - expectedDensity(plain, STEPS, LAYERS, grid)).toBeCloseTo(1 / 4, 6);
});
