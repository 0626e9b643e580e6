// Query blocks of more tokens than key blocks: any method in another cut of its own token order.
import { checkMethod, shown } from './checks.ts';
import type { LayoutStage, Method } from './method.ts';
import { type Layout, PAD, tokensOfBlock } from './sparse3d/plan.ts';

/**
 * The same method with query blocks of so many tokens, which follow each other in its order; key blocks stay as they are. One row of the plan
 * then serves more queries. On a GPU with subgroup matrices attention takes 128 rows that follow one plan row faster than two times 64; block
 * pairs are scored and kept as coarsely, which costs quality at equal density: least where 128 tokens that follow each other are near. Error on
 * the embedded model with .8 left out (one prompt, few steps and layers), by 64 and by 128 queries, at 256 x 256 x 33: adaSpa in raster order
 * .098 and .210, over `columns(2, 4)` .108 and .139, pyramidSparse .122 and .183; at 320 x 320 x 49 adaSpa .120 and .187, pyramidSparse
 * .080 and .085.
 * @param method With a layout of the grid.
 * @param tokens A multiple of the method's own block. Default 128.
 * @throws TypeError for what is no method; RangeError for other tokens, once a layout is made at the latest, and for a method that gives each
 * head an order of its own.
 */
export const withQueryBlocks = (method: Method, tokens = 128): Method => {
  checkMethod(method);
  if (!Number.isInteger(tokens) || tokens <= 0 || tokens % 8 !== 0)
    throw new RangeError(
      `query blocks of ${shown(tokens)} tokens are not possible; give a multiple of the method's own block, such as 128`,
    );
  if (method.layout.byHead)
    throw new RangeError(
      `the method ${method.name} finds the blocks of each head from its queries, and they are not joined to ${tokens} tokens; leave that out, or choose a layout of the grid`,
    );
  const layout: LayoutStage = (grid, site, seen) => {
    const made = method.layout(grid, site, seen);
    const { q, k } = 'q' in made ? made : { q: made, k: made };
    return { q: joined(q, tokens), k };
  };
  return { ...method, layout };
};

const known = new WeakMap<Layout, Map<number, Layout>>();

/** A layout whose blocks that follow each other are joined to blocks of so many slots; those of video and of text stay apart. */
function joined(layout: Layout, block: number): Layout {
  if (block === layout.block) return layout;
  if (block % layout.block !== 0)
    throw new RangeError(
      `query blocks of ${block} tokens are no whole blocks of ${layout.name}; give a multiple of its ${layout.block} slots`,
    );
  const sizes = known.get(layout) ?? new Map<number, Layout>();
  known.set(layout, sizes);
  const made = sizes.get(block) ?? join(layout, block);
  sizes.set(block, made);
  return made;
}

function join(layout: Layout, block: number): Layout {
  const { name, grid, blocks, videoBlocks, counts } = layout;
  const starts = (from: number, to: number) => {
    const each = block / layout.block;
    return Array.from({ length: Math.ceil((to - from) / each) }, (_, at) => [from + at * each, Math.min(from + (at + 1) * each, to)]);
  };
  const video = starts(0, videoBlocks);
  const all = [...video, ...starts(videoBlocks, blocks)];
  const order = new Int32Array(all.length * block).fill(PAD);
  for (const [index, [from, to]] of all.entries())
    for (let own = from, at = index * block; own < to; at += counts[own++]) order.set(tokensOfBlock(layout, own), at);
  return {
    ...{ name: `${name}, queries by ${block}`, grid, block, blocks: all.length, videoBlocks: video.length, order },
    counts: Int32Array.from(all, ([from, to]) => counts.subarray(from, to).reduce((sum, own) => sum + own, 0)),
  };
}
