// What the operations on tokens and blocks take, checked at the border of every backend.
import type { Tensor } from '../tensor.ts';
import { type Layout, type Plan, slotCount, tokensOf } from './plan.ts';

/** @throws RangeError unless there are parts, all of one shape, with one weight for each; TypeError unless they are f32. */
export function checkCombine(parts: readonly Tensor[], weights: readonly number[]): void {
  if (parts.length === 0 || parts.length !== weights.length)
    throw new RangeError(
      `combine takes at least one part, and one weight for each, got ${parts.length} parts and ${weights.length} weights`,
    );
  const [first] = parts;
  for (const { shape, dtype } of parts) {
    if (dtype !== 'f32') throw new TypeError(`combine takes parts of f32, got ${dtype} [${shape}]; cast it first`);
    if (`${shape}` !== `${first.shape}`) throw new RangeError(`combine takes parts of one shape, got [${first.shape}] and [${shape}]`);
  }
}

/** @throws RangeError unless x is raster: [heads, tokens, dim] or [heads, tokens]. */
export function checkRaster(x: Tensor, layout: Layout): void {
  const tokens = tokensOf(layout.grid);
  if (x.shape.length < 2 || x.shape.length > 3 || x.shape[1] !== tokens)
    throw new RangeError(
      `gather takes [heads, ${tokens}, dim] or [heads, ${tokens}] for this layout of ${tokens} tokens, got [${x.shape}]`,
    );
}

/** @throws RangeError unless x is blocked: [heads, slots, dim] or [heads, slots]. */
export function checkBlocked(x: Tensor, layout: Layout): void {
  const slots = slotCount(layout);
  if (x.shape.length < 2 || x.shape.length > 3 || x.shape[1] !== slots)
    throw new RangeError(`scatter takes [heads, ${slots}, dim] or [heads, ${slots}] for this layout of ${slots} slots, got [${x.shape}]`);
}

/** @throws RangeError unless q, k and v are alike, with as many rows as given; TypeError for integers. */
export function checkAttention(op: string, q: Tensor, k: Tensor, v: Tensor, rows?: { readonly q: number; readonly k: number }): void {
  const [heads, queries, dim] = q.shape;
  if (q.shape.length !== 3 || dim % 8 !== 0)
    throw new RangeError(`attention takes q [heads, tokens, dim] with dim a multiple of 8, got [${q.shape}]`);
  if ([...q.shape, ...k.shape].includes(0))
    throw new RangeError(`attention takes at least one head, query and key, got q [${q.shape}] and k [${k.shape}]`);
  if (q.dtype === 'i32') throw new TypeError(`attention takes q of f32 or f16, got i32 [${q.shape}]`);
  const keys = rows?.k ?? k.shape[1];
  checkShape(op, 'q', q, q.dtype, [heads, rows?.q ?? queries, dim]);
  checkShape(op, 'k', k, q.dtype, [heads, keys, dim]);
  checkShape(op, 'v', v, q.dtype, [heads, keys, dim]);
}

function checkShape(op: string, name: string, tensor: Tensor, dtype: string, shape: readonly number[]): void {
  if (tensor.dtype !== dtype || tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis]))
    throw new RangeError(`${op} needs ${name} as ${dtype} [${shape}] to match q and the layout, got ${tensor.dtype} [${tensor.shape}]`);
}

/** @throws RangeError unless the plan is one for `heads` on these layouts. */
export function checkPlan({ counts, blocks, levels }: Plan, heads: number, layout: { q: Layout; k: Layout }): void {
  const rows = [heads, layout.q.blocks];
  const width = blocks.shape[2];
  if (`${counts.shape}` !== `${[...rows, levels.length]}` || `${blocks.shape}` !== `${[...rows, width]}` || width > layout.k.blocks)
    throw new RangeError(
      `a plan for ${heads} heads on these layouts has counts [${rows},${levels.length}] and blocks [${rows},${layout.k.blocks} or less], got [${counts.shape}] and [${blocks.shape}]`,
    );
  for (const { pool } of levels)
    if (!Number.isInteger(pool) || pool < 1 || layout.k.block % pool !== 0)
      throw new RangeError(`a level of pool ${pool} does not divide the block of ${layout.k.block} keys; use a divisor`);
}

/** @throws RangeError when x does not split in `parts`. */
export function checkSplit(x: Tensor, parts: number): void {
  if (parts < 1 || x.shape[0] % parts !== 0)
    throw new RangeError(`a tensor of shape [${x.shape}] does not split in ${parts} equal parts along its first axis`);
}
