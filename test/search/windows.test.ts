// Windows, bands and the radial pattern: hand-worked cases, and twins over tokens on grids that do not divide.
import { describe, expect, test } from 'vitest';
import { referenceBackend } from '../../src/conformance/reference-backend.ts';
import type { Method } from '../../src/method.ts';
import * as presets from '../../src/methods.ts';
import { frameBand, placeBand, radial, radialWindows } from '../../src/search/bands.ts';
import { type AxisRule, boxesOf } from '../../src/search/boxes.ts';
import { pattern } from '../../src/search/pattern.ts';
import { firstFrame } from '../../src/search/patterns.ts';
import { neighborhood, slidingTile, window } from '../../src/search/windows.ts';
import { places, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, tokensOfBlock } from '../../src/sparse3d/plan.ts';
import { both, byAxes, grid, layouts, line, rows, share } from './masks.ts';

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

  test('groups of queries as wide as tiles make a neighbourhood sliding tiles where tiles divide the grid, and not where they do not', () => {
    const made = [slidingTile({ tile: [4, 4, 4] }), neighborhood({ window: [12, 12, 12], stride: [4, 4, 4] })] as const;
    const [sliding, shared] = made.map((pattern) => (of: Grid) => pattern(both(tiles(4, 4, 4)(of))));
    for (const of of [grid(16, 20, 24), grid(8, 16, 16)]) expect(shared(of)).toEqual(sliding(of));
    expect(shared(grid(13, 20, 20))).not.toEqual(sliding(grid(13, 20, 20)));
  });

  test('the presets of both read other blocks, on grids of the embedded model too', async () => {
    const read = (method: Method, of: Grid) => {
      const site = { step: 1, steps: 2, layer: 0, layers: 1, branches: [0], grid: of };
      const q = referenceBackend.upload(new Float32Array(1), [1, 1, 1]);
      const layout = both(method.layout(of, site) as Layout);
      return referenceBackend.read(method.score({ ops: referenceBackend, q, k: q, v: q, layout, site, memory: {} }));
    };
    for (const of of [grid(9, 16, 16), grid(13, 20, 20)])
      expect(await read(presets.neighborhood(), of)).not.toEqual(await read(presets.slidingTile(), of));
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
