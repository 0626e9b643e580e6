// The noise generator against the published known-answer vectors of Random123, its moments, and what its documentation promises.
import { describe, expect, it } from 'vitest';
import { gaussianNoise, philox4x32 } from '../src/noise.ts';

const block = (counter: number[], key: number[]): number[] => {
  const out = new Uint32Array(4);
  philox4x32(counter, key, out);
  return [...out];
};

describe('philox4x32', () => {
  it.each([
    { counter: [0, 0, 0, 0], key: [0, 0], out: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
    { counter: Array(4).fill(0xffffffff), key: Array(2).fill(0xffffffff), out: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd] },
    {
      counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      key: [0xa4093822, 0x299f31d0],
      out: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    },
  ])('gives the known answer for counter $counter', ({ counter, key, out }) => {
    expect(block(counter, key)).toEqual(out);
  });
});

describe('gaussianNoise', () => {
  it('makes the documented value of each element', () => {
    const seed = 5 * 2 ** 32 + 7;
    const noise = gaussianNoise(seed, 4, 3);
    const [w0, w1] = block([2, 0, 3, 0], [7, 5]);
    const u = ((w0 >>> 8) + 1) / 2 ** 24;
    expect(noise[2]).toBe(Math.fround(Math.sqrt(-2 * Math.log(u)) * Math.cos((2 * Math.PI * (w1 >>> 8)) / 2 ** 24)));
  });

  it('gives a prefix for a smaller count, and other values for another seed or stream', () => {
    const noise = gaussianNoise(1, 1000);
    expect(gaussianNoise(1, 100)).toEqual(noise.slice(0, 100));
    for (const other of [gaussianNoise(2, 1000), gaussianNoise(1 + 2 ** 32, 1000), gaussianNoise(1, 1000, 1)]) {
      expect(noise.filter((value, i) => value === other[i]).length).toBeLessThan(3);
    }
  });

  it('has the moments of N(0, 1) and uncorrelated neighbours', () => {
    const count = 200_000;
    const noise = gaussianNoise(42, count);
    const mean = (f: (value: number, i: number) => number) => noise.reduce((sum, value, i) => sum + f(value, i), 0) / count;
    // Standard errors: 1/447 for the mean, sqrt(2)/447, sqrt(15)/447 and sqrt(96)/447 for the next three moments; four of each are allowed.
    expect(Math.abs(mean((x) => x))).toBeLessThan(4 / 447);
    expect(Math.abs(mean((x) => x ** 2) - 1)).toBeLessThan((4 * Math.sqrt(2)) / 447);
    expect(Math.abs(mean((x) => x ** 3))).toBeLessThan((4 * Math.sqrt(15)) / 447);
    expect(Math.abs(mean((x) => x ** 4) - 3)).toBeLessThan((4 * Math.sqrt(96)) / 447);
    expect(Math.abs(mean((x, i) => x * noise[(i + 1) % count]))).toBeLessThan(4 / 447);
    expect(mean((x) => (Math.abs(x) > 1.959964 ? 1 : 0))).toBeCloseTo(0.05, 2);
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])('rejects seed %s', (seed) => {
    expect(() => gaussianNoise(seed, 1)).toThrow(`seed is ${seed}`);
  });

  it('rejects counts and streams that are no whole numbers', () => {
    expect(() => gaussianNoise(0, -1)).toThrow('count is -1');
    expect(() => gaussianNoise(0, 1, 2 ** 32)).toThrow('stream is 4294967296');
  });
});
