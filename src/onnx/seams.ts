// Puts a seam in place of each attention: nodes that bring its operands to f32 [..., tokens, dim] with video tokens first and the scale in the
// queries, the seam itself, and nodes that bring its result back.
import { ONNX_TYPE } from '../backend/onnx.ts';
import { type Candidate, type Columns, type Factor, type Operand, sizesOf } from './candidate.ts';
import { type Graph, numbersOf } from './graph.ts';
import { type Writer, writer } from './nodes.ts';
import type { NodeProto, TensorProto } from './schema.ts';

/** The operation of a seam: inputs q, k, v, one output. No runtime knows it. */
export const SEAM = 'zoetrope.Seam';

export interface Seamed {
  readonly nodes: readonly NodeProto[];
  readonly constants: readonly TensorProto[];
}

/** How many text tokens stand before the video's; 0 where they stand behind them, or there are none. */
export interface TextPlace {
  readonly before: number;
}

export function placeSeams(graph: Graph, candidates: readonly Candidate[], text: TextPlace): Seamed {
  const constants: TensorProto[] = [];
  const ends = new Map(candidates.map((candidate, layer) => [candidate.end, { candidate, layer }]));
  const nodes = graph.nodes.flatMap((node) => {
    const end = ends.get(node);
    if (!end) return [node];
    const written = writer(`zoetrope.${end.layer}`);
    seam(graph, end.candidate, text, written);
    constants.push(...written.constants);
    return written.nodes;
  });
  return { nodes, constants };
}

function seam(graph: Graph, candidate: Candidate, text: TextPlace, to: Writer): void {
  const bring = (operand: Operand) => operandOf(graph, operand, to);
  const [q, k, v] = [scaled(graph, candidate, bring(candidate.q), to), bring(candidate.k), bring(candidate.v)].map((value) =>
    videoFirst(value, text, to),
  );
  const out = to.node(SEAM, [q, k, v]);
  const ordered = text.before > 0 ? rotated(out, -text.before, to) : out;
  const { permutation, joined } = candidate.out;
  let value = permutation && !isIdentity(permutation) ? to.node('Transpose', [ordered], { perm: permutation }) : ordered;
  if (joined) value = to.node('Reshape', [to.node('Transpose', [value], { perm: [0, 2, 1, 3] }), to.ints([0, 0, -1])]);
  const type = graph.type(candidate.v.value) || ONNX_TYPE.f32;
  to.node('Cast', [value], { to: type }, candidate.end.output[0]);
}

/** An operand as f32 [..., tokens, dim]. */
function operandOf(graph: Graph, { value, weight, bias, part, permutation, swapped, heads }: Operand, to: Writer): string {
  const columns = ({ value: all, start, end }: Columns) => to.node('Slice', [all, to.ints([start]), to.ints([end]), to.ints([-1])]);
  let result = value;
  if (weight) result = to.node('MatMul', [result, columns(weight)]);
  if (bias) result = to.node('Add', [result, columns(bias)]);
  if (part) result = to.node('Squeeze', [to.node('Gather', [result, to.ints([part.index])], { axis: part.axis }), to.ints([part.axis])]);
  if (heads) result = to.node('Transpose', [to.node('Reshape', [result, to.ints([0, 0, heads, -1])])], { perm: [0, 2, 1, 3] });
  if (permutation && !isIdentity(permutation)) result = to.node('Transpose', [result], { perm: permutation });
  if (swapped) result = to.node('Einsum', [result], { equation: '...ij->...ji' });
  // The seam reads every operand from its segment: a value that stands as it is gets a name of its own.
  return graph.type(value) === ONNX_TYPE.f32 ? to.node('Identity', [result]) : to.node('Cast', [result], { to: ONNX_TYPE.f32 });
}

/** Queries with what the scores are multiplied with, over the 1/sqrt(dim) that the seam multiplies with itself. */
function scaled(graph: Graph, { q, factors }: Candidate, queries: string, to: Writer): string {
  if (!factors) return queries;
  const dim = widthOf(graph, q);
  const known = factors.map((factor) => ({ ...factor, number: numberOf(graph, factor) }));
  if (dim > 0 && known.every(({ number }) => number !== undefined)) {
    const factor = known.reduce((product, { number, divides }) => (divides ? product / number! : product * number!), Math.sqrt(dim));
    // 1 but for the rounding of a scale that was written in f32.
    return Math.abs(factor - 1) < 1e-6 ? queries : to.node('Mul', [queries, to.scalar(factor)]);
  }
  const root = to.node('Sqrt', [to.node('Cast', [to.node('Gather', [to.node('Shape', [queries]), to.ints([-1])])], { to: ONNX_TYPE.f32 })]);
  return known.reduce(
    (value, { value: by, divides }) =>
      to.node(divides ? 'Div' : 'Mul', [value, typeof by === 'number' ? to.scalar(by) : to.node('Cast', [by], { to: ONNX_TYPE.f32 })]),
    to.node('Mul', [queries, root]),
  );
}

const numberOf = (graph: Graph, { value }: Factor): number | undefined =>
  typeof value === 'number' ? value : numbersOf(graph, value)?.[0];

/** The width of one head as far as the file states it, or -1. */
function widthOf(graph: Graph, operand: Operand): number {
  const width = sizesOf(graph, operand)?.at(-1) ?? -1;
  return width > 0 ? width / (operand.heads ?? 1) : -1;
}

const videoFirst = (value: string, { before }: TextPlace, to: Writer): string => (before > 0 ? rotated(value, before, to) : value);

/** Tokens from number `by` on, then those before; a negative number counts from the end. */
function rotated(value: string, by: number, to: Writer): string {
  const [axis, cut] = [to.ints([-2]), to.ints([by])];
  const front = to.node('Slice', [value, cut, to.ints([2 ** 52]), axis]);
  return to.node('Concat', [front, to.node('Slice', [value, to.ints([0]), cut, axis])], { axis: -2 });
}

const isIdentity = (permutation: readonly number[]): boolean => permutation.every((axis, index) => axis === index);
