// Intervals: Wilson's against published examples, the bootstrap against distributions that are known.
import { describe, expect, it } from 'vitest';
import { gaussianNoise } from '../../src/noise.ts';
import { pairedInterval, shareInterval } from '../../src/quality/interval.ts';

describe('the interval of a share', () => {
  // Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I, method 3.
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('is that of Newcombe for %i of %i', (hits, count, low, high) => {
    const found = shareInterval(hits, count);
    expect(found).toMatchObject({ mean: hits / count, count });
    expect(found.low).toBeCloseTo(low, 4);
    expect(found.high).toBeCloseTo(high, 4);
  });

  it('turns round with hits and misses', () => {
    const [few, many] = [shareInterval(3, 17), shareInterval(14, 17)];
    expect(few.low).toBeCloseTo(1 - many.high, 12);
    expect(shareInterval(17, 17).high).toBe(1);
  });

  it.each([
    [1, 0],
    [-1, 3],
    [4, 3],
  ])('refuses %i of %i', (hits, count) => {
    expect(() => shareInterval(hits, count)).toThrow(`${hits} hits of ${count} is no share`);
  });
});

describe('the interval of paired differences', () => {
  it('by hand: five ones of ten have means of Binomial(10, 1/2) / 10, whose 2.5 and 97.5 percentiles are .2 and .8', () => {
    const differences = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
    expect(pairedInterval(differences, { seed: 4 })).toEqual({ mean: 0.5, low: 0.2, high: 0.8, count: 10 });
  });

  it('by hand: two pairs of 0 and 1 have means of 0 and 1 a quarter of the time each', () => {
    expect(pairedInterval([0, 1])).toEqual({ mean: 0.5, low: 0, high: 1, count: 2 });
  });

  it('is as wide as the normal one for many normal differences', () => {
    const differences = [...gaussianNoise(3, 400)];
    const { mean, low, high } = pairedInterval(differences, { seed: 1 });
    const spread = Math.sqrt(differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 400);
    expect((mean - low) / ((1.96 * spread) / 20)).toBeCloseTo(1, 1);
    expect((high - mean) / ((1.96 * spread) / 20)).toBeCloseTo(1, 1);
  });

  it('is the same for the same seed, another for another, and a point when all differ alike', () => {
    const differences = [...gaussianNoise(5, 50)];
    expect(pairedInterval(differences, { seed: 7 })).toEqual(pairedInterval(differences, { seed: 7 }));
    expect(pairedInterval(differences, { seed: 8 })).not.toEqual(pairedInterval(differences, { seed: 7 }));
    expect(pairedInterval([0.25, 0.25, 0.25])).toEqual({ mean: 0.25, low: 0.25, high: 0.25, count: 3 });
  });

  it('refuses what has no mean', () => {
    expect(() => pairedInterval([])).toThrow('There are no differences; give one for each pair.');
    expect(() => pairedInterval([1, Number.POSITIVE_INFINITY])).toThrow(
      'A difference is Infinity; leave such pairs out, and say how many.',
    );
    expect(() => pairedInterval([1], { seed: -1 })).toThrow('seed is -1; give a whole number of 0..2^53 - 1.');
  });
});
