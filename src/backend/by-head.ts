// Operations on layouts whose heads have orders of their own: as those of single heads, one after another, on any backend.
import type { Layouts } from '../method.ts';
import { differsByHead } from '../sparse3d/heads.ts';
import type { Layout, Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import type { Attended, Backend } from './backend.ts';

/** A backend that also takes layouts with heads. */
export function overHeads(ops: Backend): Backend {
  return { ...ops, ...moves(ops), ...pairs(ops), ...sides(ops), attend: attends(ops) };
}

/** The layout that one head has. */
const headOf = (layout: Layout, head: number): Layout => layout.heads?.layouts[head] ?? layout;
const pairOf = ({ q, k }: Layouts, head: number): Layouts => ({ q: headOf(q, head), k: headOf(k, head) });
/** Whether heads differ in how many tokens a block holds: all else concerns those alone who move tokens. */
const differs = (layout: Layout): boolean => layout.heads?.counts !== undefined;

/** `run` for each head, on its rows of the tensors. */
function eachHead<Result>(ops: Backend, tensors: readonly Tensor[], run: (head: number, parts: readonly Tensor[]) => Result): Result[] {
  const [heads] = tensors[0].shape;
  const parts = tensors.map((x) => ops.split(x, heads));
  return Array.from({ length: heads }, (_, head) =>
    run(
      head,
      parts.map((part) => part[head]),
    ),
  );
}

const joined = (ops: Backend, tensors: readonly Tensor[], run: (head: number, parts: readonly Tensor[]) => Tensor): Tensor =>
  ops.scope(() => ops.concat(eachHead(ops, tensors, run)));

function moves(ops: Backend): Pick<Backend, 'gather' | 'scatter'> {
  const moved = (name: 'gather' | 'scatter') => (x: Tensor, layout: Layout) =>
    layout.heads ? joined(ops, [x], (head, [part]) => ops[name](part, headOf(layout, head))) : ops[name](x, layout);
  return { gather: moved('gather'), scatter: moved('scatter') };
}

/** Scores of pairs of blocks. */
function pairs(ops: Backend): Pick<Backend, 'blockMass' | 'blockPeaks' | 'sampledScores'> {
  const isPlain = (layout: Layouts) => !differsByHead(layout);
  return {
    blockMass: (q, k, lse, layout) =>
      isPlain(layout)
        ? ops.blockMass(q, k, lse, layout)
        : joined(ops, [q, k, lse], (head, [a, b, c]) => ops.blockMass(a, b, c, pairOf(layout, head))),
    blockPeaks: (q, k, layout, options) =>
      isPlain(layout)
        ? ops.blockPeaks(q, k, layout, options)
        : joined(ops, [q, k], (head, [a, b]) => ops.blockPeaks(a, b, pairOf(layout, head), options)),
    sampledScores: (q, k, layout, sampling) =>
      isPlain(layout)
        ? ops.sampledScores(q, k, layout, sampling)
        : joined(ops, [q, k], (head, [a, b]) => ops.sampledScores(a, b, pairOf(layout, head), { ...sampling, seed: sampling.seed + head })),
  };
}

/** Operations on one side. */
function sides(ops: Backend): Pick<Backend, 'blockMeans' | 'center' | 'poolingError' | 'poolCap'> {
  return {
    blockMeans: (x, layout, options) =>
      differs(layout)
        ? joined(ops, [x], (head, [part]) => ops.blockMeans(part, headOf(layout, head), options))
        : ops.blockMeans(x, layout, options),
    center: (x, layout) =>
      differs(layout) ? joined(ops, [x], (head, [part]) => ops.center(part, headOf(layout, head))) : ops.center(x, layout),
    poolingError: (rows, k, layout, v) =>
      differs(layout)
        ? joined(ops, v ? [rows, k, v] : [rows, k], (head, [a, b, c]) => ops.poolingError(a, b, headOf(layout, head), c))
        : ops.poolingError(rows, k, layout, v),
    poolCap: (k, layout, pools) =>
      differs(layout) ? joined(ops, [k], (head, [part]) => ops.poolCap(part, headOf(layout, head), pools)) : ops.poolCap(k, layout, pools),
  };
}

function attends(ops: Backend): Backend['attend'] {
  return (q, k, v, plan, layout, options): Attended => {
    if (!differsByHead(layout)) return ops.attend(q, k, v, plan, layout, options);
    return ops.scope(() => {
      const results = eachHead(ops, [q, k, v, plan.counts, plan.blocks], (head, [a, b, c, counts, blocks]) => {
        const own: Plan = { ...plan, counts, blocks };
        return ops.attend(a, b, c, own, pairOf(layout, head), options);
      });
      return {
        out: ops.concat(results.map(({ out }) => out)),
        lse: options?.lse === false ? results[0].lse : ops.concat(results.map(({ lse }) => lse)),
      };
    });
  };
}
