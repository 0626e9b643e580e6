// Static patterns as forced scores, and those of blocks: hand-worked cases, and the traps that papers' code leaves in them.
import { describe, expect, test } from 'vitest';
import type { Call, Layouts } from '../../src/method.ts';
import { frameBand, radial } from '../../src/search/bands.ts';
import { byHead, forced, pattern, union, withPattern } from '../../src/search/pattern.ts';
import { checkerboard, firstFrame, ownBlock, powerDistances, shards, text } from '../../src/search/patterns.ts';
import { sampled } from '../../src/search/score.ts';
import { neighborhood, slidingTile, window } from '../../src/search/windows.ts';
import { places, raster, tiles } from '../../src/sparse3d/layout.ts';
import type { Layout } from '../../src/sparse3d/plan.ts';
import { openedOps } from '../backend/opened.ts';
import { both, grid, line, rows } from './masks.ts';

describe('blocks', () => {
  test('own block and its sides; text has none', () => {
    expect(rows(ownBlock(), line(4))).toEqual([[0], [1], [2], [3]]);
    expect(rows(ownBlock({ reach: 1 }), line(4, 9))).toEqual([[0, 1], [0, 1, 2], [1, 2, 3], [2, 3], [4], [5]]);
  });
  test('own blocks are those that hold the tokens, in whatever order keys are', () => {
    const of = grid(2, 4, 4);
    expect(rows(ownBlock(), { q: tiles(1, 2, 4)(of), k: tiles(2, 4, 1)(of) })).toEqual(Array(4).fill([0, 1, 2, 3]));
  });
  test('text is read as rows and as columns', () => {
    expect(rows(text(), line(2, 9))).toEqual([
      [2, 3],
      [2, 3],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
    expect(rows(text(), line(2))).toEqual([[], []]);
  });
  test('the first frame is frame 0 in any order, not the first tokens of it', () => {
    const of = grid(16, 2, 2);
    expect(rows(firstFrame(), both(raster(8)(of)))[5]).toEqual([0]);
    expect(rows(firstFrame(), both(places(8)(of)))[5]).toEqual([0, 2, 4, 6]);
    expect(rows(firstFrame({ rows: true }), line(3))).toEqual([[0, 1, 2], [0], [0]]);
  });
  test('distances of powers of two, both ways', () => {
    const read = rows(powerDistances(), line(10));
    expect(read[0]).toEqual([0, 1, 2, 4, 8]);
    expect(read[5]).toEqual([1, 3, 4, 5, 6, 7, 9]);
  });
  test('each head has another shard, and together they have everything', () => {
    expect([0, 1, 2].map((head) => rows(shards({ of: 3 }), line(7), head)[2])).toEqual([
      [0, 3, 6],
      [2, 5],
      [1, 4],
    ]);
  });
  test('a checkerboard alternates along every axis of tiles', () => {
    const layout = both(tiles(2, 2, 2)(grid(4, 3, 8)));
    const [read] = rows(checkerboard(), layout);
    expect(read).toEqual([0, 2, 5, 7, 9, 11, 12, 14]);
    expect(rows(checkerboard({ stride: 3 }), line(7))[4]).toEqual([0, 3, 6]);
    expect(rows(checkerboard(), both(raster(8)(grid(1, 5, 8))))[3]).toEqual([0, 2, 4]);
  });
});

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('scores on %s', (runtime) => {
  const opened = openedOps(runtime);
  const callOf = async (layout: Layouts, heads: number): Promise<Call> => {
    const ops = await opened;
    const flat = (of: Layout) => ops.upload(new Float32Array(heads * of.order.length * 8), [heads, of.order.length, 8]);
    const [q, k] = [flat(layout.q), flat(layout.k)];
    const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: layout.q.grid };
    return { ops, q, k, v: k, layout, site, memory: {} };
  };
  /** The rows that a plan reads, of each head. */
  const planned = async (call: Call, score: ReturnType<typeof pattern>) => {
    const { ops, layout } = call;
    const plan = forced()({ ...call, forced: score.forced?.(layout) }, score(call), [{ pool: 1, upTo: 1 }]);
    const [counts, blocks] = await Promise.all([ops.read(plan.counts), ops.read(plan.blocks)]);
    const width = plan.blocks.shape[2];
    const read = [...counts].map((count, row) =>
      count === layout.k.blocks ? [...Array(count).keys()] : [...blocks.subarray(row * width, row * width + count)].sort((a, b) => a - b),
    );
    return { width, rows: Array.from(counts, (_, head) => read.slice(head * layout.q.blocks, (head + 1) * layout.q.blocks)) };
  };

  test('a plan reads what the pattern says and all text, no wider than that', async () => {
    const layout = line(6, 9);
    const near = ownBlock({ reach: 1 });
    const { rows: read, width } = await planned(await callOf(layout, 2), pattern(near));
    const expected = rows(union(near, text()), layout);
    expect([read[0], read[1]]).toEqual([expected, expected]);
    expect(expected[1]).toEqual([0, 1, 2, 6, 7]);
    expect(width).toBe(6);
  });

  test('heads take shards in turn; a row without any block reads its own', async () => {
    const layout = line(3);
    const { rows: read } = await planned(await callOf(layout, 6), pattern(shards({ of: 4 })));
    expect(read[0]).toEqual([[0], [0], [0]]);
    expect(read[1]).toEqual([[0], [1], [2]]);
    expect(read[3]).toEqual([[1], [1], [1]]);
    expect(read.slice(4, 6)).toEqual(read.slice(0, 2));
  });

  test('forcing a pattern leaves other scores, by head', async () => {
    const call = await callOf(line(4), 4);
    const scores = [...(await call.ops.read(withPattern(sampled(), byHead(ownBlock(), powerDistances()))(call)))];
    const finite = (head: number) => scores.slice(head * 16, (head + 1) * 16).map((score, at) => (score === Infinity ? at : undefined));
    expect(finite(0).filter((at) => at !== undefined)).toEqual([0, 5, 10, 15]);
    expect(finite(1).filter((at) => at === undefined).length).toBe(2);
    expect(finite(2)).toEqual(finite(0));
    expect(scores.slice(1, 4)).toEqual([0.25, 0.25, 0.25]);
    const bare = withPattern(sampled(), text());
    expect([...(await call.ops.read(bare(call)))]).toEqual(Array(64).fill(0.25));
    expect(bare.forced!(call.layout)).toBe(0);
  });
});

test('masks of heads meet in the cycle of both', () => {
  const layout = line(6);
  const masks = union(shards({ of: 2 }), shards({ of: 3 }))(layout);
  expect(masks.length).toBe(6);
  expect(rows(() => masks, layout, 5)[0]).toEqual([1, 3, 4, 5]);
  expect(byHead(ownBlock(), shards({ of: 2 }))(layout).length).toBe(2);
});

test('what no pattern can be made of is refused', () => {
  expect(() => ownBlock({ reach: -1 })).toThrow('a reach of -1 blocks is not possible');
  expect(() => shards({ of: 0 })).toThrow('shards of every 0 blocks');
  expect(() => checkerboard({ stride: 1.5 })).toThrow('1.5');
  expect(() => window({ frames: -1 })).toThrow('a window of -1 frames');
  expect(() => slidingTile({ tile: [6, 8, 0] })).toThrow('a tile of [6,8,0]');
  expect(() => neighborhood({ window: [3, 3, 3], stride: [1, 4, 1] })).toThrow('a stride of [1,4,1] is above a window of [3,3,3]');
  expect(() => frameBand({ density: 0 })).toThrow('density 0');
  expect(() => radial({ decay: 2 })).toThrow('decay 2');
});
