// What corrections add, worked out from dense and sparse outputs; and that what they keep is freed.
import { expect, test } from 'vitest';
import { createAttention } from '../../src/attention.ts';
import { correctionChecks, wholeOf } from '../../src/conformance/correct.ts';
import { valuesOf } from '../../src/conformance/host-tensor.ts';
import { passes } from '../../src/conformance/index.ts';
import { numbers } from '../../src/conformance/inputs.ts';
import { referenceBackend as ops } from '../../src/conformance/reference-backend.ts';
import type { Correction } from '../../src/method.ts';
import { pyramidSparse } from '../../src/methods.ts';
import { delta, keptResidual } from '../../src/search/correct.ts';
import { searchEvery } from '../../src/search/schedule.ts';
import { tiles } from '../../src/sparse3d/layout.ts';
import { PAD } from '../../src/sparse3d/plan.ts';
import type { Tensor } from '../../src/tensor.ts';

const grid = { frames: 3, height: 5, width: 4, text: 3 };
const tokens = 63;
const dim = 8;
const order = tiles(2, 2, 4);
const layout = order(grid);
const draw = (seed: number) => ops.upload(numbers(tokens * dim, seed), [1, tokens, dim]);
const row = (x: Tensor, token: number) => valuesOf(x).slice(token * dim, (token + 1) * dim);
const [k, v] = [draw(2), draw(3)];
const site = { step: 0, steps: 2, layer: 0, layers: 1, branches: [0], grid };
const method = { ...pyramidSparse({ sparsity: 0.7, denseSteps: 0 }), layout: order, schedule: searchEvery({ every: 2 }) };

test('delta adds what the first row of a block lacks to all of its rows', () => {
  const q = draw(1);
  const dense = ops.attendAll(q, k, v).out;
  const plain = createAttention(ops, method).attention(q, k, v, site);
  const corrected = createAttention(ops, { ...method, correct: delta() }).attention(q, k, v, site);
  expect(row(plain, 0)).not.toEqual(row(dense, 0));
  for (let block = 0; block < layout.blocks; block++) {
    const own = [...layout.order.subarray(block * 16, (block + 1) * 16)].filter((token) => token !== PAD);
    const missing = row(dense, own[0]).map((x, at) => x - row(plain, own[0])[at]);
    for (const token of own)
      for (const [at, x] of row(corrected, token).entries()) expect(x).toBeCloseTo(row(plain, token)[at] + missing[at], 10);
  }
});

test('a kept residual is measured at searches, added at reuse, and freed', () => {
  const released: Tensor[] = [];
  const kept: Tensor[] = [];
  const watched = {
    ...ops,
    keep(x: Tensor) {
      kept.push(x);
      return x;
    },
    release: (x: Tensor) => void released.push(x),
  };
  const plain = createAttention(ops, method);
  const bound = createAttention(watched, { ...method, correct: keptResidual() });
  const queries = [draw(1), draw(4)];
  const outs = queries.map((q, step) => bound.attention(q, k, v, { ...site, step }));
  const sparse = queries.map((q, step) => plain.attention(q, k, v, { ...site, step }));
  const dense = ops.attendAll(queries[0], k, v).out;
  for (const [at, x] of valuesOf(outs[0]).entries()) expect(x).toBeCloseTo(valuesOf(dense)[at], 10);
  for (const [at, x] of valuesOf(outs[1]).entries())
    expect(x).toBeCloseTo(valuesOf(sparse[1])[at] + valuesOf(dense)[at] - valuesOf(sparse[0])[at], 10);
  bound.reset();
  // Counts, blocks and the residual; what forces text lives on.
  expect(new Set(released).size).toBe(3);
  for (const tensor of released) expect(kept).toContain(tensor);
});

test('merged halves are the whole', async () => {
  const whole = wholeOf(ops, 'f32');
  const check = correctionChecks('f32').find(({ name }) => name.startsWith('merge'))!;
  expect(await check.run({ ...ops, merge: () => whole })).toSatisfy(passes);
  expect(await check.run({ ...ops, merge: (a) => a })).not.toSatisfy(passes);
});

test('densities count what corrections compute beside the plan, when they do', async () => {
  const densities = async (correct?: Correction) => {
    const bound = createAttention(ops, { ...method, correct });
    const seen: number[] = [];
    for (const step of [0, 1]) {
      bound.attention(draw(1), k, v, { ...site, step });
      seen.push(await bound.density());
      await bound.take();
    }
    return seen;
  };
  const plain = await densities();
  const beside = async (correct: Correction) => (await densities(correct)).map((density, step) => density - plain[step]);
  const rows = layout.blocks / tokens;
  expect(await beside(delta())).toEqual([rows, rows].map((share) => expect.closeTo(share, 9)));
  expect(await beside(delta({ keep: true }))).toEqual([rows, 0].map((share) => expect.closeTo(share, 9)));
  expect(await beside(keptResidual())).toEqual([1, 0].map((share) => expect.closeTo(share, 9)));
});
