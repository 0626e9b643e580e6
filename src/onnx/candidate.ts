// What an attention in a graph is: its three operands as they stand in the graph, and what turns them into the seam's and its result back.
import type { Graph } from './graph.ts';
import type { NodeProto } from './schema.ts';

/** Columns [start, end) of a matrix, or such numbers of a vector. */
export interface Columns {
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** A value with what is done to it before it is [..., tokens, dim], in this order. */
export interface Operand {
  readonly value: string;
  /** It is projected by these columns. */
  readonly weight?: Columns;
  /** Added then. */
  readonly bias?: Columns;
  /** The one at `index` along an axis, which goes away: queries, keys and values may lie beside each other. */
  readonly part?: { readonly axis: number; readonly index: number };
  /** Axes in their new order, as of Transpose. */
  readonly permutation?: readonly number[];
  /** The last two axes change places; for values whose rank the file does not say. */
  readonly swapped?: boolean;
  /** [batch, tokens, heads * dim] is cut in so many heads, [batch, heads, tokens, dim]. */
  readonly heads?: number;
}

/** The sizes of an operand before its heads are cut, as far as the file states them. */
export function sizesOf(graph: Graph, { value, weight, part, permutation }: Operand): readonly number[] | undefined {
  const stated = graph.shape(value);
  if (!stated?.length) return undefined;
  const projected = weight ? [...stated.slice(0, -1), weight.end - weight.start] : stated;
  const rest = part ? projected.filter((_, axis) => axis !== part.axis) : projected;
  return permutation ? permutation.map((axis) => rest[axis]) : rest;
}

/** A number that scores are multiplied with or divided by: a value of the graph with one element, or a known number. */
export interface Factor {
  readonly value: string | number;
  readonly divides: boolean;
}

/** softmax(scale q k^T) v found in a graph. */
export interface Candidate {
  readonly form: string;
  /** The node that takes the softmax, and the one whose result is the attention's. */
  readonly node: NodeProto;
  readonly end: NodeProto;
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  /** What q k^T is multiplied with; undefined for 1/sqrt(dim). */
  readonly factors: readonly Factor[] | undefined;
  /** The result [..., tokens, dim] is permuted so, or its heads are joined. */
  readonly out: { readonly permutation?: readonly number[]; readonly joined?: boolean };
  /** Why it cannot go through the seam. */
  readonly obstacle?: string;
}

/** Something that looks like an attention and is none that can be read. */
export interface Stray {
  readonly form: string;
  readonly node: NodeProto;
  readonly obstacle: string;
}

/** How a message names a node. */
export const nameOf = ({ name, opType, output }: NodeProto): string => `${opType} ${name || output[0]}`;
