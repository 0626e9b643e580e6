// Small tables that scorers derive from a layout: uploaded once per backend, and kept as long as both live.
import type { Backend } from '../backend/backend.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

export interface Table {
  readonly numbers: Float32Array;
  readonly shape: readonly number[];
}

/** The table of a layout on a backend, made at the first call. */
export function keptTable(make: (layout: Layout) => Table): (ops: Backend, layout: Layout) => Tensor {
  const known = new WeakMap<Backend, WeakMap<Layout, Tensor>>();
  return (ops, layout) => {
    const ofBackend = known.get(ops) ?? new WeakMap<Layout, Tensor>();
    known.set(ops, ofBackend);
    let table = ofBackend.get(layout);
    if (!table) {
      const { numbers, shape } = make(layout);
      table = ops.keep(ops.upload(numbers, shape));
      ofBackend.set(layout, table);
    }
    return table;
  };
}
