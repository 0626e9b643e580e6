// Scorers in few bits: what rounding leaves, margins of hand-worked rows, and codes against distances that are counted.
import { describe, expect, test } from 'vitest';
import type { Call } from '../../src/method.ts';
import { hadamardCodes, margins } from '../../src/search/low-bit.ts';
import { randomFrom } from '../../src/search/sampling.ts';
import { raster } from '../../src/sparse3d/layout.ts';
import { openedOps } from '../backend/opened.ts';

const layout = raster(8)({ frames: 1, height: 1, width: 27, text: 0 });
const DIM = 8;

describe('few bits', () => {
  const opened = openedOps('onnxruntime-node');
  const callOf = async (q: Float32Array, k: Float32Array): Promise<Call> => {
    const ops = await opened;
    const [qs, ks] = [q, k].map((x) => ops.gather(ops.upload(x, [1, 27, DIM]), layout));
    const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: layout.grid };
    return { ops, q: qs, k: ks, v: ks, layout: { q: layout, k: layout }, site, memory: {} } as unknown as Call;
  };
  const random = (seed: number, scale = 1) => {
    const next = randomFrom(seed);
    return Float32Array.from({ length: 27 * DIM }, () => (2 * next() - 1) * scale);
  };
  const token = (at: number) => Math.floor(at / DIM);

  test('rounding keeps the largest of a row and moves no number by more than half a step', async () => {
    const ops = await opened;
    const x = random(1);
    const coarse = await ops.read(ops.quantize(ops.upload(x, [1, 27, DIM]), 4));
    for (let row = 0; row < 27; row++) {
      const own = [...x.subarray(row * DIM, (row + 1) * DIM)];
      const largest = Math.max(...own.map(Math.abs));
      for (const [at, value] of own.entries()) {
        const to = coarse[row * DIM + at];
        expect(Math.abs(to - value)).toBeLessThanOrEqual(largest / 14 + 1e-6);
        expect(Math.abs((to / largest) * 7 - Math.round((to / largest) * 7))).toBeLessThan(1e-5);
        if (Math.abs(value) === largest) expect(to).toBeCloseTo(value, 6);
      }
    }
  });

  test('a margin is the least of a query block, from zero down', async () => {
    // Rows want key block 1, save for token 9, which wants block 3.
    const q = new Float32Array(27 * DIM).map((_, at) => (at % DIM === (token(at) === 9 ? 1 : 0) ? Math.sqrt(DIM) : 0));
    const k = new Float32Array(27 * DIM).map((_, at) => [Number(token(at) === 12) * 5, Number(token(at) === 25) * 3][at % DIM] ?? 0);
    const scores = await (await opened).read(margins()(await callOf(q, k)));
    const alike = [-5, 0, -5, -5];
    for (const [at, expected] of [...alike, -3, 0, -3, 0, ...alike, ...alike].entries()) expect(scores[at]).toBeCloseTo(expected, 4);
  });

  test('smooth keys of few bits keep what a common offset would drown', async () => {
    const q = random(2);
    const plain = random(3);
    const exact = await (await opened).read(margins()(await callOf(q, plain)));
    const offset = plain.map((x, at) => x + (at % DIM === 0 ? 100 : 0));
    const coarse = await (await opened).read(margins({ bits: 8 })(await callOf(q, offset)));
    for (const [at, x] of exact.entries()) expect(Math.abs(coarse[at] - x)).toBeLessThan(0.05);
    const shares = await (await opened).read(margins({ bits: 8, shares: true })(await callOf(q, offset)));
    for (let row = 0; row < 4; row++) {
      const sum = [...shares.slice(4 * row, 4 * row + 4)].reduce((total, x) => total + x, 0);
      expect(sum).toBeCloseTo(1, 5);
    }
  });

  test('codes lie as far apart as their buckets do', async () => {
    const call = await callOf(random(4), random(5));
    const { ops, q, k } = call;
    const scores = await ops.read(hadamardCodes()(call));
    const code = async (x: typeof q) => {
      const means = await ops.read(ops.blockMeans(x, layout));
      const parity = (at: number): number => [...at.toString(2)].filter((digit) => digit === '1').length % 2;
      const turned = Array.from({ length: 4 * DIM }, (_, at) =>
        Array.from({ length: DIM }, (__, from) => (parity(from & (at % DIM)) ? -1 : 1) * means[token(at) * DIM + from]).reduce(
          (a, b) => a + b,
        ),
      );
      const sorted = [...turned].sort((a, b) => a - b);
      return turned.map((value) => [7, 15, 23].filter((edge) => value > sorted[edge]).length);
    };
    const [rows, keys] = [await code(q), await code(ops.center(k, layout))];
    for (let pair = 0; pair < 16; pair++) {
      const [i, j] = [Math.floor(pair / 4) * DIM, (pair % 4) * DIM];
      const distance = Array.from({ length: DIM }, (_, at) => Math.abs(rows[i + at] - keys[j + at])).reduce((a, b) => a + b);
      expect(scores[pair]).toBe(1.5 * DIM - distance);
    }
  });

  test('bits that are not served are refused', async () => {
    const ops = await opened;
    expect(() => margins({ bits: 1 })).toThrow(/1 bits are not served/);
    expect(() => ops.quantize(ops.upload(new Float32Array(8), [1, 1, 8]), 16)).toThrow(/16 bits are not served/);
    expect(() => ops.quartileSigns(ops.upload(new Float32Array(8), [1, 8]))).toThrow(/\[heads, n, dim\], got \[1,8\]/);
  });
});
