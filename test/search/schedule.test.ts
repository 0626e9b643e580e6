// When dense, search and reuse are due, for runs of any length; and that impossible options are refused.
import { describe, expect, test } from 'vitest';
import type { Schedule, Site } from '../../src/method.ts';
import { flopShare, pyramid, scaledPyramid, upTo } from '../../src/search/levels.ts';
import { alwaysDense, searchAt, searchEvery, searchLayers, searchOnce, withDense } from '../../src/search/schedule.ts';

const site: Site = { step: 0, steps: 1, layer: 0, layers: 30, branches: [0], grid: { frames: 1, height: 1, width: 1, text: 0 } };
/** One letter for each step. */
const phases = (schedule: Schedule, steps: number, layer = 0): string =>
  Array.from({ length: steps }, (_, step) => schedule({ ...site, step, steps, layer })[0]).join('');

describe('searchAt', () => {
  test('is steps 10 and 30 of 50', () => {
    expect(phases(searchAt(0.2, 0.6), 50)).toBe(`${'d'.repeat(10)}s${'r'.repeat(19)}s${'r'.repeat(19)}`);
  });
  test.each([
    [1, 's'],
    [2, 'ss'],
    [4, 'dssr'],
    [6, 'dsrrsr'],
    [8, 'ddsrrsrr'],
    [20, 'ddddsrrrrrrrsrrrrrrr'],
  ])('%i steps', (steps, expected) => expect(phases(searchAt(0.2, 0.6), steps)).toBe(expected));
  test('refuses shares outside the run or out of order', () => {
    expect(() => searchAt(0.2, 1)).toThrow(RangeError);
    expect(() => searchAt(0.6, 0.2)).toThrow('rising');
    expect(() => searchAt(10, 30)).toThrow('0.2, 0.6');
    expect(() => searchAt()).toThrow(RangeError);
  });
});

describe('searchEvery', () => {
  test('is dense for 15 of 50 steps, then searches', () => {
    expect(phases(searchEvery({ denseSteps: 0.3 }), 50)).toBe('d'.repeat(15) + 's'.repeat(35));
    expect(phases(searchEvery({ denseSteps: 0.3 }), 6)).toBe('ddssss');
    expect(phases(searchEvery(), 3)).toBe('sss');
  });
  test('keeps plans between searches and its first layers dense', () => {
    const schedule = searchEvery({ denseSteps: 0.2, denseLayers: 0.03, every: 3 });
    expect(phases(schedule, 10, 1)).toBe('ddsrrsrrsr');
    expect(phases(schedule, 10, 0)).toBe('dddddddddd');
  });
  test('refuses what is no share or no step', () => {
    expect(() => searchEvery({ denseSteps: 1.5 })).toThrow('denseSteps is 1.5');
    expect(() => searchEvery({ denseLayers: -1 })).toThrow(RangeError);
    expect(() => searchEvery({ every: 0.5 })).toThrow(RangeError);
  });
});

describe('starts', () => {
  test('may be counts: 12 steps, 2 layers', () => {
    expect(phases(searchEvery({ denseSteps: 3 }), 5)).toBe('dddss');
    expect(phases(searchEvery({ denseLayers: 2 }), 2, 1)).toBe('dd');
    expect(phases(searchEvery({ denseLayers: 2 }), 2, 2)).toBe('ss');
  });
  test('searchOnce keeps its plan to the end', () => {
    expect(phases(searchOnce({ denseSteps: 0.2 }), 10)).toBe('ddsrrrrrrr');
    expect(phases(searchOnce({ denseLayers: 1 }), 3)).toBe('ddd');
  });
});

describe('withDense', () => {
  test('keeps layers dense, by share, count or list, and leaves the others as they are', () => {
    for (const denseLayers of [0.1, 3, [0, 1, 2], [-28, -29, -30]]) {
      const schedule = withDense(searchAt(0.2, 0.6), { denseLayers });
      expect(phases(schedule, 8, 2)).toBe('dddddddd');
      expect(phases(schedule, 8, 3)).toBe('ddsrrsrr');
    }
    expect(phases(withDense(searchAt(0.2, 0.6), { denseLayers: [-1] }), 8, 29)).toBe('dddddddd');
  });
  test('searches after dense steps where a search was due among them', () => {
    expect(phases(withDense(searchAt(0.2, 0.6), { denseSteps: [5, 6] }), 9)).toBe('ddsrrddsr');
    expect(phases(withDense(searchAt(0.2, 0.6), { denseSteps: [6, -1] }), 9)).toBe('ddsrrsdrd');
    expect(phases(withDense(searchOnce(), { denseSteps: 0.5 }), 6)).toBe('dddsrr');
  });
  test('lets the first layer that is not dense lead those that follow', () => {
    const schedule = withDense(searchLayers(), { denseLayers: [4] });
    const at = (layer: number) => ({ ...site, layer, layers: 8 });
    expect(Array.from({ length: 8 }, (_, layer) => schedule(at(layer))[0]).join('')).toBe('srrrdsrr');
    expect([0, 1, 2, 3, 5, 6, 7].map((layer) => schedule.planLayer?.(at(layer)))).toEqual([0, 0, 0, 0, 5, 5, 5]);
  });
  test('refuses what is not there', () => {
    expect(() => withDense(alwaysDense(), { denseLayers: -2 })).toThrow('denseLayers is -2');
    expect(() => withDense(alwaysDense(), { denseSteps: [0.5] })).toThrow('denseSteps is [0.5]; give whole numbers');
    expect(() => phases(withDense(searchAt(0.2), { denseLayers: [30] }), 3)).toThrow('denseLayers names 30, but there are 30');
  });
});

describe('searchLayers', () => {
  const schedule = searchLayers({ denseLayers: 2, denseSteps: 1 });
  const at = (layer: number, step = 1) => ({ ...site, layer, layers: 8, step, steps: 4 });
  test('searches at the first sparse layer and the middle one, and is followed by those after', () => {
    expect(Array.from({ length: 8 }, (_, layer) => schedule(at(layer))[0]).join('')).toBe('ddsrsrrr');
    expect(Array.from({ length: 8 }, (_, layer) => schedule.planLayer?.(at(layer)))).toEqual([2, 2, 2, 2, 4, 4, 4, 4]);
    expect(schedule(at(5, 0))).toBe('dense');
  });
  test('a single layer searches, and shares that fall are refused', () => {
    expect(phases(searchLayers(), 2)).toBe('ss');
    expect(() => searchLayers({ at: [0.5, 0.2] })).toThrow('layers');
  });
});

test('alwaysDense is', () => expect(phases(alwaysDense(), 4)).toBe('dddd'));

describe('levels', () => {
  test('pool by two more at each cut', () => {
    expect(upTo(0.2)).toEqual([{ pool: 1, upTo: 0.2 }]);
    expect(pyramid(0.5, 0.6, 0.7, 0.8).map(({ pool }) => pool)).toEqual([1, 2, 4, 8]);
  });
  test('refuse falling cuts and shares outside (0, 1]', () => {
    expect(() => pyramid(0.5, 0.4)).toThrow('0.5, 0.4');
    expect(() => upTo(0)).toThrow(RangeError);
    expect(() => upTo(1.1)).toThrow(RangeError);
    expect(() => upTo(NaN)).toThrow(RangeError);
    expect(() => pyramid()).toThrow(RangeError);
  });
  test('scale to a share of full attention', () => {
    expect(flopShare(pyramid(0.05, 0.1, 0.15, 0.25))).toBeCloseTo(0.1, 12);
    for (const share of [0.01, 0.1, 0.2, 0.4, 0.55, 0.9, 1])
      expect(flopShare(scaledPyramid([0.05, 0.1, 0.15, 0.25], share))).toBeCloseTo(share, 9);
    expect(scaledPyramid([0.05, 0.1, 0.15, 0.25], 1)[0].upTo).toBe(1);
    const [first, , , last] = scaledPyramid([0.05, 0.1, 0.15, 0.25], 0.2);
    expect(last.upTo / first.upTo).toBeCloseTo(5, 9);
  });
});
