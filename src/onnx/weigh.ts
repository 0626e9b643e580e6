// Reads the way from a softmax on to the product with the values, and what both products say of axes.

import { attributeOf, intOf, textOf } from './attributes.ts';
import { type Candidate, nameOf, type Operand, type Stray } from './candidate.ts';
import type { Graph } from './graph.ts';
import type { NodeProto } from './schema.ts';
import { isZero, readScores, type Scores } from './scores.ts';

const FORM = 'softmax between products';

/** What a softmax belongs to: an attention, or none that can be read. */
export function readSoftmax(graph: Graph, softmax: NodeProto): Candidate | Stray {
  const scores = readScores(graph, softmax);
  const stray = (obstacle: string): Stray => ({ form: FORM, node: softmax, obstacle });
  if (!scores.product) return stray('its input is no product of queries and keys');
  const weighed = followWeights(graph, softmax.output[0]);
  if (typeof weighed === 'string') return stray(weighed);
  const { end } = weighed;
  const axis = intOf(softmax, 'axis', -1);
  const pair = scores.product.opType === 'Einsum' ? einsumPair(scores.product, end) : matmulPair(graph, scores.product, end);
  if (typeof pair === 'string') return stray(pair);
  if (axis !== -1 && axis !== pair.rank - 1) return stray(`it is taken along axis ${axis}`);
  return { form: FORM, node: softmax, end, ...pair.parts, factors: factorsOf(scores), obstacle: scores.obstacle ?? weighed.obstacle };
}

/** com.microsoft's FusedMatMul has a scale of its own. */
function factorsOf({ product, factors }: Scores): Candidate['factors'] {
  const alpha = product && attributeOf(product, 'alpha')?.f;
  return alpha === undefined ? factors : [...factors, { value: alpha, divides: false }];
}

/** The product that takes the weights as its first factor; a sentence when there is none, or others read the weights too. */
function followWeights(graph: Graph, weights: string): { readonly end: NodeProto; readonly obstacle?: string } | string {
  let value = weights;
  let obstacle: string | undefined;
  for (;;) {
    const readers = graph.consumers(value).filter(({ opType }) => opType !== 'IsNaN');
    if (graph.outputs.includes(value)) return 'its weights are a result of the graph';
    if (readers.length !== 1)
      return readers.length ? `its weights are read by ${readers.map(nameOf).join(' and ')}` : 'nothing reads its weights';
    const [node] = readers;
    if (['MatMul', 'FusedMatMul', 'Einsum'].includes(node.opType))
      return node.input[0] === value && node.input.length === 2
        ? { end: node, obstacle }
        : `${nameOf(node)} takes its weights as the second factor`;
    if (node.opType === 'QuantizeLinear') obstacle = `${nameOf(node)} rounds its weights`;
    const passes = PASSES.has(node.opType) && node.input[0] === value;
    if (!passes && !fillsGaps(graph, node, value)) return `${nameOf(node)} follows it in place of a product with values`;
    value = node.output[0];
  }
}

const PASSES = new Set(['Cast', 'CastLike', 'Identity', 'Dropout', 'Reshape', 'QuantizeLinear', 'DequantizeLinear']);

/** Where(x is not a number, 0, x): without masks no row is. */
const fillsGaps = (graph: Graph, node: NodeProto, value: string): boolean =>
  node.opType === 'Where' && node.input.slice(1).every((input) => input === value || isZero(graph, input));

interface Pair {
  readonly rank: number;
  readonly parts: Pick<Candidate, 'q' | 'k' | 'v' | 'out'>;
}

function matmulPair(graph: Graph, product: NodeProto, weighed: NodeProto): Pair | string {
  if (weighed.opType === 'Einsum') return `${nameOf(weighed)} weighs what ${nameOf(product)} scored`;
  const [q, k] = product.input;
  if (intOf(product, 'transA', 0) || intOf(weighed, 'transA', 0) || intOf(weighed, 'transB', 0))
    return `${nameOf(product)} turns its first factor`;
  const rank = rankOf(graph, k) || rankOf(graph, q);
  const keys: Operand = intOf(product, 'transB', 0) ? { value: k } : turned(graph, k);
  return { rank, parts: { q: { value: q }, k: keys, v: { value: weighed.input[1] }, out: {} } };
}

/** The rank of a value: what the file states, or what a Transpose before it says; 0 where neither does. */
export function rankOf(graph: Graph, value: string): number {
  const shape = graph.shape(value);
  if (shape) return shape.length;
  const node = graph.producer(value);
  if (node?.opType === 'Transpose') return attributeOf(node, 'perm')?.ints?.length ?? 0;
  return node && ['Mul', 'Div', 'Cast', 'Identity'].includes(node.opType) ? rankOf(graph, node.input[0]) : 0;
}

/** [..., dim, tokens] with its last two axes changed. */
function turned(graph: Graph, value: string): Operand {
  const rank = rankOf(graph, value);
  if (rank < 2) return { value, swapped: true };
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return { value, permutation: [...axes.slice(0, -2), rank - 1, rank - 2] };
}

/** Axes of two Einsums by their letters. */
function einsumPair(product: NodeProto, weighed: NodeProto): Pair | string {
  const [first, second] = [product, weighed].map((node) => textOf(node, 'equation').replaceAll(' ', ''));
  const odd = `the equation ${first} or ${second} is no attention`;
  if (weighed.opType !== 'Einsum' || /\.|[A-Z]/.test(first + second)) return odd;
  const [terms, scores] = split(first);
  const [[weights, values], result] = split(second);
  const [rows, keys] = [scores.at(-2)!, scores.at(-1)!];
  const lead = scores.slice(0, -2);
  const at = terms[0].includes(rows) ? 0 : 1;
  const dim = [...terms[at]].find((letter) => !scores.includes(letter));
  const [last] = [...values].filter((letter) => !weights.includes(letter));
  if (!dim || !last || weights.length !== scores.length) return odd;
  // The second equation may use other letters: its weights' letters are those of the scores, one by one.
  const same = new Map([...weights].map((letter, index) => [letter, scores[index]]));
  const rename = (term: string) => [...term].map((letter) => same.get(letter) ?? '*').join('');
  const q = permutation(terms[at], lead + rows + dim);
  const k = permutation(terms[1 - at], lead + keys + dim);
  const v = permutation(rename(values), `${lead + keys}*`);
  const out = permutation(`${lead + rows}*`, rename(result));
  if (!q || !k || !v || !out) return odd;
  const [first_, second_] = [product.input[at], product.input[1 - at]];
  return {
    rank: scores.length,
    parts: {
      q: { value: first_, permutation: q },
      k: { value: second_, permutation: k },
      v: { value: weighed.input[1], permutation: v },
      out: { permutation: out },
    },
  };
}

const split = (equation: string): [string[], string] => {
  const [left, right = ''] = equation.split('->');
  return [left.split(','), right];
};

/** Where each letter of `to` stands in `from`; undefined unless both have the same ones. */
function permutation(from: string, to: string): number[] | undefined {
  const axes = [...to].map((letter) => from.indexOf(letter));
  return from.length === to.length && new Set(axes).size === axes.length && !axes.includes(-1) ? axes : undefined;
}
