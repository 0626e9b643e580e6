// Operations of a Program as ONNX nodes: the one place where the two vocabularies meet.
import { float, type OnnxGraph } from '../../backend/onnx.ts';
import { slotsOf } from '../../sparse3d/order.ts';
import { PAD } from '../../sparse3d/plan.ts';
import { elements } from '../../tensor.ts';
import type { Node, Operation } from '../graph.ts';

/** Scores of one tile of plain softmax attention stay below this size. */
const TILE_BYTES = 64 * 2 ** 20;

type Kind = Exclude<Operation['op'], 'input' | 'weight' | 'constant' | 'attention' | 'cut'>;
type OperationOf<K extends Kind> = Extract<Operation, { op: K }>;
type Convert<K extends Kind> = (
  graph: OnnxGraph,
  inputs: readonly string[],
  operation: OperationOf<K>,
  node: Node,
  shapes: readonly (readonly number[])[],
) => string;

const binary =
  (op: string) =>
  (graph: OnnxGraph, inputs: readonly string[]): string =>
    graph.node(op, inputs);

const CONVERT: { readonly [K in Kind]: Convert<K> } = {
  linear: (graph, [x, weight, bias], _operation, _node) => {
    const product = graph.node('MatMul', [x, graph.node('Transpose', [weight], { perm: [1, 0] })]);
    return bias ? graph.node('Add', [product, bias]) : product;
  },
  norm: (graph, [x, weight, bias], { kind, epsilon }, node) => {
    const width = node.shape[node.shape.length - 1];
    const scale = weight ?? graph.constant('f32', [width], new Float32Array(width).fill(1));
    if (kind === 'layer')
      return graph.node('LayerNormalization', bias ? [x, scale, bias] : [x, scale], { axis: -1, epsilon: float(epsilon) });
    return graph.node('SimplifiedLayerNormalization', [x, scale], { axis: -1, epsilon: float(epsilon), stash_type: 1 });
  },
  normalize: (graph, [x], { axis }) => {
    const length = graph.node('ReduceL2', [x, graph.ints([axis])], { keepdims: 1 });
    return graph.node('Div', [x, graph.node('Max', [length, graph.scalar(1e-12)])]);
  },
  activate: (graph, [x], { kind }) => {
    switch (kind) {
      case 'silu':
        return graph.node('QuickGelu', [x], { alpha: float(1) }, 'com.microsoft');
      case 'gelu_tanh':
        return graph.node('Gelu', [x], { approximate: 'tanh' });
      case 'relu':
        return graph.node('Relu', [x]);
      case 'tanh':
        return graph.node('Tanh', [x]);
    }
  },
  add: binary('Add'),
  sub: binary('Sub'),
  mul: binary('Mul'),
  clip: (graph, [x], { min, max }) => graph.node('Clip', [x, graph.scalar(min), graph.scalar(max)]),
  reshape: (graph, [x], _operation, node) => graph.node('Reshape', [x, graph.ints(node.shape)]),
  transpose: (graph, [x], { order }) => graph.node('Transpose', [x], { perm: order }),
  slice: (graph, [x], { axis, start, end }) => graph.node('Slice', [x, graph.ints([start]), graph.ints([end]), graph.ints([axis])]),
  concat: (graph, inputs, { axis }) => graph.node('Concat', inputs, { axis }),
  repeat: (graph, [x], { axis, times }, node, [shape]) => {
    const wide = [...shape.slice(0, axis + 1), times, ...shape.slice(axis + 1)];
    const expanded = graph.node('Expand', [graph.node('Unsqueeze', [x, graph.ints([axis + 1])]), graph.ints(wide)]);
    return graph.node('Reshape', [expanded, graph.ints(node.shape)]);
  },
  conv: (graph, inputs, { strides, pads }) => graph.node('Conv', inputs, { strides, pads }),
  upsample: (graph, [x], { scales }) => {
    const factors = graph.constant('f32', [scales.length], Float32Array.from(scales));
    return graph.node('Resize', [x, '', factors], { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' });
  },
  gather: (graph, [x], { layout }, _node, [[batch, tokens, dim]]) => {
    const { order } = layout;
    if (!order.includes(PAD)) return takeRows(graph, x, order);
    const none = graph.constant('f32', [batch, 1, dim], new Float32Array(batch * dim));
    const rows = graph.node('Concat', [x, none], { axis: 1 });
    return takeRows(
      graph,
      rows,
      order.map((token) => (token === PAD ? tokens : token)),
    );
  },
  scatter: (graph, [x], { layout }) => takeRows(graph, x, slotsOf(layout)),
  rope: (graph, [x, cos, sin]) => {
    const start = graph.constant('i64', [1], BigInt64Array.of(0n));
    return graph.node('RotaryEmbedding', [x, start, cos, sin], { interleaved: 1 }, 'com.microsoft');
  },
  softmaxAttention: (graph, [q, k, v, bias], { scale }, node, shapes) => {
    const rows = node.shape[node.shape.length - 2];
    const keys = shapes[1][shapes[1].length - 2];
    const tile = Math.max(1, Math.floor(TILE_BYTES / (4 * keys * elements(node.shape.slice(0, -2)))));
    // ONNX Runtime fuses these with the product on the CPU; on a GPU it has no fused form.
    const across = shapes[1].map((_, axis) => axis);
    const columns = graph.node('Transpose', [k], { perm: [...across.slice(0, -2), across.length - 1, across.length - 2] });
    const attend = (part: string): string => {
      const scores = graph.node('MatMul', [scale === 1 ? part : graph.node('Mul', [part, graph.scalar(scale)]), columns]);
      return graph.node('MatMul', [graph.node('Softmax', [bias ? graph.node('Add', [scores, bias]) : scores], { axis: -1 }), v]);
    };
    if (tile >= rows || bias) return attend(q);
    const parts: string[] = [];
    for (let start = 0; start < rows; start += tile) {
      parts.push(attend(graph.node('Slice', [q, graph.ints([start]), graph.ints([Math.min(rows, start + tile)]), graph.ints([-2])])));
    }
    return graph.node('Concat', parts, { axis: -2 });
  },
};

const takeRows = (graph: OnnxGraph, x: string, rows: Int32Array): string =>
  graph.node('Gather', [x, graph.constant('i32', [rows.length], rows)], { axis: 1 });

/** Adds the ONNX nodes of one operation; `shapes` are those of the inputs. Returns the name of the result. */
export function convert(graph: OnnxGraph, node: Node, inputs: readonly string[], shapes: readonly (readonly number[])[]): string {
  const { operation } = node;
  const add = CONVERT[operation.op as Kind] as Convert<Kind> | undefined;
  if (!add) throw new TypeError(`operation ${operation.op} has no ONNX form inside a segment`);
  return add(graph, inputs, operation as OperationOf<Kind>, node, shapes);
}
