// Finds the attention of a graph and decides of each whether it is self-attention that can go through the seam.
import { type Candidate, nameOf, type Stray, sizesOf } from './candidate.ts';
import { firstOfEqual } from './equal.ts';
import { readFused } from './fused.ts';
import type { Graph } from './graph.ts';
import type { GraphProto, NodeProto } from './schema.ts';
import { whyCross } from './sources.ts';
import { readSoftmax } from './weigh.ts';

/** One attention of a graph, or what looks like one. */
export interface Finding {
  /** The node to name it by: its softmax, or the one node that it is. */
  readonly node: string;
  /** How it is written: its operator, or the nodes round its softmax. */
  readonly form: string;
  /** Self-attention of one sequence, attention to another one, or what is neither for sure. */
  readonly kind: 'self' | 'cross' | 'other';
  /** Why it is left as it is; absent for self-attention that can go through the seam. */
  readonly reason?: string;
  /** Heads, as far as the file states sizes. */
  readonly heads?: number;
  /** Tokens of a sequence. */
  readonly tokens?: number;
  /** Numbers of a head. */
  readonly dim?: number;
  /** What of the graph it is, where it can be read. */
  readonly candidate?: Candidate;
}

export function findAttention(graph: Graph): readonly Finding[] {
  const firstOf = firstOfEqual(graph);
  return graph.nodes.flatMap((node) => {
    const found = node.opType === 'Softmax' && !node.domain ? readSoftmax(graph, node) : readFused(graph, node);
    if (found) return [judge(graph, found, firstOf)];
    return bodiesOf(node).some(holdsSoftmax) ? [inside(node)] : [];
  });
}

function judge(graph: Graph, found: Candidate | Stray, firstOf: (value: string) => string): Finding {
  const { form } = found;
  const node = found.node.name || found.node.output[0];
  if (!('q' in found)) return { node, form, kind: 'other', reason: found.obstacle };
  const cross = whyCross(graph, firstOf, [found.q.value, found.k.value, found.v.value]);
  const sizes = statedOf(graph, found);
  if (cross) return { node, form, kind: 'cross', reason: cross, ...sizes };
  return { node, form, kind: 'self', ...sizes, candidate: found, ...(found.obstacle && { reason: found.obstacle }) };
}

/** Heads, tokens and width of the queries, as far as the file states them. */
function statedOf(graph: Graph, { q }: Candidate): Pick<Finding, 'heads' | 'tokens' | 'dim'> {
  const shape = sizesOf(graph, q);
  if (!shape || shape.length < 2) return {};
  const [tokens, width] = shape.slice(-2);
  const heads = q.heads ?? (shape.length > 3 ? shape[shape.length - 3] : -1);
  const dim = q.heads ? width / q.heads : width;
  return { ...(heads > 0 && { heads }), ...(tokens > 0 && { tokens }), ...(dim > 0 && { dim }) };
}

const bodiesOf = (node: NodeProto): readonly GraphProto[] =>
  (node.attribute ?? []).flatMap(({ g, graphs }) => [...(g ? [g] : []), ...(graphs ?? [])]);
const holdsSoftmax = (body: GraphProto): boolean =>
  body.node.some((node) => ['Softmax', 'Attention', 'MultiHeadAttention'].includes(node.opType) || bodiesOf(node).some(holdsSoftmax));

const inside = (node: NodeProto): Finding => ({
  node: node.name || node.output[0],
  form: node.opType,
  kind: 'other',
  reason: `attention inside the body of ${nameOf(node)} is not taken; export the model without loops and branches`,
});
