// What patterns are kept as: masks made once for a pair of layouts, and tables uploaded once for each backend.
import type { Backend } from '../backend/backend.ts';
import type { Layouts } from '../method.ts';
import type { Tensor } from '../tensor.ts';
import type { Mask, Pattern } from './pattern.ts';
import { ownBlock } from './patterns.ts';
import { perBackend, perLayouts } from './tables.ts';

/** A pattern of which rows that would be empty read their own blocks. */
export function neverEmpty(pattern: Pattern): Pattern {
  const ownOf = perLayouts((layout) => ownBlock()(layout)[0]);
  return (layout) =>
    pattern(layout).map((mask) => {
      const { q, k } = layout;
      const whole = mask.slice();
      for (let row = 0; row < q.blocks; row++) {
        const [from, to] = [row * k.blocks, (row + 1) * k.blocks];
        if (!mask.subarray(from, to).includes(1)) whole.set(ownOf(layout).subarray(from, to), from);
      }
      return whole;
    });
}

/**
 * A pattern's tables on each backend, f32 [choices, qBlocks, kBlocks], `read` where a pair is read and `elsewhere` where not; the most pairs of a
 * row, whole ones aside; and the share of all pairs, on the mean of the choices.
 */
export function tablesOf(pattern: Pattern, elsewhere: number, read = Infinity) {
  const masksOf = perLayouts(pattern);
  const of = perBackend((ops, layout): Tensor => {
    const masks = masksOf(layout);
    const size = layout.q.blocks * layout.k.blocks;
    const numbers = new Float32Array(masks.length * size);
    for (const [choice, mask] of masks.entries())
      for (let at = 0; at < size; at++) numbers[choice * size + at] = mask[at] ? read : elsewhere;
    return ops.keep(ops.upload(numbers, [masks.length, layout.q.blocks, layout.k.blocks]));
  });
  const most = perLayouts((layout) => Math.max(...masksOf(layout).map((mask) => mostOf(mask, layout))));
  const share = perLayouts((layout) => masksOf(layout).reduce((sum, mask) => sum + readOf(mask), 0) / masksOf(layout).length);
  return Object.assign(of, { most, share, masks: masksOf });
}

const readOf = (mask: Mask): number => mask.reduce((sum, read) => sum + read, 0) / mask.length;

/** Tables by head, [heads, qBlocks, kBlocks]: heads take the choices in turn. */
export const inTurn = (ops: Backend, tables: Tensor, heads: number): Tensor => ops.pick(tables, turnsOf(ops, tables.shape[0], heads));

const turns = new WeakMap<Backend, Map<string, Tensor>>();

/** Head h's choice h mod `choices`, i32 [heads], uploaded once. */
function turnsOf(ops: Backend, choices: number, heads: number): Tensor {
  const known = turns.get(ops) ?? new Map<string, Tensor>();
  turns.set(ops, known);
  const key = `${choices}/${heads}`;
  const made =
    known.get(key) ??
    ops.keep(
      ops.upload(
        Int32Array.from({ length: heads }, (_, head) => head % choices),
        [heads],
      ),
    );
  known.set(key, made);
  return made;
}

function mostOf(mask: Mask, { q, k }: Layouts): number {
  let most = 0;
  for (let row = 0; row < q.blocks; row++) {
    let count = 0;
    for (let at = row * k.blocks; at < (row + 1) * k.blocks; at++) count += mask[at];
    if (count < k.blocks) most = Math.max(most, count);
  }
  return most;
}
