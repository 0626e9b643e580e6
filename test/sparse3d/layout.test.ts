import { describe, expect, test } from 'vitest';
import { columns, curve, cyclic, places, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, PAD, tokensOf } from '../../src/sparse3d/plan.ts';

const layouts = {
  raster: raster(64),
  tiles: tiles(4, 4, 4),
  flat: tiles(1, 8, 8),
  deep: tiles(8, 2, 4),
  curve: curve(64),
  small: curve(16),
  places: places(64),
  cut: tiles(6, 8, 8, { block: 64 }),
  deepest: tiles(Infinity, 3, 5, { block: 32 }),
  columns: columns(2, 4),
};
const grids = [
  [21, 30, 52],
  [13, 17, 9],
  [1, 1, 1],
  [1, 8, 8],
  [3, 1, 70],
];

describe.each(Object.entries(layouts))('%s', (_, layout) => {
  test.each(grids)('%i x %i x %i puts every token in one slot', (frames, height, width) => {
    for (const text of [0, 77, 256]) {
      const grid: Grid = { frames, height, width, text };
      const { block, blocks, videoBlocks, order, counts } = layout(grid);
      expect(order.length).toBe(blocks * block);
      const tokens = [...order].filter((token) => token !== PAD);
      expect([...new Set(tokens)].sort((a, b) => a - b)).toEqual(Array.from({ length: tokensOf(grid) }, (__, token) => token));
      expect(tokens.length).toBe(tokensOf(grid));
      for (let b = 0; b < blocks; b++) {
        const slots = order.subarray(b * block, (b + 1) * block);
        expect(counts[b]).toBeGreaterThan(0);
        expect(slots.subarray(0, counts[b]).every((token) => token !== PAD && token >= tokensOf(grid) - text === b >= videoBlocks)).toBe(
          true,
        );
        expect(slots.subarray(counts[b]).every((token) => token === PAD)).toBe(true);
      }
      expect(blocks - videoBlocks).toBe(Math.ceil(text / block));
    }
  });
  test('is made once for a grid shape', () => {
    expect(layout({ frames: 2, height: 8, width: 8, text: 1 })).toBe(layout({ frames: 2, height: 8, width: 8, text: 1 }));
  });
});

/** Steps of the curve through a box: the largest change of one coordinate and how many steps change more than one. */
function steps(frames: number, height: number, width: number) {
  const { order } = curve(8)({ frames, height, width, text: 0 });
  const path = [...order].filter((token) => token !== PAD);
  const cell = (token: number) => [Math.floor(token / (height * width)), Math.floor(token / width) % height, token % width];
  let [largest, diagonal] = [0, 0];
  for (let i = 1; i < path.length; i++) {
    const [a, b] = [cell(path[i - 1]), cell(path[i])];
    const change = a.map((x, axis) => Math.abs(x - b[axis]));
    largest = Math.max(largest, ...change);
    if (change[0] + change[1] + change[2] !== 1) diagonal++;
  }
  return { largest, diagonal };
}

test.each([
  [8, 8, 8],
  [16, 18, 18],
  [4, 30, 52],
  [1, 1, 50],
  [2, 2, 2],
  [6, 10, 4],
])('the curve through an even box %i x %i x %i moves to a neighbour at every step', (frames, height, width) => {
  expect(steps(frames, height, width)).toEqual({ largest: 1, diagonal: 0 });
});

test.each([
  [21, 30, 52],
  [13, 17, 9],
  [5, 3, 7],
  [1, 9, 6],
])('the curve through an odd box %i x %i x %i makes at most one diagonal step in 16 and never jumps', (frames, height, width) => {
  const { largest, diagonal } = steps(frames, height, width);
  expect(largest).toBeLessThanOrEqual(1);
  expect(diagonal).toBeLessThanOrEqual((frames * height * width) / 16);
});

test('a block that is no multiple of 8 is refused', () => {
  expect(() => raster(60)).toThrow('a block of 60 tokens is not a positive multiple of 8');
  expect(() => tiles(3, 3, 3)).toThrow('a block of 27 tokens is not a positive multiple of 8');
});
test('a tile of any size is cut in blocks of its own', () => {
  const { counts, tile } = tiles(3, 3, 3, { block: 16 })({ frames: 3, height: 3, width: 4, text: 0 });
  expect([...counts]).toEqual([16, 11, 9]);
  expect(tile).toBeUndefined();
  expect(tiles(1, 2, 4)({ frames: 3, height: 3, width: 5, text: 0 }).tile).toEqual([1, 2, 4]);
  expect(() => tiles(3, 3, 3, { block: 20 })).toThrow('a block of 20 tokens');
  expect(() => tiles(2.5, 4, 4, { block: 64 })).toThrow('a tile of 2.5 x 4 x 4 tokens is not possible');
  expect(() => tiles(Infinity, 4, 4)).toThrow('a block of Infinity tokens');
});
test('in place order the frames of a place follow each other', () => {
  const { order } = places(8)({ frames: 3, height: 2, width: 2, text: 3 });
  expect([...order]).toEqual([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, ...Array(4).fill(PAD), 12, 13, 14, ...Array(5).fill(PAD)]);
});
test('columns run through all frames, there and back, and leave no gaps', () => {
  const { order, counts } = columns(1, 2, 8)({ frames: 3, height: 2, width: 4, text: 3 });
  // Tokens of a frame: 0 1 2 3 over 4 5 6 7. Two columns of the upper row, then the right one of the lower.
  expect([...order]).toEqual([
    ...[0, 1, 8, 9, 16, 17, 18, 19],
    ...[10, 11, 2, 3, 6, 7, 14, 15],
    ...[22, 23, 20, 21, 12, 13, 4, 5],
    ...[24, 25, 26, PAD, PAD, PAD, PAD, PAD],
  ]);
  expect([...counts]).toEqual([8, 8, 8, 3]);
  expect(columns(2, 4)({ frames: 13, height: 20, width: 20, text: 0 }).blocks).toBe(82);
  expect(() => columns(2, 0)).toThrow('a column of 2 x 0 places is not possible');
});
test('layers take layouts in turn', () => {
  const grid: Grid = { frames: 2, height: 8, width: 8, text: 0 };
  const [flat, deep] = [tiles(1, 8, 8), tiles(8, 2, 4)];
  const taken = [0, 1, 2].map((layer) => cyclic(flat, deep)(grid, { step: 0, steps: 1, layer, layers: 3, branches: [0], grid }));
  expect(taken).toEqual([flat(grid), deep(grid), flat(grid)]);
  expect(() => cyclic()).toThrow('cyclic got no layouts');
});
test('a grid without tokens is refused', () => {
  expect(() => raster(64)({ frames: 0, height: 4, width: 4, text: 0 })).toThrow(RangeError);
});
