// How much of the true attention a plan reads: exact softmax mass of each block pair, and the share of it that lies in what was chosen.
import type { Backend } from '../backend/backend.ts';
import type { Layouts } from '../method.ts';
import type { Layout, Plan } from '../sparse3d/plan.ts';
import { planRows } from '../sparse3d/reference.ts';
import type { Tensor } from '../tensor.ts';

/** Shares of the exact softmax mass, 0..1, over all heads and rows; each row of tokens weighs the same. */
export interface Recall {
  /** In key blocks that are read, however finely. */
  readonly read: number;
  /** In key blocks that are read token by token. */
  readonly full: number;
}

/** Exact mass of block pairs on the host. */
export interface MassTable {
  /** [heads, qBlocks, kBlocks] */
  readonly mass: Float32Array;
  readonly heads: number;
  readonly layout: Layouts;
}

/** Raster q, k [heads, tokens, dim] and their own row log-sum-exp [heads, tokens], as `attendAll` gives it. */
export interface Exact {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly lse: Tensor;
}

/** The exact mass of each block pair of a layout. */
export async function massTable(ops: Backend, { q, k, lse }: Exact, layout: Layouts): Promise<MassTable> {
  const mass = ops.scope(() =>
    ops.keep(ops.blockMass(ops.gather(q, layout.q), ops.gather(k, layout.k), ops.gather(lse, layout.q), layout)),
  );
  try {
    return { mass: (await ops.read(mass)) as Float32Array, heads: q.shape[0], layout };
  } finally {
    ops.release(mass);
  }
}

/** Mass tables of one attention call, each made when it is first asked for. */
export function massTables(ops: Backend, exact: Exact): (layout: Layouts) => Promise<MassTable> {
  const made = new Map<Layout, Map<Layout, Promise<MassTable>>>();
  return (layout) => {
    const ofQueries = made.get(layout.q) ?? new Map<Layout, Promise<MassTable>>();
    made.set(layout.q, ofQueries);
    const table = ofQueries.get(layout.k) ?? massTable(ops, exact, layout);
    ofQueries.set(layout.k, table);
    return table;
  };
}

/** What a plan over the layout of the table recalls. The plan's counts and blocks are read; it stays as it is. */
export async function recallOf(ops: Backend, plan: Plan, { mass, heads, layout }: MassTable): Promise<Recall> {
  const [counts, blocks] = (await Promise.all([ops.read(plan.counts), ops.read(plan.blocks)])) as Int32Array[];
  const [qBlocks, kBlocks, width] = [layout.q.blocks, layout.k.blocks, plan.blocks.shape[2]];
  let [read, full] = [0, 0];
  for (let head = 0; head < heads; head++)
    for (const [queryBlock, row] of planRows(counts, blocks, plan.levels, head, qBlocks, width, kBlocks).entries())
      for (const { block, pool } of row) {
        const share = mass[(head * qBlocks + queryBlock) * kBlocks + block];
        read += share;
        if (pool === 1) full += share;
      }
  const total = mass.reduce((sum, share) => sum + share, 0);
  return { read: read / total, full: full / total };
}
