// What the tests of patterns share: small grids in many layouts, masks as lists, and a naive twin over tokens.
import type { Layouts } from '../../src/method.ts';
import { type AxisRule, placeOf } from '../../src/search/boxes.ts';
import type { Pattern } from '../../src/search/pattern.ts';
import { curve, places, raster, tiles } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, tokensOfBlock } from '../../src/sparse3d/plan.ts';

export const grid = (frames: number, height: number, width: number, text = 0): Grid => ({ frames, height, width, text });
export const both = (layout: Layout): Layouts => ({ q: layout, k: layout });

/** What each query block reads, by the mask of a head. */
export function rows(of: Pattern, layout: Layouts, head = 0): number[][] {
  const mask = of(layout)[head];
  return Array.from({ length: layout.q.blocks }, (_, row) =>
    [...mask.subarray(row * layout.k.blocks, (row + 1) * layout.k.blocks)].flatMap((read, block) => (read ? [block] : [])),
  );
}
export const share = (of: Pattern, layout: Layouts): number => {
  const [mask] = of(layout);
  return mask.reduce((sum, read) => sum + read, 0) / mask.length;
};

/** Blocks of 8 tokens in a line, one block a frame. */
export const line = (frames: number, text = 0): Layouts => both(tiles(1, 1, 8)(grid(frames, 1, 8, text)));
const odd = [grid(5, 7, 9), grid(5, 7, 9, 13), grid(1, 2, 3), grid(1, 1, 1)];
export const layouts: readonly Layouts[] = odd.flatMap((of) => [
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
export const byAxes = (...rules: readonly AxisRule[]): Pattern =>
  byTokens((a, b, of) => {
    const [from, to] = [placeOf(a, of), placeOf(b, of)];
    return rules.every((rule, axis) => rule(from[axis], to[axis], [of.frames, of.height, of.width][axis]));
  });
