// Methods that give each head an order of its own: made from q and k at a search, and kept, with its plan, until the next.
import type { Call, Layouts, Memory, Method, Tokens } from './method.ts';
import { tensorsOf } from './sparse3d/heads.ts';
import type { Tensor } from './tensor.ts';

/** @throws RangeError when a method keeps from search to search what is of one order alone. */
export function checkHeads({ name, layout, score }: Method): void {
  if (layout.byHead && score.needsLse)
    throw new RangeError(
      `the method ${name} gives each head an order of its own at each search, and scores by a log-sum-exp kept in the order of the first; choose a layout of the grid, or a scorer without it`,
    );
}

/** The orders of one call of such a method: at a search new ones, in the place of those before. */
export function headLayouts({ layout: stage }: Method, due: 'search' | 'reuse', tokens: Tokens): Layouts {
  const { ops, memory, site } = tokens;
  if (due === 'reuse') return memory.layout!;
  const made = ops.scope(() => stage(site.grid, site, tokens));
  const layout = 'q' in made ? made : { q: made, k: made };
  if (memory.layout) for (const tensor of tensorsOf(memory.layout)) ops.release(tensor);
  for (const tensor of tensorsOf(layout)) ops.keep(tensor);
  memory.layout = layout;
  return layout;
}

/** Scores that forbid key blocks without tokens. */
export function withoutEmpty({ ops, layout }: Call, scores: Tensor): Tensor {
  const lnCounts = layout.k.heads?.lnCounts;
  return lnCounts ? ops.force(scores, ops.step(lnCounts, -0.5, -Infinity, 0)) : scores;
}

/** What a memory holds on the device. */
export function tensorsIn({ plan, lse, residual, layout, centers }: Memory): readonly Tensor[] {
  const held = [plan?.counts, plan?.blocks, lse, residual, centers?.q, centers?.k, ...(layout ? tensorsOf(layout) : [])];
  return held.filter((tensor) => tensor !== undefined);
}
