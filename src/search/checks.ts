// What the search operations take, checked at the border of every backend.
import type { Selection } from '../backend/backend.ts';
import type { Layout, Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

/** @throws RangeError unless q and k are blocked by their layouts, with equal heads and dim; TypeError unless both are stored as f32 or as f16. */
export function checkPair(q: Tensor, k: Tensor, layout: { readonly q: Layout; readonly k: Layout }): void {
  checkBlocked('q', q, layout.q);
  if (q.dtype !== k.dtype || q.dtype === 'i32')
    throw new TypeError(`scores need q and k both as f32 or f16, got ${q.dtype} and ${k.dtype}; cast one`);
  checkShape('k', k, [q.shape[0], layout.k.blocks * layout.k.block, q.shape[2]]);
}

/** @throws RangeError unless x is [heads, slots, dim]. */
export function checkBlocked(name: string, x: Tensor, layout: Layout): void {
  checkShape(name, x, [x.shape[0], layout.blocks * layout.block, x.shape[2]]);
}

/** @throws RangeError for another shape. */
export function checkShape(name: string, { shape }: Tensor, expected: readonly number[]): void {
  if (shape.length !== expected.length || shape.some((size, axis) => size !== expected[axis]))
    throw new RangeError(`${name} has shape [${shape}], expected [${expected}] to fit the layout or table that it goes with`);
}

/** @throws RangeError for a selection that does not fit a score table [heads, qBlocks, kBlocks]. */
export function checkSelection({ shape: [heads, , kBlocks] }: Tensor, { levels, cap, budgets, measure, over = 'row' }: Selection): void {
  if (levels.length === 0) throw new RangeError('a selection needs at least one level; use upTo(1) to read everything');
  if (budgets && levels.length > 1) throw new RangeError(`head budgets scale one cut, got ${levels.length} levels; use upTo(share)`);
  if (measure === 'margin' && (over !== 'row' || budgets))
    throw new RangeError(
      `a margin is one distance for each row, got ${budgets ? 'head budgets' : over}; leave that out, or choose rank or mass`,
    );
  if (over === 'layer' && budgets) throw new RangeError('head budgets cannot hold over a layer, which has one; choose row or head');
  if (cap) checkShape('cap', cap, [heads, kBlocks]);
  if (budgets) checkShape('budgets', budgets, [heads]);
}

/** @throws RangeError for a plan that is not one of a score table [heads, qBlocks, kBlocks]. */
export function checkPlanOf({ shape: [heads, qBlocks] }: Tensor, { counts, blocks, levels }: Plan): void {
  checkShape('counts', counts, [heads, qBlocks, levels.length]);
  checkShape('blocks', blocks, [heads, qBlocks, blocks.shape[2]]);
}

/** @throws RangeError unless rows are whole vectors of four numbers, as the kernels of a GPU read them. */
export function checkDim({ shape }: Tensor): void {
  if (shape[2] % 4 !== 0)
    throw new RangeError(`the search on a GPU takes a head dimension that is a multiple of 4, got [${shape}]; fill it up with zeros`);
}
