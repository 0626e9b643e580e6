// Operations on layouts whose heads have orders of their own: as those of single heads, one after another, on any backend.
import type { Layouts } from '../method.ts';
import type { Layout, Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import type { Attended, Backend } from './backend.ts';

/** A layout that an operation takes head by head. */
type Concerned = (layout: Layout) => boolean;

/** Whether heads differ in how many tokens a block holds: most operations ask no more of a layout. */
const differs: Concerned = (layout) => layout.heads?.counts !== undefined;

/** A backend that also takes layouts with heads. Tokens are always moved head by head, all else is done so where that is `concerned`. */
export function overHeads(ops: Backend, concerned: Concerned = differs): Backend {
  const either = ({ q, k }: Layouts) => concerned(q) || concerned(k);
  return { ...ops, ...moves(ops), ...pairs(ops, either), ...sides(ops, concerned), ...probes(ops, either), attend: attends(ops, either) };
}

/** The layout that one head has. */
const headOf = (layout: Layout, head: number): Layout => layout.heads?.layouts[head] ?? layout;
const pairOf = ({ q, k }: Layouts, head: number): Layouts => ({ q: headOf(q, head), k: headOf(k, head) });

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
function pairs(ops: Backend, either: (layout: Layouts) => boolean): Pick<Backend, 'blockMass' | 'blockPeaks' | 'sampledScores'> {
  return {
    blockMass: (q, k, lse, layout) =>
      either(layout)
        ? joined(ops, [q, k, lse], (head, [a, b, c]) => ops.blockMass(a, b, c, pairOf(layout, head)))
        : ops.blockMass(q, k, lse, layout),
    blockPeaks: (q, k, layout, options) =>
      either(layout)
        ? joined(ops, [q, k], (head, [a, b]) => ops.blockPeaks(a, b, pairOf(layout, head), options))
        : ops.blockPeaks(q, k, layout, options),
    sampledScores: (q, k, layout, sampling) =>
      either(layout)
        ? joined(ops, [q, k], (head, [a, b]) => ops.sampledScores(a, b, pairOf(layout, head), { ...sampling, seed: sampling.seed + head }))
        : ops.sampledScores(q, k, layout, sampling),
  };
}

/** Operations on one side. */
function sides(ops: Backend, concerned: Concerned): Pick<Backend, 'blockMeans' | 'blockSums' | 'center' | 'poolingError' | 'poolCap'> {
  return {
    blockSums: (x, layout) =>
      concerned(layout) ? joined(ops, [x], (head, [part]) => ops.blockSums(part, headOf(layout, head))) : ops.blockSums(x, layout),
    blockMeans: (x, layout, options) =>
      concerned(layout)
        ? joined(ops, [x], (head, [part]) => ops.blockMeans(part, headOf(layout, head), options))
        : ops.blockMeans(x, layout, options),
    center: (x, layout) =>
      concerned(layout) ? joined(ops, [x], (head, [part]) => ops.center(part, headOf(layout, head))) : ops.center(x, layout),
    poolingError: (rows, k, layout, v) =>
      concerned(layout)
        ? joined(ops, v ? [rows, k, v] : [rows, k], (head, [a, b, c]) => ops.poolingError(a, b, headOf(layout, head), c))
        : ops.poolingError(rows, k, layout, v),
    poolCap: (k, layout, pools) =>
      concerned(layout)
        ? joined(ops, [k], (head, [part]) => ops.poolCap(part, headOf(layout, head), pools))
        : ops.poolCap(k, layout, pools),
  };
}

/** What rows of queries weigh. Keys may be of any order by head; rows and groups are slots, which must hold a token in every head. */
function probes(ops: Backend, either: (layout: Layouts) => boolean): Pick<Backend, 'probe' | 'probeBlocks' | 'lineSums' | 'antidiagonal'> {
  const probe = (name: 'probe' | 'probeBlocks') => (q: Tensor, k: Tensor, rows: Int32Array, layout: Layouts) => {
    checkSlots('probe rows of', layout.q);
    if (!either(layout)) return ops[name](q, k, rows, layout);
    return joined(ops, [q, k], (head, [a, b]) => ops[name](a, b, rows, pairOf(layout, head)));
  };
  return {
    probe: probe('probe'),
    probeBlocks: probe('probeBlocks'),
    lineSums(weights, rows, layout) {
      checkSlots('sum lines from rows of', layout.q);
      return ops.lineSums(weights, rows, layout);
    },
    antidiagonal(q, k, layout, options) {
      for (const side of [layout.q, layout.k]) checkSlots('group neighbours of', side);
      if (!either(layout)) return ops.antidiagonal(q, k, layout, options);
      return joined(ops, [q, k], (head, [a, b]) => ops.antidiagonal(a, b, pairOf(layout, head), options));
    },
  };
}

/** @throws RangeError for a layout whose heads differ in which slots hold a token. */
function checkSlots(what: string, layout: Layout): void {
  if (differs(layout))
    throw new RangeError(
      `cannot ${what} ${layout.name}, whose heads differ in which slots hold a token; take a layout of the grid, or a scorer of block means`,
    );
}

function attends(ops: Backend, either: (layout: Layouts) => boolean): Backend['attend'] {
  return (q, k, v, plan, layout, options): Attended => {
    if (!either(layout)) return ops.attend(q, k, v, plan, layout, options);
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
