// What scorers derive from layouts, made once: on the host, or as tables on a backend.
import type { Backend } from '../backend/backend.ts';
import type { Layouts } from '../method.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

export interface Table {
  readonly numbers: Float32Array;
  readonly shape: readonly number[];
}

/** The table of a layout on a backend, made at the first call. */
export function keptTable(make: (layout: Layout) => Table): (ops: Backend, layout: Layout) => Tensor {
  const kept = perBackend((ops, { q }) => {
    const { numbers, shape } = make(q);
    return ops.keep(ops.upload(numbers, shape));
  });
  return (ops, layout) => kept(ops, { q: layout, k: layout });
}

/** Keeps what is made on a backend for a pair of layouts as long as all three live. */
export function perBackend<Made>(make: (ops: Backend, layout: Layouts) => Made): (ops: Backend, layout: Layouts) => Made {
  const backends = new WeakMap<Backend, (layout: Layouts) => Made>();
  return (ops, layout) => entry(backends, ops, () => perLayouts((of) => make(ops, of)))(layout);
}

/** Keeps what is made for a pair of layouts as long as both live; those that differ in the orders of heads alone share it, by their shape. */
export function perLayouts<Made>(make: (layout: Layouts) => Made): (layout: Layouts) => Made {
  const known = new WeakMap<Layout, WeakMap<Layout, { readonly made: Made }>>();
  return (layout) => {
    const [q, k] = [layout.q.shape ?? layout.q, layout.k.shape ?? layout.k];
    return entry(
      entry(known, q, () => new WeakMap<Layout, { readonly made: Made }>()),
      k,
      () => ({ made: make({ q, k }) }),
    ).made;
  };
}

function entry<K extends object, V>(map: WeakMap<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
