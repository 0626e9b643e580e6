// Reads the way from a softmax back to the product of queries and keys, over the scales, casts and masks that stand between them.
import { type Factor, nameOf } from './candidate.ts';
import { type Graph, numbersOf } from './graph.ts';
import type { NodeProto } from './schema.ts';

/** What lies between the product and the softmax. */
export interface Scores {
  /** MatMul, FusedMatMul or Einsum of queries and keys; undefined when the way ends elsewhere. */
  readonly product: NodeProto | undefined;
  readonly factors: readonly Factor[];
  /** What cannot be expressed as softmax(scale q k^T). */
  readonly obstacle?: string;
}

const PRODUCTS = new Set(['MatMul', 'FusedMatMul', 'Einsum']);

export function readScores(graph: Graph, softmax: NodeProto): Scores {
  const factors: Factor[] = [];
  let obstacle: string | undefined;
  let value = softmax.input[0];
  for (;;) {
    const node = graph.producer(value);
    if (!node || PRODUCTS.has(node.opType)) return { product: node && isMoving(graph, node) ? node : undefined, factors, obstacle };
    const step = stepOver(graph, node);
    if (!step) return { product: undefined, factors, obstacle };
    if (step.factor) factors.push(step.factor);
    obstacle ??= step.obstacle;
    value = step.value;
  }
}

/** A product of two values that both depend on inputs: a weight's product is no attention. */
const isMoving = (graph: Graph, { input }: NodeProto): boolean => input.length === 2 && input.every((value) => !graph.isFixed(value));

interface Step {
  readonly value: string;
  readonly factor?: Factor;
  readonly obstacle?: string;
}

function stepOver(graph: Graph, node: NodeProto): Step | undefined {
  const [a, b] = node.input;
  switch (node.opType) {
    case 'Cast':
    case 'CastLike':
    case 'Identity':
    case 'Reshape':
    case 'DequantizeLinear':
      return { value: a };
    case 'QuantizeLinear':
      return { value: a, obstacle: `${nameOf(node)} rounds its scores` };
    case 'Mul':
      if (isScalar(graph, b)) return { value: a, factor: { value: b, divides: false } };
      return isScalar(graph, a) ? { value: b, factor: { value: a, divides: false } } : undefined;
    case 'Div':
      return isScalar(graph, b) ? { value: a, factor: { value: b, divides: true } } : undefined;
    case 'Add':
      return added(graph, node);
    case 'Where':
      return chosen(graph, node);
    case 'Tanh':
      return { value: a, obstacle: `it caps its scores with ${nameOf(node)}` };
    default:
      return undefined;
  }
}

const masked = (node: NodeProto): string => `the mask of ${nameOf(node)} cannot be expressed`;

function added(graph: Graph, node: NodeProto): Step | undefined {
  const [a, b] = node.input;
  const side = [a, b].find((value) => isZero(graph, value));
  if (side !== undefined) return { value: side === a ? b : a };
  const scores = scoresAmong(graph, [a, b]);
  return scores === undefined ? undefined : { value: scores, obstacle: masked(node) };
}

function chosen(graph: Graph, node: NodeProto): Step | undefined {
  const [condition, yes, no] = node.input;
  const always = everywhere(graph, condition);
  if (always !== undefined) return { value: always ? yes : no };
  const scores = scoresAmong(graph, [yes, no]);
  return scores === undefined ? undefined : { value: scores, obstacle: masked(node) };
}

/** The one of these values that leads to a product of moving values. */
function scoresAmong(graph: Graph, values: readonly string[], depth = 8): string | undefined {
  const leads = (value: string, left: number): boolean => {
    const node = graph.producer(value);
    if (!node || left === 0) return false;
    if (PRODUCTS.has(node.opType)) return isMoving(graph, node);
    return (
      ['Mul', 'Div', 'Add', 'Where', 'Cast', 'Identity', 'Reshape', 'Tanh'].includes(node.opType) &&
      node.input.some((next) => leads(next, left - 1))
    );
  };
  return values.find((value) => leads(value, depth));
}

const UNARY = new Set(['Cast', 'CastLike', 'Sqrt', 'Reciprocal', 'Identity', 'Squeeze', 'Unsqueeze', 'Neg', 'Exp']);
const BINARY = new Set(['Mul', 'Div', 'Add', 'Sub', 'Pow']);

/** Whether a value has one element, as far as the file tells. */
function isScalar(graph: Graph, value: string): boolean {
  const shape = graph.shape(value);
  if (shape) return shape.every((size) => size === 1);
  const node = graph.producer(value);
  if (!node) return false;
  if (node.opType === 'Constant') return numbersOf(graph, value)?.length === 1;
  if (UNARY.has(node.opType)) return isScalar(graph, node.input[0]);
  if (BINARY.has(node.opType)) return node.input.every((input) => isScalar(graph, input));
  if (node.opType === 'Gather') return graph.producer(node.input[0])?.opType === 'Shape' && isScalar(graph, node.input[1]);
  if (node.opType === 'Slice') return graph.producer(node.input[0])?.opType === 'Shape' && numbersOf(graph, node.input[1])?.[0] === -1;
  return false;
}

const SHAPERS = new Set(['Expand', 'Cast', 'Identity', 'Reshape', 'Unsqueeze', 'Squeeze', 'Slice', 'Transpose', 'Tile']);

/** Whether a value is zero everywhere, as far as the file tells. */
export function isZero(graph: Graph, value: string): boolean {
  const node = graph.producer(value);
  if (node?.opType === 'Mul') return node.input.some((input) => isZero(graph, input));
  if (node?.opType === 'ConstantOfShape') return fill(node) === 0;
  if (node && SHAPERS.has(node.opType)) return isZero(graph, node.input[0]);
  return numbersOf(graph, value)?.every((number) => number === 0) ?? false;
}

/** What a condition is everywhere, or undefined. */
function everywhere(graph: Graph, value: string): boolean | undefined {
  const node = graph.producer(value);
  if (node?.opType === 'ConstantOfShape') return fill(node) !== 0;
  if (node?.opType === 'Not') return not(everywhere(graph, node.input[0]));
  if (node && SHAPERS.has(node.opType)) return everywhere(graph, node.input[0]);
  const numbers = numbersOf(graph, value);
  if (!numbers?.length) return undefined;
  return numbers.every((number) => number !== 0) ? true : numbers.every((number) => number === 0) ? false : undefined;
}

const not = (value: boolean | undefined): boolean | undefined => (value === undefined ? undefined : !value);

function fill(node: NodeProto): number {
  const tensor = node.attribute?.find(({ name }) => name === 'value')?.t;
  if (!tensor) return 0;
  const bytes = tensor.rawData?.length
    ? [...tensor.rawData]
    : [...(tensor.floatData ?? []), ...(tensor.int32Data ?? []), ...(tensor.int64Data ?? []).map(Number)];
  return bytes.some((byte) => byte !== 0) ? 1 : 0;
}
