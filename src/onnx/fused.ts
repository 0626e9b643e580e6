// Reads attention that is one node: ai.onnx Attention (opset 23) and com.microsoft.MultiHeadAttention.
import { type Candidate, nameOf, type Operand, type Stray } from './candidate.ts';
import { attributeOf, type Graph, intOf } from './graph.ts';
import type { NodeProto } from './schema.ts';
import { isZero } from './scores.ts';

/** Attention whose operands cannot be told apart from outside. */
const OPAQUE = new Set([
  'Attention',
  'GroupQueryAttention',
  'PackedAttention',
  'PackedMultiHeadAttention',
  'PagedAttention',
  'SparseAttention',
  'DecoderMaskedMultiHeadAttention',
  'QAttention',
  'LongformerAttention',
]);

/** What a node is, if it is attention. */
export function readFused(graph: Graph, node: NodeProto): Candidate | Stray | undefined {
  const isMicrosoft = node.domain === 'com.microsoft';
  if (isMicrosoft && node.opType === 'MultiHeadAttention') return multiHead(graph, node);
  if (!node.domain && node.opType === 'Attention') return standard(graph, node);
  if (isMicrosoft && OPAQUE.has(node.opType))
    return {
      form: `com.microsoft.${node.opType}`,
      node,
      obstacle: `${nameOf(node)} is a form that is not read; export the model with plain products`,
    };
  return undefined;
}

function standard(graph: Graph, node: NodeProto): Candidate {
  const [q, k, v, mask, pastKey, pastValue, lengths] = node.input;
  const [rows, columns] = [intOf(node, 'q_num_heads', 0), intOf(node, 'kv_num_heads', 0)];
  const obstacle =
    (isMask(graph, mask) && `the mask ${mask} of ${nameOf(node)} cannot be expressed`) ||
    (intOf(node, 'is_causal', 0) && `${nameOf(node)} is causal`) ||
    ((pastKey || pastValue || lengths || used(graph, node, 1)) && `${nameOf(node)} keeps keys of earlier calls`) ||
    (attributeOf(node, 'softcap')?.f && `${nameOf(node)} caps its scores`) ||
    (rows !== columns && `${nameOf(node)} has ${rows} heads for queries and ${columns} for keys`) ||
    undefined;
  const operand = (value: string): Operand => ({ value, ...(rows > 0 && { heads: rows }) });
  return {
    ...{ form: 'Attention', node, end: node, q: operand(q), k: operand(k), v: operand(v) },
    ...{ factors: scaleOf(node), out: { joined: rows > 0 }, obstacle },
  };
}

function multiHead(graph: Graph, node: NodeProto): Candidate | Stray {
  const [q, k, v, bias, padding, added, ...past] = node.input;
  const heads = intOf(node, 'num_heads', 0);
  const form = 'com.microsoft.MultiHeadAttention';
  if (!k || !v) return { form, node, obstacle: `${nameOf(node)} has queries, keys and values packed into one` };
  const mask = padding || (isMask(graph, added) && added);
  const width = bias ? (graph.shape(bias)?.[0] ?? Number.NaN) / 3 : 0;
  const obstacle =
    (mask && `the mask ${mask} of ${nameOf(node)} cannot be expressed`) ||
    (intOf(node, 'unidirectional', 0) && `${nameOf(node)} is causal`) ||
    ((past.some(Boolean) || used(graph, node, 1)) && `${nameOf(node)} keeps keys of earlier calls`) ||
    (!Number.isInteger(width) && `the bias ${bias} of ${nameOf(node)} is not three of one width`) ||
    undefined;
  const operand = (value: string, part: number): Operand => ({
    value,
    heads,
    ...(bias && { bias: { value: bias, start: part * width, end: (part + 1) * width } }),
  });
  return {
    ...{ form, node, end: node, q: operand(q, 0), k: operand(k, 1), v: operand(v, 2) },
    ...{ factors: scaleOf(node), out: { joined: true }, obstacle },
  };
}

const isMask = (graph: Graph, value: string | undefined): boolean => Boolean(value) && !isZero(graph, value!);

/** Whether a result from number `from` on is read. */
const used = (graph: Graph, { output }: NodeProto, from: number): boolean =>
  output.slice(from).some((value) => value && (graph.consumers(value).length > 0 || graph.outputs.includes(value)));

function scaleOf(node: NodeProto): Candidate['factors'] {
  const scale = attributeOf(node, 'scale')?.f;
  return scale ? [{ value: scale, divides: false }] : undefined;
}
