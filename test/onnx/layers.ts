// Graphs of one attention layer, written by hand.
import { OnnxGraph } from '../../src/backend/onnx.ts';
import { gaussianNoise } from '../../src/noise.ts';

export const GRID = { frames: 2, height: 3, width: 4, text: 0 } as const;
export const [TOKENS, WIDTH, HEADS, DIM] = [24, 16, 2, 8];

export const floats = (graph: OnnxGraph, shape: readonly number[], data: Float32Array): string => graph.constant('f32', shape, data);
export const weight = (graph: OnnxGraph, seed: number, rows = WIDTH, columns = WIDTH): string =>
  floats(
    graph,
    [rows, columns],
    gaussianNoise(seed, rows * columns).map((value) => value / 4),
  );

export interface Operands {
  readonly graph: OnnxGraph;
  /** Projections of x, [1, tokens, width]. */
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly split: (value: string) => string;
}

/** A graph of one attention layer over x [1, 24, 16]; `attend` gives [1, tokens, width]. */
export function layer(attend: (operands: Operands) => string, opset = 20): Uint8Array {
  const graph = new OnnxGraph(opset);
  const x = graph.input('x', 'f32', [1, 'tokens', WIDTH]);
  const t = graph.input('t', 'f32', [1]);
  const [q, k, v] = [2, 3, 4].map((seed) => graph.node('MatMul', [x, weight(graph, seed)]));
  const split = (value: string) =>
    graph.node('Transpose', [graph.node('Reshape', [value, graph.ints([0, 0, HEADS, DIM])])], { perm: [0, 2, 1, 3] });
  const out = graph.node('MatMul', [attend({ graph, q, k, v, split }), weight(graph, 5)]);
  graph.output(graph.node('Add', [graph.node('Add', [out, x]), t], {}, '', 'y'), 'f32', [1, 'tokens', WIDTH]);
  return graph.build();
}

export const merge = (graph: OnnxGraph, value: string): string =>
  graph.node('Reshape', [graph.node('Transpose', [value], { perm: [0, 2, 1, 3] }), graph.ints([0, 0, -1])]);

/** Softmax between products, with what is done to the scores. */
export const products =
  (change: (graph: OnnxGraph, scores: string) => string) =>
  ({ graph, q, k, v, split }: Operands) => {
    const keys = graph.node('Transpose', [split(k)], { perm: [0, 1, 3, 2] });
    const scores = change(graph, graph.node('MatMul', [split(q), keys]));
    return merge(graph, graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), split(v)]));
  };
