// What operations of probed rows have in common: rows that hold tokens, groups of neighbouring slots and their shares, sizes of lines.
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { checkShape } from './checks.ts';

/** @throws RangeError for a stride that does not cut the blocks in whole groups. */
export function checkStride(stride: number, layout: { readonly q: Layout; readonly k: Layout }): void {
  for (const { block } of [layout.q, layout.k])
    if (!Number.isInteger(stride) || stride < 1 || block % stride !== 0)
      throw new RangeError(`a stride of ${stride} does not cut blocks of ${block} slots in groups; choose a divisor, such as 8`);
}

/** Share of real tokens in each group of `stride` slots of a layout; stride 1 tells tokens (1) from padding (0). */
export function groupShares({ blocks, block, counts }: Layout, stride: number): Float32Array {
  const groups = block / stride;
  return Float32Array.from({ length: blocks * groups }, (_, group) => {
    const before = (group % groups) * stride;
    return Math.max(0, Math.min(stride, counts[Math.floor(group / groups)] - before)) / stride;
  });
}

/** @throws RangeError for no rows, or a row that is no slot of a token. */
export function checkRows(rows: Int32Array, { block, blocks, counts }: Layout): void {
  if (rows.length === 0) throw new RangeError('a probe without rows finds nothing; give at least one slot of a query');
  for (const slot of rows)
    if (!(slot >= 0 && slot < blocks * block && slot % block < counts[Math.floor(slot / block)]))
      throw new RangeError(`slot ${slot} holds no token of the ${blocks} query blocks of ${block}; probe slots that hold one`);
}

/** @throws RangeError unless keys and values are blocked by the layout and fit the rows [heads, n, dim]; TypeError unless the rows are f32. */
export function checkError(rows: Tensor, k: Tensor, layout: Layout, v?: Tensor): void {
  const [heads, , dim] = rows.shape;
  if (rows.dtype !== 'f32') throw new TypeError(`rows of means are f32, got ${rows.dtype}; cast them`);
  checkShape('k', k, [heads, layout.blocks * layout.block, dim]);
  if (v) checkShape('v', v, [heads, layout.blocks * layout.block, v.shape[2]]);
}

/** @throws RangeError for tables of unlike shapes; TypeError unless both are f32. */
export function checkShares(a: Tensor, b: Tensor): void {
  if (a.dtype !== 'f32' || b.dtype !== 'f32') throw new TypeError(`shares are f32, got ${a.dtype} and ${b.dtype}; cast them`);
  checkShape('b', b, a.shape);
}

/** Shapes of what is summed along columns and diagonals of block pairs. */
export const lineShapes = (heads: number, { q, k }: { readonly q: Layout; readonly k: Layout }) => [
  { shape: [heads, 1, k.blocks] },
  { shape: [heads, 1, q.blocks + k.blocks - 1] },
];
