// Selectors made of others, on hand-worked rows of four key blocks.
import { describe, expect, test } from 'vitest';
import { valuesOf } from '../../src/conformance/host-tensor.ts';
import { referenceBackend as ops } from '../../src/conformance/reference-backend.ts';
import type { Call, Selector } from '../../src/method.ts';
import { upTo } from '../../src/search/levels.ts';
import { headAdaptive, mass, rank } from '../../src/search/select.ts';
import { covering, offline, refine, shrinking, union } from '../../src/search/select-by.ts';
import { raster } from '../../src/sparse3d/layout.ts';

const grid = { frames: 1, height: 16, width: 16, text: 0 };
const layout = raster(64)(grid);

function callOf(heads = 1, layer = 0): Call {
  const q = ops.upload(new Float32Array(heads), [heads, 1, 1]);
  const site = { step: 0, steps: 1, layer, layers: 2, branches: [0], grid };
  return { ops, q, k: q, v: q, layout: { q: layout, k: layout }, site, memory: {}, forced: 4 };
}

/** What a selector reads of each row, in rising order. */
function read(select: Selector, scores: readonly number[], share = 0.5, { heads = 1, layer = 0, memory = {} } = {}): number[][] {
  const call = { ...callOf(heads, layer), memory };
  const rows = scores.length / 4 / heads;
  const { counts, blocks } = select(call, ops.upload(Float32Array.from(scores), [heads, rows, 4]), upTo(share));
  const width = blocks.shape[2];
  return valuesOf(counts).map((count, row) =>
    count === 4
      ? [0, 1, 2, 3]
      : valuesOf(blocks)
          .slice(row * width, row * width + count)
          .sort(),
  );
}

describe('union', () => {
  const best = rank();
  const worst: Selector = (call, scores, levels) => rank()(call, ops.combine([scores], [-1]), levels);
  test('reads what either reads, once', () => {
    expect(read(union(best, best), [1, 4, 2, 3], 0.25)).toEqual([[1]]);
    expect(read(union(best, worst), [1, 4, 2, 3], 0.25)).toEqual([[0, 1]]);
    expect(read(union(best, worst), [1, 4, 2, 3], 0.5)).toEqual([[0, 1, 2, 3]]);
  });
  test('reads a row whole that either reads whole', () => {
    const forcing: Selector = (call, scores) =>
      ops.select(ops.force(scores, ops.upload(new Float32Array(4).fill(Infinity), [1, 4])), {
        measure: 'rank',
        levels: upTo(1),
        forced: call.forced,
      });
    expect(read(union(best, forcing), [1, 4, 2, 3], 0.25)).toEqual([[0, 1, 2, 3]]);
    expect(read(union(forcing, best), [1, 4, 2, 3], 0.25)).toEqual([[0, 1, 2, 3]]);
  });
});

describe('refine', () => {
  test('takes a share of the mass of what the first leaves', () => {
    // 8 is half of all mass, and more than .57 of what the first leaves.
    expect(read(mass(), [8, 5, 2, 1], 0.57)).toEqual([[0, 1]]);
    expect(read(refine({ first: rank(), levels: upTo(0.5), second: mass() }), [8, 5, 2, 1], 0.57)).toEqual([[0]]);
    expect(read(refine({ first: rank(), levels: upTo(0.5), second: mass() }), [8, 5, 2, 1], 0.99)).toEqual([[0, 1]]);
  });
  test('scores what is left anew, and keeps what was forced', () => {
    const score = () => ops.upload(Float32Array.of(1, 2, 30, Infinity), [1, 1, 4]);
    const select = refine({ first: rank(), levels: upTo(0.5), score: Object.assign(score, {}), second: rank() });
    expect(read(select, [8, 5, 2, 1], 0.25)).toEqual([[1]]);
    expect(read(select, [8, 5, 2, Infinity], 0.25)).toEqual([[1, 3]]);
  });
});

test('a plan that shrinks does not take a block back', () => {
  const kept = (scores: readonly number[]) => rank()(callOf(), ops.upload(Float32Array.from(scores), [1, 2, 4]), upTo(0.5));
  const memory = { plan: kept([1, 4, 2, 3, Infinity, Infinity, Infinity, Infinity]) };
  const later = [9, 1, 8, 2, 9, 1, 8, 2];
  expect(read(shrinking(rank()), later, 0.5)).toEqual([
    [0, 2],
    [0, 2],
  ]);
  expect(read(shrinking(rank()), later, 0.25, { memory })).toEqual([[3], [0]]);
  expect(read(shrinking(rank()), later, 0.75, { memory })).toEqual([
    [1, 3],
    [0, 2, 3],
  ]);
});

describe('offline', () => {
  const table = offline({
    shares: [
      [0.25, 0.5],
      [1, 0.25],
    ],
  });
  const rows = [1, 4, 2, 3, 1, 4, 2, 3];
  test('gives each head of each layer its share', () => {
    expect(read(table, rows, 1, { heads: 2 })).toEqual([[1], [1, 3]]);
    expect(read(table, rows, 1, { heads: 2, layer: 1 })).toEqual([[0, 1, 2, 3], [1]]);
    expect(read(table, rows, 0.5, { heads: 2, layer: 1 })).toEqual([[1, 3], [1]]);
  });
  test('refuses shares that are none, and tables of other models', () => {
    expect(() => offline({ shares: [[0.5, 0]] })).toThrow('head 1 in layer 0 is 0');
    expect(() => read(table, rows, 1, { heads: 1 })).toThrow('2 shares for layer 0 with 1 heads');
    expect(() => read(table, rows, 1, { heads: 2, layer: 2 })).toThrow('no shares for layer 2');
  });
});

test('heads read as many blocks as cover most of their mass', () => {
  // Rows that need one block and two, and rows that need three.
  const rows = [9, 0.5, 0, 0, 6, 4, 0, 0, 1, 2, 3, 4, 4, 3, 2, 1];
  expect(read(covering({ cover: 0.9 }), rows, 1, { heads: 2 })).toEqual([
    [0, 1],
    [0, 1],
    [1, 2, 3],
    [0, 1, 2],
  ]);
  expect(read(covering({ cover: 0.55 }), rows, 1, { heads: 2 })).toEqual([[0], [0], [2, 3], [0, 1]]);
  expect(read(covering({ cover: 0.55 }), rows, 0.5, { heads: 2 })).toEqual([[0], [0], [3], [0]]);
});

test('heads give budgets by any recall', () => {
  const rows = [1, 4, 2, 3, 1, 4, 2, 3];
  expect(read(headAdaptive(), rows, 0.5, { heads: 2 })).toEqual([
    [1, 3],
    [1, 3],
  ]);
  const recall = () => ops.upload(Float32Array.of(0.9, 0.1), [2]);
  expect(read(headAdaptive({ recall }), rows, 0.5, { heads: 2 })).toEqual([[1], [1, 2, 3]]);
});
