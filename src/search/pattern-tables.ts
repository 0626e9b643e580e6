// What patterns are kept as: masks made once for a pair of layouts, and tables uploaded once for each backend.
import type { Backend } from '../backend/backend.ts';
import type { Layouts } from '../method.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import type { Mask, Pattern } from './pattern.ts';
import { ownBlock } from './patterns.ts';

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

/** Masks of a pattern as numbers on a backend. */
export interface Tables {
  /** f32 [choices, qBlocks, kBlocks]. */
  readonly tables: Tensor;
}

/** A pattern's tables on each backend, `read` where a pair is read and `elsewhere` where not; and the most pairs of a row, whole ones aside. */
export function tablesOf(pattern: Pattern, elsewhere: number, read = Infinity) {
  const masksOf = perLayouts(pattern);
  const of = perBackend((ops, layout): Tables => {
    const masks = masksOf(layout);
    const size = layout.q.blocks * layout.k.blocks;
    const numbers = new Float32Array(masks.length * size);
    for (const [choice, mask] of masks.entries())
      for (let at = 0; at < size; at++) numbers[choice * size + at] = mask[at] ? read : elsewhere;
    const tables = ops.keep(ops.upload(numbers, [masks.length, layout.q.blocks, layout.k.blocks]));
    return { tables };
  });
  const most = perLayouts((layout) => Math.max(...masksOf(layout).map((mask) => mostOf(mask, layout))));
  return Object.assign(of, { most, masks: masksOf });
}

/** Tables by head, [heads, qBlocks, kBlocks]: heads take the choices in turn. */
export function inTurn(ops: Backend, { tables }: Tables, heads: number): Tensor {
  const choice = Int32Array.from({ length: heads }, (_, head) => head % tables.shape[0]);
  return ops.pick(tables, ops.upload(choice, [heads]));
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

/** Keeps what is made on a backend for a pair of layouts as long as all three live. */
export function perBackend<Made>(make: (ops: Backend, layout: Layouts) => Made): (ops: Backend, layout: Layouts) => Made {
  const backends = new WeakMap<Backend, (layout: Layouts) => Made>();
  return (ops, layout) => entry(backends, ops, () => perLayouts((of) => make(ops, of)))(layout);
}

/** Keeps what is made for a pair of layouts as long as both live. */
export function perLayouts<Made>(make: (layout: Layouts) => Made): (layout: Layouts) => Made {
  const known = new WeakMap<Layout, WeakMap<Layout, { readonly made: Made }>>();
  return ({ q, k }) =>
    entry(
      entry(known, q, () => new WeakMap<Layout, { readonly made: Made }>()),
      k,
      () => ({ made: make({ q, k }) }),
    ).made;
}

function entry<K extends object, V>(map: WeakMap<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
