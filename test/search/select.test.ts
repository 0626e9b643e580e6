// Selection on hand-worked rows of four key blocks: cuts, forcing, budgets, caps, and that no row is empty.
import { describe, expect, test } from 'vitest';
import { budgetsOf, recallOf, type SelectionNumbers, selectBlocks } from '../../src/search/cpu-select.ts';
import { pyramid, restAt, upTo, within } from '../../src/search/levels.ts';
import { planWidth } from '../../src/search/width.ts';

const row = [0.125, 0.5, 0.125, 0.25];
/** The chosen blocks of each row, by level. */
function choose(scores: readonly number[], selection: SelectionNumbers, kBlocks = 4, heads = 1): number[][][] {
  const qBlocks = scores.length / kBlocks / heads;
  const { counts, blocks } = selectBlocks(Float32Array.from(scores), [heads, qBlocks, kBlocks], selection);
  const levels = selection.levels.length;
  const width = blocks.length / heads / qBlocks;
  return Array.from({ length: heads * qBlocks }, (_, at) => {
    let from = at * width;
    if (counts[at * levels] === kBlocks) {
      expect([...blocks.subarray(from, from + width)].every((block) => block === -1)).toBe(true);
      return selection.levels.map((__, level) => (level === 0 ? Array.from({ length: kBlocks }, (___, block) => block) : []));
    }
    const groups = Array.from({ length: levels }, (__, level) => {
      const count = counts[at * levels + level];
      from += count;
      return [...blocks.subarray(from - count, from)];
    });
    expect([...blocks.subarray(from, (at + 1) * width)].every((block) => block === -1)).toBe(true);
    expect(new Set(groups.flat()).size).toBe(groups.flat().length);
    return groups;
  });
}

describe('rank', () => {
  test('keeps ceil(share * blocks), best first, equal scores by the lower index', () => {
    expect(choose(row, { measure: 'rank', levels: upTo(0.25) })).toEqual([[[1]]]);
    expect(choose(row, { measure: 'rank', levels: upTo(0.26) })).toEqual([[[1, 3]]]);
    expect(choose(row, { measure: 'rank', levels: upTo(0.75) })).toEqual([[[1, 3, 0]]]);
    expect(choose(row, { measure: 'rank', levels: upTo(1) })).toEqual([[[0, 1, 2, 3]]]);
  });
  test('a share rounded up in its last bit adds no block', () => {
    const ten = Array.from({ length: 10 }, (_, at) => at);
    expect(1 - 0.7).toBeGreaterThan(0.3);
    expect(choose(ten, { measure: 'rank', levels: upTo(1 - 0.7) }, 10)[0][0]).toEqual([9, 8, 7]);
  });
  test('a pyramid takes each block once, at the finest cut it fits', () => {
    expect(choose(row, { measure: 'rank', levels: pyramid(0.25, 0.5, 0.5, 1) })).toEqual([[[1], [3], [], [0, 2]]]);
  });
});

describe('mass', () => {
  test('takes the block that crosses the cut, and none after it', () => {
    expect(choose(row, { measure: 'mass', levels: upTo(0.5) })).toEqual([[[1]]]);
    expect(choose(row, { measure: 'mass', levels: upTo(0.51) })).toEqual([[[1, 3]]]);
    expect(choose(row, { measure: 'mass', levels: upTo(0.8) })).toEqual([[[1, 3, 0]]]);
  });
  test('is a share of the sum of the row, whatever that is', () => {
    const scaled = row.map((score) => score * 64);
    expect(choose(scaled, { measure: 'mass', levels: pyramid(0.5, 0.75, 0.8, 1) })).toEqual(
      choose(row, { measure: 'mass', levels: pyramid(0.5, 0.75, 0.8, 1) }),
    );
  });
  test('a cut at 1 reads blocks without mass too', () => {
    expect(choose([1, 0, 0, 1e-30], { measure: 'mass', levels: upTo(1) })).toEqual([[[0, 1, 2, 3]]]);
  });
  test('the floor lifts the finest level and leaves the outer cut', () => {
    expect(choose(row, { measure: 'mass', levels: pyramid(0.5, 0.75), floor: 0.75 })).toEqual([[[1, 3, 0], []]]);
    expect(choose(row, { measure: 'mass', levels: pyramid(0.1, 0.1, 0.1, 1), floor: 0.3 })).toEqual([[[1, 3], [], [], [0, 2]]]);
  });
  test('a cap moves a key block to the finer level it allows, and drops nothing', () => {
    const levels = pyramid(0.25, 0.5, 0.75, 1);
    const cap = Int32Array.of(4, 1, 1, 8);
    expect(choose(row, { measure: 'rank', levels })).toEqual([[[1], [3], [0], [2]]]);
    expect(choose(row, { measure: 'rank', levels, cap })).toEqual([[[1, 2], [3], [0], []]]);
    expect(choose(row, { measure: 'rank', levels, cap: Int32Array.of(3, 8, 6, 1) })).toEqual([[[1, 3], [0], [2], []]]);
  });
});

describe('over a head', () => {
  // Two rows: the best four of eight are three of the second and one of the first.
  const head = [0.125, 0.5, 0.0625, 0.25, 1, 2, 4, 0.375];
  test('the best blocks of all rows are read, and the best of a row that has none', () => {
    expect(choose(head, { measure: 'rank', over: 'head', levels: upTo(0.5) })).toEqual([[[1]], [[2, 1, 0]]]);
    expect(choose(head, { measure: 'rank', over: 'head', levels: upTo(0.25) })).toEqual([[[1]], [[2, 1]]]);
    expect(choose(head, { measure: 'rank', over: 'head', levels: pyramid(0.25, 0.75) })).toEqual([
      [[], [1, 3]],
      [
        [2, 1],
        [0, 3],
      ],
    ]);
    expect(
      choose([...head.slice(0, 4).map(() => -Infinity), ...head.slice(4)], { measure: 'mass', over: 'head', levels: upTo(0.5) }),
    ).toEqual([[[0]], [[2]]]);
  });
  test('the block that crosses a share of the mass is in', () => {
    // The sum is 8.3125: 4 are 0.48 of it, 6 are 0.72.
    expect(choose(head, { measure: 'mass', over: 'head', levels: upTo(0.48) })).toEqual([[[1]], [[2]]]);
    expect(choose(head, { measure: 'mass', over: 'head', levels: upTo(0.5) })).toEqual([[[1]], [[2, 1]]]);
    expect(choose(head, { measure: 'mass', over: 'head', levels: upTo(1) })).toEqual([[[0, 1, 2, 3]], [[0, 1, 2, 3]]]);
  });
  test('forced blocks are outside, and heads apart; a layer is one', () => {
    const forced = [Infinity, 0.5, 0.0625, 0.25, 1, 2, 4, Infinity];
    expect(choose(forced, { measure: 'rank', over: 'head', levels: upTo(1 / 3) })).toEqual([[[0]], [[3, 2, 1]]]);
    expect(choose(head, { measure: 'rank', over: 'head', levels: upTo(0.5) }, 4, 2)).toEqual([[[1, 3]], [[2, 1]]]);
    expect(choose(head, { measure: 'rank', over: 'layer', levels: upTo(0.5) }, 4, 2)).toEqual([[[1]], [[2, 1, 0]]]);
  });
  test('of equal scores those of the first row go first', () => {
    expect(choose(Array(8).fill(0.5), { measure: 'rank', over: 'head', levels: upTo(0.75) })).toEqual([[[0, 1, 2, 3]], [[0, 1]]]);
  });
});

describe('margin', () => {
  const logits = [-1, 3, 0, 1.5];
  test('takes what is near the best score, whatever that is', () => {
    expect(choose(logits, { measure: 'margin', levels: within(1.5) })).toEqual([[[1, 3]]]);
    expect(
      choose(
        logits.map((x) => x - 100),
        { measure: 'margin', levels: within(1.49, 3) },
      ),
    ).toEqual([[[1], [3, 2]]]);
  });
  test('or near zero, and keeps the best block of a row that is far from it', () => {
    expect(choose([-1, -3, 0.5, -1.5], { measure: 'margin', anchor: 'zero', levels: within(1.2) })).toEqual([[[2, 0]]]);
    expect(choose([-9, -7, -8, -9], { measure: 'margin', anchor: 'zero', levels: within(1) })).toEqual([[[1]]]);
  });
  test('the rest is all, however far', () => {
    expect(choose([-1, 3, -1e30, -Infinity], { measure: 'margin', levels: [...within(1), ...restAt(64)] })).toEqual([[[1], [0, 2]]]);
  });
  test('refuses distances that are none', () => {
    expect(() => within(4, 2)).toThrow('4, 2');
    expect(() => within(0)).toThrow(RangeError);
    expect(() => within(31)).toThrow('30');
    expect(() => restAt(0.5)).toThrow('0.5');
  });
});

describe('ceiling', () => {
  test('bounds the finest level and goes after the floor', () => {
    expect(choose(row, { measure: 'mass', levels: upTo(0.9), ceiling: 0.5 })).toEqual([[[1, 3]]]);
    expect(choose(row, { measure: 'mass', levels: [...upTo(0.9), ...restAt(8)], ceiling: 0.25 })).toEqual([[[1], [3, 0, 2]]]);
    expect(choose(row, { measure: 'mass', levels: upTo(0.9), floor: 0.75, ceiling: 0.25 })).toEqual([[[1, 3, 0]]]);
  });
  test('promises a width', () => {
    expect(planWidth({ measure: 'mass', levels: upTo(0.9), ceiling: 0.2, forced: 1 }, 10)).toBe(4);
    expect(planWidth({ measure: 'mass', levels: [...upTo(0.9), ...restAt(8)], ceiling: 0.2, forced: 1 }, 10)).toBe(10);
    expect(planWidth({ measure: 'rank', over: 'head', levels: upTo(0.1), forced: 0 }, 10)).toBe(10);
  });
});

describe('forcing', () => {
  test('+Infinity is read in full and outside the budget, -Infinity never', () => {
    const scores = [0.25, -Infinity, Infinity, 0.5];
    expect(choose(scores, { measure: 'rank', levels: upTo(0.3) })).toEqual([[[2, 3]]]);
    expect(choose(scores, { measure: 'mass', levels: pyramid(0.5, 1) })).toEqual([[[2, 3], [0]]]);
    expect(choose(scores, { measure: 'rank', levels: upTo(1) })).toEqual([[[2, 3, 0]]]);
  });
  test('no row is empty: its best block stays, at the finest level', () => {
    expect(choose(row, { measure: 'rank', levels: [{ pool: 1, upTo: 0 }] })).toEqual([[[1]]]);
    expect(choose([0, 0, 0, 0], { measure: 'mass', levels: pyramid(0.5, 0.6) })).toEqual([[[0], []]]);
    expect(choose(Array(4).fill(-Infinity), { measure: 'mass', levels: upTo(0.5) })).toEqual([[[0]]]);
    expect(choose([...row, NaN, NaN, NaN, NaN], { measure: 'rank', levels: upTo(0.25) })).toEqual([[[1]], [[0]]]);
  });
  test('a row of forced blocks alone needs nothing else', () => {
    const scores = [Infinity, -Infinity, Infinity, 0.5];
    expect(choose(scores, { measure: 'rank', levels: [{ pool: 1, upTo: 0 }] })).toEqual([[[0, 2]]]);
  });
});

describe('width', () => {
  const ten = Array.from({ length: 10 }, (_, at) => at);
  test('follows the cuts, the floor, the budgets and what is forced', () => {
    const selection = { measure: 'rank', levels: pyramid(0.1, 0.2) } as const;
    expect(planWidth({ ...selection, forced: 0 }, 10)).toBe(3);
    expect(planWidth({ ...selection, forced: 4 }, 10)).toBe(7);
    expect(planWidth({ ...selection, forced: 0, floor: 0.5 }, 10)).toBe(6);
    expect(planWidth({ ...selection, forced: 9 }, 10)).toBe(10);
    expect(planWidth({ ...selection, forced: 0, levels: upTo(0.4), budgets: Float32Array.of(1) }, 10)).toBe(7);
    expect(planWidth({ ...selection, forced: 0 }, 1)).toBe(1);
  });
  test('is all key blocks where nothing is promised', () => {
    expect(planWidth({ measure: 'rank', levels: upTo(0.1) }, 10)).toBe(10);
    expect(planWidth({ measure: 'mass', levels: upTo(0.1), forced: 0 }, 10)).toBe(10);
  });
  test('holds every row that keeps its promise, with the same blocks', () => {
    const selection = { measure: 'rank', levels: pyramid(0.1, 0.3) } as const;
    const scores = [...ten, ...ten.map((score) => (score === 4 || score === 0 ? Infinity : score)), ...ten.map(() => Infinity)];
    expect(choose(scores, { ...selection, forced: 2 }, 10)).toEqual(choose(scores, selection, 10));
  });
  test('a row that does not fit is read whole', () => {
    const scores = [...ten, ...ten.map((score) => (score < 5 ? Infinity : score))];
    const selection = { measure: 'rank', levels: pyramid(0.1, 0.2), forced: 0 } as const;
    expect(choose(scores, selection, 10)).toEqual([
      [[9], [8]],
      [ten, []],
    ]);
  });
});

describe('head budgets', () => {
  test('recall is the kept share of the finite mass of each head', () => {
    const scores = Float32Array.of(0.5, 0.25, 0.125, 0.125, 4, 2, 1, 1, 1, 1, 1, Infinity, Infinity, Infinity, Infinity, Infinity);
    const shape = [2, 2, 4] as const;
    const plan = selectBlocks(scores, shape, { measure: 'rank', levels: upTo(0.5) });
    expect([...recallOf(scores, shape, plan, 4)]).toEqual([0.75, Math.fround(2 / 3)]);
    const all = selectBlocks(scores.fill(Infinity), shape, { measure: 'rank', levels: upTo(0.5) });
    expect([...recallOf(scores, shape, all, 4)]).toEqual([1, 1]);
  });
  test('the best heads give what the worst get: 0.9 / 0.8 / 0.7 at sparsity 0.8', () => {
    const budgets = budgetsOf(Float32Array.of(0.5, 0.95, 0.7, 0.85, 0.6), { threshold: 0.8, sparsity: 0.8 });
    const sparsities = [...budgets].map((factor) => 1 - factor * 0.2);
    for (const [head, expected] of [0.7, 0.9, 0.8, 0.9, 0.7].entries()) expect(sparsities[head]).toBeCloseTo(expected, 6);
  });
  test('no head is in both sets when most recall well', () => {
    expect([...budgetsOf(Float32Array.of(0.9, 0.95, 0.9), { threshold: 0.8, sparsity: 0.5 })]).toEqual([1, 0.5, 1.5]);
  });
  test('the mean stays and no head reads more than everything', () => {
    for (const sparsity of [0, 0.1, 0.3, 1 / 3, 0.5, 0.95]) {
      const budgets = [...budgetsOf(Float32Array.of(0.9, 0.99, 0.1, 0.2), { threshold: 0.8, sparsity })];
      expect(budgets.reduce((sum, factor) => sum + factor, 0)).toBeCloseTo(4, 5);
      expect(Math.max(...budgets) * (1 - sparsity)).toBeLessThanOrEqual(1 + 1e-6);
    }
    expect([...budgetsOf(Float32Array.of(1, 1, 1, 1), { threshold: 0.8, sparsity: 0 })]).toEqual([1, 1, 1, 1]);
  });
  test('a budget scales its head alone', () => {
    const selection = { measure: 'rank', levels: upTo(0.5), budgets: Float32Array.of(0.5, 1.5) } as const;
    expect(choose([...row, ...row], selection, 4, 2)).toEqual([[[1]], [[1, 3, 0]]]);
  });
});
