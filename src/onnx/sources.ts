// From which activations queries, keys and values are projected: self-attention projects all three from the same ones.
import type { Graph } from './graph.ts';
import type { NodeProto } from './schema.ts';

const PROJECTIONS = new Set([
  'MatMul',
  'Gemm',
  'Conv',
  'FusedMatMul',
  'MatMulNBits',
  'MatMulInteger',
  'QLinearMatMul',
  'MatMulIntegerToFloat',
  'Einsum',
]);
/** What only moves numbers or changes how they are stored. */
const MOVES = new Set([
  ...['Cast', 'CastLike', 'Identity', 'Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Flatten'],
  ...['QuantizeLinear', 'DequantizeLinear', 'DynamicQuantizeLinear'],
]);

/** Activations behind a value: those that it is projected from, and those that reach it without a projection, such as rope tables. */
interface Sources {
  readonly projected: ReadonlySet<string>;
  readonly direct: ReadonlySet<string>;
}

function sourcesOf(graph: Graph, value: string): Sources {
  const projected = new Set<string>();
  const direct = new Set<string>();
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name) || graph.isFixed(name)) return;
    seen.add(name);
    const node = graph.producer(name);
    if (!node) direct.add(name);
    else if (isProjection(graph, node)) projected.add(activation(graph, dataOf(graph, node)));
    else if (node.opType === 'MatMul' || node.opType === 'Softmax') direct.add(name);
    else if (node.opType !== 'Shape' && node.opType !== 'Size') for (const input of node.input) if (input) visit(input);
  };
  visit(value);
  return { projected, direct };
}

const isProjection = (graph: Graph, node: NodeProto): boolean =>
  PROJECTIONS.has(node.opType) && node.input.some((input) => input && graph.isFixed(input));
const dataOf = (graph: Graph, { input }: NodeProto): string => input.find((value) => !graph.isFixed(value)) ?? input[0];

/** The value behind reshapes, casts and projections that follow one another, as those of low rank do. */
function activation(graph: Graph, value: string): string {
  const node = graph.producer(value);
  if (!node || graph.isFixed(value)) return value;
  if (MOVES.has(node.opType)) return activation(graph, node.input[0]);
  return isProjection(graph, node) ? activation(graph, dataOf(graph, node)) : value;
}

/** What tells an attention from self-attention; undefined for self-attention. `firstOf` takes equal values for one. */
export function whyCross(graph: Graph, firstOf: (value: string) => string, operands: readonly string[]): string | undefined {
  const [queries, keys, values] = operands.map((value) => {
    const { projected, direct } = sourcesOf(graph, value);
    return { projected: new Set([...projected].map(firstOf)), direct: new Set([...direct].map(firstOf)) };
  });
  const isProjected = [queries, keys, values].every(({ projected }) => projected.size > 0);
  const kind = isProjected ? 'projected' : 'direct';
  if (equal(queries[kind], keys[kind]) && equal(keys[kind], values[kind])) return undefined;
  const other = [...keys[kind]].filter((name) => !queries[kind].has(name));
  return `cross-attention: its keys come from ${other.join(' and ') || [...keys[kind]].join(' and ') || 'constants'}, its queries from ${[...queries[kind]].join(' and ')}`;
}

const equal = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => a.size === b.size && [...a].every((name) => b.has(name));
