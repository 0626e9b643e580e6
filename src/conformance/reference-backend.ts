// The naive twins as a backend, in f64 on plain arrays: what every other backend is held against. Slow, and only for small tensors.
import type { Attended, Backend } from '../backend/backend.ts';
import { overHeads } from '../backend/by-head.ts';
import { budgetsOf, capOf, recallOf, selectBlocks } from '../search/cpu-select.ts';
import { sampledScoresReference } from '../search/reference.ts';
import { checkCombine } from '../sparse3d/checks.ts';
import { differsByHead, headDensity } from '../sparse3d/heads.ts';
import { type Layout, type Plan, tokensOf } from '../sparse3d/plan.ts';
import {
  attendAllReference,
  attendReference,
  blockMassReference,
  planRows,
  type ReferenceAttended,
  rowsOf,
} from '../sparse3d/reference.ts';
import { elements, type Numbers, type Tensor } from '../tensor.ts';
import { codeTwins } from './code-twins.ts';
import { floats, type HostTensor, headsOf, integers, make, moved, raster, tableOf, valuesOf } from './host-tensor.ts';
import { toF16 } from './inputs.ts';
import { orderTwins } from './order-twins.ts';
import { probeTwins } from './probe-twins.ts';
import { referenceAlgebra } from './reference-algebra.ts';

const twins: Backend = {
  name: 'cpu',
  upload: (numbers, shape) => make(shape, numbers, numbers instanceof Float32Array ? 'f32' : 'i32'),
  read: async (tensor) => (tensor.dtype === 'i32' ? integers(tensor) : doubles(tensor)),
  wait: async () => undefined,
  cast: (x, dtype) => make(x.shape, dtype === 'f16' ? valuesOf(x).map(toF16) : valuesOf(x), dtype),
  scope: (body) => body(),
  keep: (x) => x,
  release: () => undefined,
  split(x, parts) {
    const shape = [x.shape[0] / parts, ...x.shape.slice(1)];
    const size = elements(shape);
    return Array.from({ length: parts }, (_, part) => make(shape, valuesOf(x).slice(part * size, (part + 1) * size), x.dtype));
  },
  concat(parts) {
    const rows = parts.reduce((sum, { shape }) => sum + shape[0], 0);
    return make([rows, ...parts[0].shape.slice(1)], parts.flatMap(valuesOf), parts[0].dtype);
  },
  combine(parts, weights) {
    checkCombine(parts, weights);
    const sum = (_: unknown, at: number) => parts.reduce((sum, part, index) => sum + weights[index] * valuesOf(part)[at], 0);
    return make(parts[0].shape, valuesOf(parts[0]).map(sum));
  },
  gather: (x, { order, grid }) => moved(x, tokensOf(grid), order),
  scatter: raster,
  attendAll(q, k, v) {
    const [qs, ks, vs] = [q, k, v].map((x) => headsOf(x as HostTensor));
    return attended(
      q,
      qs.map((rows, head) => attendAllReference(rows, ks[head], vs[head])),
    );
  },
  attend: attendByPlan,
  merge: (a, b) => ({
    out: make(
      a.out.shape,
      valuesOf(a.out).map((x, at) => x + shareOf(a, b, at) * (valuesOf(b.out)[at] - x)),
      a.out.dtype,
    ),
    lse: make(
      a.lse.shape,
      valuesOf(a.lse).map((x, row) => Math.log(Math.exp(x) + Math.exp(valuesOf(b.lse)[row]))),
    ),
  }),
  blockMass(q, k, lse, layout) {
    const [qs, ks] = [headsOf(raster(q, layout.q)), headsOf(raster(k, layout.k))];
    const sums = rowsOf(valuesOf(raster(lse, layout.q)), 1, tokensOf(layout.q.grid))[0];
    const mass = qs.flatMap((rows, head) => blockMassReference(rows, ks[head], sums[head], layout).flat());
    return make([qs.length, layout.q.blocks, layout.k.blocks], mass);
  },
  sampledScores(q, k, layout, sampling) {
    const [qs, ks] = [headsOf(raster(q, layout.q)), headsOf(raster(k, layout.k))];
    const scores = qs.flatMap((rows, head) => sampledScoresReference(rows, ks[head], layout, sampling, head).flat());
    return make([qs.length, layout.q.blocks, layout.k.blocks], scores);
  },
  ...codeTwins,
  ...probeTwins,
  ...referenceAlgebra,
  poolCap: (k, layout, pools) => make([k.shape[0], layout.blocks], capOf(floats(k), k.shape[0], k.shape[2], layout, pools), 'i32'),
  recall(scores, { counts, blocks }) {
    const plan = { counts: integers(counts), blocks: integers(blocks) };
    return make([scores.shape[0]], recallOf(floats(scores), tableOf(scores), plan, blocks.shape[2]));
  },
  planTable({ counts, blocks, levels, keyBlocks }, { read, left }) {
    const [heads, qBlocks, width] = blocks.shape;
    const kBlocks = keyBlocks ?? width;
    const table = Array.from({ length: heads }, (_, head) =>
      planRows(integers(counts), integers(blocks), levels, head, qBlocks, width, kBlocks).map((row) =>
        Array.from({ length: kBlocks }, (__, at) => (row.some(({ block }) => block === at) ? read : left)),
      ),
    );
    return make([heads, qBlocks, kBlocks], table.flat(2));
  },
  headBudgets: (recall, options) => make(recall.shape, budgetsOf(floats(recall), options)),
  select(scores, { cap, budgets, ...selection }) {
    const [heads, qBlocks, kBlocks] = tableOf(scores);
    const given = { ...selection, cap: cap && integers(cap), budgets: budgets && floats(budgets) };
    const { counts, blocks } = selectBlocks(floats(scores), [heads, qBlocks, kBlocks], given);
    const { levels } = selection;
    const [counted, listed] = [counts, blocks].map((x) => make([heads, qBlocks, x.length / heads / qBlocks], x, 'i32'));
    return { counts: counted, blocks: listed, levels, keyBlocks: kBlocks };
  },
  ...orderTwins,
  async density({ counts, levels, blocks, keyBlocks = blocks.shape[2] }, layout) {
    const asked = layout?.q.heads?.counts;
    if (layout && differsByHead(layout)) return headDensity(valuesOf(counts), levels, asked && valuesOf(asked), layout);
    const cost = valuesOf(counts).reduce((sum, count, at) => sum + count / levels[at % levels.length].pool, 0);
    return (cost * levels.length) / elements(counts.shape) / keyBlocks;
  },
};

/** Every operation in f64, as the naive twins compute it. */
export const referenceBackend: Backend = overHeads(twins, ({ heads }) => heads !== undefined);

/** What of a merged row, that of an element of the output, is b's. */
function shareOf(a: Attended, b: Attended, at: number): number {
  const row = Math.floor(at / a.out.shape[2]);
  return 1 / (1 + Math.exp(valuesOf(a.lse)[row] - valuesOf(b.lse)[row]));
}

// Larger than f32 on purpose: the twins are not rounded.
const doubles = (tensor: Tensor): Numbers => Float64Array.from(valuesOf(tensor)) as unknown as Numbers;

function attended(q: Tensor, heads: readonly ReferenceAttended[]): Attended {
  const rows = q.shape.slice(0, 2);
  return {
    out: make(
      q.shape,
      heads.flatMap(({ out }) => out.flat()),
    ),
    lse: make(
      rows,
      heads.flatMap(({ lse }) => lse),
    ),
  };
}

function attendByPlan(q: Tensor, k: Tensor, v: Tensor, { counts, blocks, levels }: Plan, layout: { q: Layout; k: Layout }): Attended {
  const queries = raster(q, layout.q);
  const [ks, vs] = [k, v].map((x) => headsOf(raster(x, layout.k)));
  const heads = headsOf(queries).map((rows, head) => {
    const plan = planRows(integers(counts), integers(blocks), levels, head, layout.q.blocks, blocks.shape[2], layout.k.blocks);
    return attendReference(rows, ks[head], vs[head], plan, layout);
  });
  const { out, lse } = attended(queries, heads);
  return { out: referenceBackend.gather(out, layout.q), lse: referenceBackend.gather(lse, layout.q) };
}
