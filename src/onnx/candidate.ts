// What an attention in a graph is: its three operands as they stand in the graph, and what turns them into the seam's and its result back.
import type { NodeProto } from './schema.ts';

/** A value with what is done to it before it is [..., tokens, dim]. */
export interface Operand {
  readonly value: string;
  /** Axes in their new order, as of Transpose. */
  readonly permutation?: readonly number[];
  /** The last two axes change places; for values whose rank the file does not say. */
  readonly swapped?: boolean;
  /** [batch, tokens, heads * dim] is cut in so many heads, [batch, heads, tokens, dim]. */
  readonly heads?: number;
  /** Added before: these numbers of a bias. */
  readonly bias?: { readonly value: string; readonly start: number; readonly end: number };
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
