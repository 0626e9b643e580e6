// What is found from rows of q, as the naive twins compute it, on tensors of the reference backend.
import type { Backend } from '../backend/backend.ts';
import { linesOf, type ProbeOps } from '../search/cpu-probe.ts';
import {
  antidiagonalReference,
  blockPeaksReference,
  blockSumsReference,
  divergenceReference,
  lineSumsReference,
  poolingErrorReference,
  probeReference,
} from '../search/probe-reference.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { type Rows, rowsOf } from '../sparse3d/reference.ts';
import type { Tensor } from '../tensor.ts';
import { floats, type HostTensor, headsOf, make, raster, valuesOf } from './host-tensor.ts';

const flat = (heads: readonly Rows[]): number[] => heads.flatMap((rows) => rows.flat());

/** A tensor [heads, rows, columns] of a table for each head, made from its q and k in raster order. */
function ofPairs(q: Tensor, k: Tensor, layout: { q: Layout; k: Layout }, table: (q: Rows, k: Rows) => Rows): HostTensor {
  const ks = headsOf(raster(k, layout.k));
  const tables = headsOf(raster(q, layout.q)).map((rows, head) => table(rows, ks[head]));
  return make([tables.length, tables[0].length, tables[0][0].length], flat(tables));
}

export const probeTwins: ProbeOps & Pick<Backend, 'blockPeaks'> = {
  blockPeaks: (q, k, layout, { margin = false } = {}) =>
    ofPairs(q, k, layout, (queries, keys) => blockPeaksReference(queries, keys, layout, margin)),
  poolingError(rows, k, layout, v) {
    const [ks, vs] = [headsOf(raster(k, layout)), v && headsOf(raster(v, layout))];
    const heads = headsOf(rows as HostTensor).map((means, head) => poolingErrorReference(means, ks[head], layout, vs?.[head]));
    return make([...rows.shape.slice(0, 2), layout.blocks], flat(heads));
  },
  probe: (q, k, rows, layout) => ofPairs(q, k, layout, (queries, keys) => probeReference(queries, keys, rows, layout)),
  probeBlocks: (q, k, rows, layout) =>
    ofPairs(q, k, layout, (queries, keys) => blockSumsReference(probeReference(queries, keys, rows, layout), layout.k)),
  divergence(a, b) {
    const rows = (x: Tensor) => rowsOf(valuesOf(x), 1, x.shape[x.shape.length - 1])[0];
    const others = rows(b);
    return make(
      a.shape.slice(0, -1),
      rows(a).map((row, at) => divergenceReference(row, others[at])),
    );
  },
  blockSums(x, layout) {
    const heads = headsOf(x as HostTensor).map((rows) => blockSumsReference(rows, layout));
    return make([...x.shape.slice(0, 2), layout.blocks], flat(heads));
  },
  lineSums(weights, rows, layout) {
    const heads = headsOf(weights as HostTensor).map((table) => lineSumsReference(table, rows, layout));
    const [columns, diagonals] = [heads.map((head) => head.columns), heads.map((head) => head.diagonals)];
    return {
      columns: make([heads.length, 1, columns[0].length], columns.flat()),
      diagonals: make([heads.length, 1, diagonals[0].length], diagonals.flat()),
    };
  },
  lines: (columns, diagonals, layout) =>
    make([columns.shape[0], layout.q.blocks, layout.k.blocks], linesOf(floats(columns), floats(diagonals), columns.shape[0], layout)),
  antidiagonal: (q, k, layout, { stride }) =>
    ofPairs(q, k, layout, (queries, keys) => antidiagonalReference(queries, keys, layout, stride)),
};
