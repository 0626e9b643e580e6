// Static patterns: hand-worked cases, a naive twin over tokens on odd grids, and the traps that papers' code leaves in them.
import { describe, expect, test } from 'vitest';
import type { Call, Layouts } from '../../src/method.ts';
import { frameBand, placeBand, radial, radialWindows } from '../../src/search/bands.ts';
import { type AxisRule, boxesOf, placeOf } from '../../src/search/boxes.ts';
import { byHead, forced, type Pattern, pattern, union, withPattern } from '../../src/search/pattern.ts';
import { checkerboard, firstFrame, ownBlock, powerDistances, shards, text } from '../../src/search/patterns.ts';
import { sampled } from '../../src/search/score.ts';
import { neighborhood, slidingTile, window } from '../../src/search/windows.ts';
import { curve, places, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, tokensOfBlock } from '../../src/sparse3d/plan.ts';
import { openedOps } from '../backend/opened.ts';

const grid = (frames: number, height: number, width: number, text = 0): Grid => ({ frames, height, width, text });
const both = (layout: Layout): Layouts => ({ q: layout, k: layout });

/** What each query block reads, by the mask of a head. */
function rows(of: Pattern, layout: Layouts, head = 0): number[][] {
  const mask = of(layout)[head];
  return Array.from({ length: layout.q.blocks }, (_, row) =>
    [...mask.subarray(row * layout.k.blocks, (row + 1) * layout.k.blocks)].flatMap((read, block) => (read ? [block] : [])),
  );
}
const share = (of: Pattern, layout: Layouts): number => {
  const [mask] = of(layout);
  return mask.reduce((sum, read) => sum + read, 0) / mask.length;
};

/** Blocks of 8 tokens in a line, one block a frame. */
const line = (frames: number, text = 0): Layouts => both(tiles(1, 1, 8)(grid(frames, 1, 8, text)));
const odd = [grid(5, 7, 9), grid(5, 7, 9, 13), grid(1, 2, 3), grid(1, 1, 1)];
const layouts: readonly Layouts[] = odd.flatMap((of) => [
  ...[raster(64), raster(8), tiles(2, 4, 4), tiles(1, 2, 4), curve(16), places(24)].map((make) => both(make(of))),
  { q: curve(32)(of), k: tiles(4, 4, 4)(of) },
]);

/** Pairs of blocks of which any pair of video tokens obeys a rule. */
const byTokens =
  (rule: (a: number, b: number, of: Grid) => boolean): Pattern =>
  ({ q, k }) => {
    const tokens = [q, k].map((layout) =>
      Array.from({ length: layout.blocks }, (_, block) => (block < layout.videoBlocks ? [...tokensOfBlock(layout, block)] : [])),
    );
    return [
      Uint8Array.from(
        tokens[0].flatMap((queries) => tokens[1].map((keys) => Number(queries.some((a) => keys.some((b) => rule(a, b, q.grid)))))),
      ),
    ];
  };
const byAxes = (...rules: readonly AxisRule[]): Pattern =>
  byTokens((a, b, of) => {
    const [from, to] = [placeOf(a, of), placeOf(b, of)];
    return rules.every((rule, axis) => rule(from[axis], to[axis], [of.frames, of.height, of.width][axis]));
  });

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

describe('windows', () => {
  test('boxes hold the tokens of a block, and no others', () => {
    for (const { q } of layouts)
      for (const [block, boxes] of boxesOf(q).entries()) {
        const inside = boxes.flatMap(({ first, last }) => {
          const found: number[] = [];
          for (let frame = first[0]; frame <= last[0]; frame++)
            for (let row = first[1]; row <= last[1]; row++)
              for (let column = first[2]; column <= last[2]; column++) found.push((frame * q.grid.height + row) * q.grid.width + column);
          return found;
        });
        expect(inside.sort((a, b) => a - b)).toEqual([...tokensOfBlock(q, block).sort()]);
        if (q.tile) expect(boxes.length).toBe(1);
      }
  });

  test('a window by the twin over tokens', () => {
    const within = (distance: number) => (i: number, j: number) => Math.abs(i - j) <= distance;
    for (const layout of layouts) {
      expect(window({ frames: 1, rows: 2, columns: 0 })(layout)).toEqual(byAxes(within(1), within(2), within(0))(layout));
      expect(window({ frames: 0 })(layout)).toEqual(byAxes(within(0))(layout));
    }
  });

  test('tiles at the borders read as many as those inside', () => {
    const sliding = slidingTile({ tile: [1, 1, 8], window: [3, 1, 1] });
    expect(rows(sliding, line(6))).toEqual([
      [0, 1, 2],
      [0, 1, 2],
      [1, 2, 3],
      [2, 3, 4],
      [3, 4, 5],
      [3, 4, 5],
    ]);
    expect(rows(sliding, line(2))).toEqual([
      [0, 1],
      [0, 1],
    ]);
    const wide = slidingTile({ tile: [2, 1, 8], window: [1, 1, Infinity] });
    expect(rows(wide, line(5))).toEqual([[0, 1], [0, 1], [2, 3], [2, 3], [4]]);
  });

  test('the published window keeps 27 of 300 tiles, on blocks of 64 in tiles of 384', () => {
    const layout = both(tiles(1, 8, 8)(grid(30, 48, 80)));
    const counts = rows(slidingTile(), layout).map((read) => read.length);
    expect(new Set(counts)).toEqual(new Set([27 * 6]));
  });

  test('sliding tiles on any grid by the twin over tokens', () => {
    const rule =
      (tile: number, wanted: number): AxisRule =>
      (i, j, size) => {
        const count = Math.ceil(size / tile);
        if (wanted >= count) return true;
        const half = (wanted - 1) / 2;
        const centre = Math.max(half, Math.min(count - 1 - half, Math.floor(i / tile)));
        return Math.abs(Math.floor(j / tile) - centre) <= half;
      };
    for (const layout of layouts)
      expect(slidingTile({ tile: [1, 2, 4], window: [3, 3, 1] })(layout)).toEqual(byAxes(rule(1, 3), rule(2, 3), rule(4, 1))(layout));
  });

  const neighbours = (window: number, stride = 1, dilation = 1) =>
    neighborhood({ window: [window, 1, 8], stride: [stride, 1, 1], dilation: [dilation, 1, 1] });
  test('a neighbourhood has one size, moved inside at the borders', () => {
    expect(rows(neighbours(3), line(6))).toEqual([
      [0, 1, 2],
      [0, 1, 2],
      [1, 2, 3],
      [2, 3, 4],
      [3, 4, 5],
      [3, 4, 5],
    ]);
    expect(rows(neighbours(4), line(6)).map(([first]) => first)).toEqual([0, 0, 0, 1, 2, 2]);
  });
  test('queries of a stride share the window round their middle', () => {
    expect(rows(neighbours(4, 4), line(10)).map(([first]) => first)).toEqual([0, 0, 0, 0, 4, 4, 4, 4, 6, 6]);
    expect(rows(neighbours(4, 4), line(10)).every((read) => read.length === 4)).toBe(true);
  });
  test('a dilation reads every so-manieth token', () => {
    expect(rows(neighbours(2, 1, 3), line(8))).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
      [0, 3],
      [1, 4],
      [2, 5],
      [3, 6],
      [4, 7],
    ]);
  });
  test('a neighbourhood by the twin over tokens', () => {
    const rule =
      (wanted: number, stride: number): AxisRule =>
      (i, j, size) => {
        const middle = Math.min(i - (i % stride) + Math.floor(stride / 2), size - 1);
        let start = middle - Math.floor(wanted / 2);
        while (start + wanted > size) start--;
        start = Math.max(0, start);
        return j >= start && j < start + wanted;
      };
    for (const layout of layouts)
      expect(neighborhood({ window: [3, 4, 2], stride: [2, 3, 1] })(layout)).toEqual(byAxes(rule(3, 2), rule(4, 3), rule(2, 1))(layout));
  });
});

describe('bands', () => {
  test('the density is what is kept, in either order', () => {
    const of = grid(16, 16, 16);
    for (const density of [0.25, 0.5, 0.75]) {
      expect(share(frameBand({ density }), both(raster(64)(of)))).toBeCloseTo(density, 1);
      expect(share(placeBand({ density }), both(places(64)(of)))).toBeCloseTo(density, 1);
    }
    expect(share(frameBand({ density: 1 }), both(raster(64)(of)))).toBe(1);
  });
  test('a band of four blocks by hand: N = 32, 32 (1 - sqrt(.75)) = 4.3 tokens', () => {
    expect(rows(frameBand(), line(4))).toEqual([[0], [1], [2], [3]]);
    // 32 (1 - sqrt(.4)) = 11.8 tokens: of the next block 64 - 10 of 64 pairs, of the one after it 6.
    expect(rows(frameBand({ density: 0.6 }), line(4))).toEqual([
      [0, 1],
      [0, 1, 2],
      [1, 2, 3],
      [2, 3],
    ]);
  });
  test('a band of places reads one place in all frames', () => {
    const layout = both(tiles(4, 1, 2)(grid(8, 1, 8)));
    for (const [block, read] of rows(placeBand({ density: 0.25 }), layout).entries()) {
      expect(read).toContain((block + 4) % 8);
      expect(read.some((other) => Math.abs((other % 4) - (block % 4)) > 1)).toBe(false);
    }
  });
  test('at least half of the pairs of true tokens, by the twin', () => {
    for (const layout of layouts) {
      const { q, k } = layout;
      const most = q.grid.frames * q.grid.height * q.grid.width * (1 - Math.sqrt(0.6));
      const [mask] = frameBand({ density: 0.4 })(layout);
      for (const [at, read] of mask.entries()) {
        const [query, key] = [Math.floor(at / k.blocks), at % k.blocks];
        if (query >= q.videoBlocks || key >= k.videoBlocks) continue;
        const near = [...tokensOfBlock(q, query)].flatMap((a) => [...tokensOfBlock(k, key)].map((b) => Number(Math.abs(a - b) <= most)));
        expect(read).toBe(Number(near.reduce((sum, one) => sum + one, 0) >= near.length / 2));
      }
    }
  });
});

describe('radial', () => {
  test('windows by hand: 100 tokens a frame, so s = 128', () => {
    // d = 2, 3: 128 / 4 = 32; d = 4..7: 16; d = 8: 8.
    expect(radialWindows(9, 100, 8, 0.5, 1)).toEqual([100, 100, 16, 16, 8, 8, 8, 8, 8]);
    // Blocks of 32: 16 is half a block, so every second distance; 8 a quarter.
    expect(radialWindows(9, 100, 32, 0.5, 1)).toEqual([100, 100, 32, 32, 32, -1, 32, -1, 32]);
    // The limit is the block, not 128.
    expect(radialWindows(9, 100, 64, 0.5, 0.5)).toEqual([100, 50, 64, -1, 64, -1, -1, -1, 64]);
    // s is above the tokens of a frame, even of a power of two.
    expect(radialWindows(3, 64, 8, 1, 1)[2]).toBe(32);
  });

  test('both density tests over true tokens, by the twin', () => {
    for (const layout of [...layouts, both(raster(64)(grid(13, 17, 9)))]) {
      const { q, k } = layout;
      const perFrame = q.grid.height * q.grid.width;
      const windows = radialWindows(q.grid.frames, perFrame, k.block, 0.3, 1);
      const seen = (a: number, b: number) =>
        Math.abs((a % perFrame) - (b % perFrame)) <= windows[Math.abs(Math.floor(a / perFrame) - Math.floor(b / perFrame))];
      const [mask] = radial({ decay: 0.3 })(layout);
      for (let query = 0; query < q.videoBlocks; query++)
        for (let key = 0; key < k.videoBlocks; key++) {
          const queries = [...tokensOfBlock(q, query)];
          const columns = [...tokensOfBlock(k, key)].map((b) => queries.filter((a) => seen(a, b)).length / queries.length);
          const hit = columns.filter((part) => part > 0).length;
          const dense = columns.filter((part) => part > 1 / 3).length;
          expect(mask[query * k.blocks + key]).toBe(Number(hit > 0 && dense / hit > 0.6));
        }
    }
  });

  test('each shape has a pattern of its own, by one and the same stage', () => {
    const score = pattern(radial(), firstFrame());
    const [small, large] = [grid(5, 7, 9), grid(13, 17, 9)].map((of) => both(raster(64)(of)));
    const widths = [small, large, small].map((layout) => score.forced!(layout));
    expect(widths[0]).toBe(widths[2]);
    expect(widths[1]).toBeGreaterThan(widths[0]);
    expect(widths[1]).toBeLessThan(large.k.blocks);
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
