// Reads attention that is one node: ai.onnx Attention (opset 23), com.microsoft.MultiHeadAttention and com.microsoft.Attention.

import { attributeOf, intOf } from './attributes.ts';
import { type Candidate, nameOf, type Operand, type Stray } from './candidate.ts';
import type { Graph } from './graph.ts';
import { type NodeProto, numberOf } from './schema.ts';
import { isZero } from './scores.ts';
import { rankOf } from './weigh.ts';

/** Attention that is something else than softmax(q k^T) v over one sequence, and what. */
const OTHER: Readonly<Record<string, string>> = {
  GroupQueryAttention: 'is causal',
  PackedAttention: 'has sequences of several lengths in one row',
  PackedMultiHeadAttention: 'has sequences of several lengths in one row',
  PagedAttention: 'keeps keys of earlier calls',
  SparseAttention: 'has a mask of its own',
  DecoderMaskedMultiHeadAttention: 'keeps keys of earlier calls',
  DecoderMaskedSelfAttention: 'keeps keys of earlier calls',
  QAttention: 'computes with 8-bit queries, keys and values',
  LongformerAttention: 'has a mask of its own',
};

/** What a node is, if it is attention. */
export function readFused(graph: Graph, node: NodeProto): Candidate | Stray | undefined {
  const { domain, opType } = node;
  if (!domain && opType === 'Attention') return standard(graph, node);
  if (domain !== 'com.microsoft') return undefined;
  const form = `com.microsoft.${opType}`;
  if (opType === 'MultiHeadAttention') return multiHead(graph, node, form);
  if (opType === 'Attention') return projecting(graph, node, form);
  return OTHER[opType]
    ? { form, node, obstacle: `${nameOf(node)} ${OTHER[opType]}; export the model with attention as plain products` }
    : undefined;
}

function standard(graph: Graph, node: NodeProto): Candidate {
  const [q, k, v, mask, pastKey, pastValue, lengths] = node.input;
  const [rows, columns] = [intOf(node, 'q_num_heads', 0), intOf(node, 'kv_num_heads', 0)];
  const obstacle =
    whyNot(graph, node, { mask: isMask(graph, mask) && mask, causal: 'is_causal', past: [pastKey, pastValue, lengths] }) ??
    (attributeOf(node, 'softcap')?.f ? `${nameOf(node)} caps its scores` : undefined) ??
    (rows !== columns ? `${nameOf(node)} has ${rows} heads for queries and ${columns} for keys` : undefined);
  const operand = (value: string): Operand => ({ value, ...(rows > 0 && { heads: rows }) });
  return {
    ...{ form: 'Attention', node, end: node, q: operand(q), k: operand(k), v: operand(v) },
    ...{ factors: scaleOf(node), out: { joined: rows > 0 }, obstacle },
  };
}

function multiHead(graph: Graph, node: NodeProto, form: string): Candidate {
  const [q, k, v, bias, padding, added, ...past] = node.input;
  const width = bias ? (graph.shape(bias)?.[0] ?? Number.NaN) / 3 : 0;
  const obstacle =
    whyNot(graph, node, { mask: padding || (isMask(graph, added) && added), causal: 'unidirectional', past }) ??
    (bias && !v ? `${nameOf(node)} has a bias for packed values` : undefined) ??
    (Number.isInteger(width) ? undefined : `the bias ${bias} of ${nameOf(node)} is not three of one width`);
  const own = (value: string, place: number): Operand => {
    // Keys and values may have their heads cut off already: [batch, heads, tokens, dim].
    if (rankOf(graph, value) === 4) return { value };
    return { value, heads: intOf(node, 'num_heads', 0), ...(bias && { bias: columns(bias, place * width, width) }) };
  };
  // [batch, tokens, heads, 3 or 2, dim]
  const packed = (value: string, index: number): Operand => ({ value, part: { axis: 3, index }, permutation: [0, 2, 1, 3] });
  const operands: Pick<Candidate, 'q' | 'k' | 'v'> = k
    ? { q: own(q, 0), ...(v ? { k: own(k, 1), v: own(v, 2) } : { k: packed(k, 0), v: packed(k, 1) }) }
    : { q: packed(q, 0), k: packed(q, 1), v: packed(q, 2) };
  return { form, node, end: node, ...operands, factors: scaleOf(node), out: { joined: true }, obstacle };
}

/** com.microsoft.Attention projects its input itself, by one matrix for queries, keys and values. */
function projecting(graph: Graph, node: NodeProto, form: string): Candidate | Stray {
  const [x, weight, bias, mask, past, added, lengths] = node.input;
  const whole = graph.shape(weight)?.[1] ?? 0;
  const widths = attributeOf(node, 'qkv_hidden_sizes')?.ints?.map(numberOf) ?? [0, 1, 2].map(() => whole / 3);
  if (widths.reduce((sum, width) => sum + width, 0) !== whole || !widths.every((width) => Number.isInteger(width) && width > 0))
    return { form, node, obstacle: `the widths of queries, keys and values in ${weight} of ${nameOf(node)} are not known` };
  const obstacle =
    whyNot(graph, node, { mask: mask || (isMask(graph, added) && added), causal: 'unidirectional', past: [past, lengths] }) ??
    (intOf(node, 'do_rotary', 0) ? `${nameOf(node)} turns queries and keys itself` : undefined);
  const operand = (place: number): Operand => {
    const start = widths.slice(0, place).reduce((sum, width) => sum + width, 0);
    const of = (value: string) => columns(value, start, widths[place]);
    return { value: x, weight: of(weight), ...(bias && { bias: of(bias) }), heads: intOf(node, 'num_heads', 0) };
  };
  return {
    ...{ form, node, end: node, q: operand(0), k: operand(1), v: operand(2) },
    ...{ factors: scaleOf(node), out: { joined: true }, obstacle },
  };
}

const columns = (value: string, start: number, width: number) => ({ value, start, end: start + width });

interface Doubts {
  readonly mask: string | false | undefined;
  /** The attribute that says it. */
  readonly causal: string;
  readonly past: readonly string[];
}

/** Why an attention is not softmax(q k^T) v over one sequence. */
function whyNot(graph: Graph, node: NodeProto, { mask, causal, past }: Doubts): string | undefined {
  if (mask) return `the mask ${mask} of ${nameOf(node)} cannot be expressed`;
  if (intOf(node, causal, 0)) return `${nameOf(node)} is causal`;
  return past.some(Boolean) || used(graph, node, 1) ? `${nameOf(node)} keeps keys of earlier calls` : undefined;
}

const isMask = (graph: Graph, value: string | undefined): boolean => Boolean(value) && !isZero(graph, value!);

/** Whether a result from number `from` on is read. */
const used = (graph: Graph, { output }: NodeProto, from: number): boolean =>
  output.slice(from).some((value) => value && (graph.consumers(value).length > 0 || graph.outputs.includes(value)));

function scaleOf(node: NodeProto): Candidate['factors'] {
  const scale = attributeOf(node, 'scale')?.f;
  return scale ? [{ value: scale, divides: false }] : undefined;
}
