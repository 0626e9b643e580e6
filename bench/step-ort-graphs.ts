// Segments of a Program as ONNX graphs for onnxruntime-web's WebGPU build, f32 or f16: linear layers, norms and activations as the CPU executor
// writes them, rotary embedding and attention as ONNX Runtime's own operations, which take rows with all heads.
import { type Attribute, float, ONNX_TYPE, OnnxGraph, type OnnxType } from '../src/backend/onnx.ts';
import type { ExternalBytes } from '../src/backend/runtime.ts';
import type { Node, Program } from '../src/dit/graph.ts';
import { convert } from '../src/dit/onnx/convert.ts';
import type { Segment } from '../src/dit/onnx/segments.ts';
import type { Weights } from '../src/dit/weights.ts';

export type DType = 'f32' | 'f16';

/** A graph whose f32 values are of another type. Constants are cast, which ONNX Runtime does once. */
class TypedGraph extends OnnxGraph {
  constructor(readonly dtype: DType) {
    super();
  }
  override constant(type: OnnxType, shape: readonly number[], data: ArrayBufferView, name?: string): string {
    return this.typed(super.constant(type, shape, data, name), type);
  }
  /** A value of another type as one of the graph's. */
  typed(name: string, type: OnnxType): string {
    const isOther = type !== this.dtype && (type === 'f32' || type === 'f16' || type === 'bf16');
    return isOther ? this.node('Cast', [name], { to: ONNX_TYPE[this.dtype] }) : name;
  }
}

const microsoft = (graph: OnnxGraph, op: string, inputs: readonly string[], attributes: Record<string, Attribute>): string =>
  graph.node(op, inputs, attributes, 'com.microsoft');

/**
 * Values that have heads for an axis in the Program, and are [batch, tokens, heads * dim] here: ONNX Runtime's attention and rotary embedding take
 * rows with all heads, so nothing is transposed.
 */
export function rowsOf({ nodes }: Program): Map<number, readonly number[]> {
  const rows = new Map<number, readonly number[]>();
  for (const { id, operation, inputs } of nodes) {
    const source = nodes[inputs[0]];
    let shape = rows.get(source?.id);
    const isSwap = operation.op === 'transpose' && operation.order.join() === '0,2,1,3';
    if (isSwap && !shape && source.operation.op === 'reshape') shape = nodes[source.inputs[0]].shape;
    if (shape && (isSwap || ['reshape', 'rope', 'softmaxAttention', 'attention'].includes(operation.op))) rows.set(id, shape);
  }
  return rows;
}

/** What sessions are made of. */
export interface Source {
  readonly program: Program;
  readonly rows: ReadonlyMap<number, readonly number[]>;
  readonly weights: Weights;
  readonly dtype: DType;
}

/** The ONNX graph of a segment, written from its outputs back. */
export async function write({ program, rows, weights, dtype }: Source, part: Segment) {
  const { nodes } = program;
  const graph = new TypedGraph(dtype);
  const externalData: ExternalBytes[] = [];
  const names = new Map(part.inputs.map(({ id, shape }) => [id, graph.input(`v${id}`, dtype, rows.get(id) ?? shape)]));
  const nameOf = async (id: number): Promise<string> => {
    const name = names.get(id) ?? (await define(nodes[id]));
    names.set(id, name);
    return name;
  };
  const define = async (node: Node): Promise<string> => {
    const { operation, inputs, shape } = node;
    if (operation.op === 'constant') return graph.constant('f32', shape, operation.data);
    if (operation.op === 'weight') {
      const isHalf = weights.get(operation.name, shape).dtype === 'F16';
      const data = isHalf ? await weights.bytes(operation.name) : new Uint8Array((await weights.floats(operation.name)).buffer);
      externalData.push({ path: operation.name, data });
      const type = isHalf ? 'f16' : 'f32';
      return graph.typed(graph.external(operation.name, type, shape, { location: operation.name, offset: 0, length: data.length }), type);
    }
    const inRows = rows.has(node.id);
    if (inRows && operation.op === 'reshape') return nameOf(inputs[0]);
    if (inRows && operation.op === 'transpose') return nameOf(rows.has(inputs[0]) ? inputs[0] : nodes[inputs[0]].inputs[0]);
    const given: string[] = [];
    for (const id of inputs) given.push(await nameOf(id));
    const [x, ...others] = given;
    if (operation.op === 'rope') return microsoft(graph, 'RotaryEmbedding', [x, graph.ints([0]), ...others], { interleaved: 1 });
    if (operation.op === 'softmaxAttention')
      return microsoft(graph, 'MultiHeadAttention', given, { num_heads: shape[1], scale: float(operation.scale) });
    const shapes = inputs.map((id) => nodes[id].shape);
    return convert(graph, node, given, shapes);
  };
  const outputs: string[] = [];
  for (const { id, shape } of part.outputs) {
    // The Program's own results are f32, as everywhere.
    const isResult = Object.values(program.outputs).includes(id);
    const name = await nameOf(id);
    outputs.push(isResult && dtype === 'f16' ? graph.node('Cast', [name], { to: ONNX_TYPE.f32 }) : name);
    graph.output(outputs.at(-1)!, isResult ? 'f32' : dtype, rows.get(id) ?? shape);
  }
  return { model: graph.build(), externalData, inputs: part.inputs.map(({ id }) => names.get(id)!), outputs };
}

/** Self-attention as a session of its own. */
export function attentionGraph(dtype: DType, shape: readonly number[], heads: number): Uint8Array {
  const graph = new OnnxGraph();
  const inputs = ['q', 'k', 'v'].map((name) => graph.input(name, dtype, shape));
  graph.output(graph.node('MultiHeadAttention', inputs, { num_heads: heads }, 'com.microsoft', 'out'), dtype, shape);
  return graph.build();
}
