// Graphs written by hand in forms that optimised and quantised models have: one product for queries, keys and values, nodes that project or turn
// them, weights of few bits, half precision around the softmax.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as ort from 'onnxruntime-common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { float, type OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime, type Runtime } from '../../src/backend/runtime.ts';
import { dense } from '../../src/methods.ts';
import { gaussianNoise } from '../../src/noise.ts';
import { accelerateOnnx } from '../../src/onnx/accelerate.ts';
import { listAttention } from '../../src/onnx/list.ts';
import { relativeError } from './exports.ts';
import { DIM, floats, GRID, HEADS, layer, merge, type Operands, products, TOKENS, WIDTH, weight } from './layers.ts';

let folder: string;
let runtime: Runtime;
let feeds: Record<string, ort.Tensor>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onnx-forms-'));
  runtime = await loadRuntime('auto');
  feeds = {
    x: new runtime.Tensor('float32', gaussianNoise(1, TOKENS * WIDTH), [1, TOKENS, WIDTH]),
    t: new runtime.Tensor('float32', [500], [1]),
  };
});
afterAll(() => rmSync(folder, { recursive: true }));

function save(model: Uint8Array): string {
  const path = join(folder, 'form.onnx');
  writeFileSync(path, model);
  return path;
}

const MICROSOFT = 'com.microsoft';
const bytes = (graph: OnnxGraph, shape: readonly number[], seed: number): string =>
  graph.constant(
    'u8',
    shape,
    Uint8Array.from(
      gaussianNoise(
        seed,
        shape.reduce((a, b) => a * b),
      ).map((value) => 128 + 40 * value),
    ),
  );
const zeroPoint = (graph: OnnxGraph): string => graph.constant('u8', [], Uint8Array.of(128));
const cast = (graph: OnnxGraph, value: string, to: number): string => graph.node('Cast', [value], { to });
/** q, k, v beside each other in one value, [1, tokens, 3 * width]. */
const packed = ({ graph }: Operands): string => graph.node('MatMul', ['x', weight(graph, 7, WIDTH, 3 * WIDTH)]);
const attended = (operands: Operands, [q, k, v]: readonly string[]): string => products((_, scores) => scores)({ ...operands, q, k, v });
const projected = (operands: Operands, linear: (seed: number) => string): string =>
  attended(
    operands,
    [2, 3, 4].map((seed) => linear(seed)),
  );
const multiHead = (graph: OnnxGraph, inputs: readonly string[]): string =>
  graph.node('MultiHeadAttention', inputs, { num_heads: HEADS }, MICROSOFT);
const numbers = (graph: OnnxGraph, count: number): string => floats(graph, [count], gaussianNoise(8, count));
/** [1, tokens, heads, dim] */
const headed = (graph: OnnxGraph, value: string): string => graph.node('Reshape', [value, graph.ints([0, 0, HEADS, DIM])]);
const table = (graph: OnnxGraph, seed: number): string => floats(graph, [TOKENS, DIM / 2], gaussianNoise(seed, (TOKENS * DIM) / 2));

const FORMS: Readonly<Record<string, (operands: Operands) => string>> = {
  'one product, split': (operands) => {
    const { graph } = operands;
    return attended(operands, graph.nodes('Split', [packed(operands)], ['q', 'k', 'v'], { axis: -1, num_outputs: 3 }));
  },
  'one product, sliced': (operands) => {
    const { graph } = operands;
    const all = packed(operands);
    const slice = (part: number) =>
      graph.node('Slice', [all, ...[part * WIDTH, (part + 1) * WIDTH, 2].map((number) => graph.ints([number]))]);
    return attended(operands, [0, 1, 2].map(slice));
  },
  'one product, gathered': ({ graph, ...rest }) => {
    const five = graph.node('Reshape', [packed({ graph, ...rest }), graph.ints([0, 0, 3, HEADS, DIM])]);
    const parts = graph.node('Transpose', [five], { perm: [2, 0, 3, 1, 4] });
    const [q, k, v] = [0, 1, 2].map((part) => graph.node('Gather', [parts, graph.constant('i64', [], BigInt64Array.of(BigInt(part)))]));
    const scores = graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 1, 3, 2] })]);
    return merge(graph, graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v]));
  },
  'Attention of com.microsoft': ({ graph }) =>
    graph.node('Attention', ['x', weight(graph, 7, WIDTH, 3 * WIDTH), numbers(graph, 3 * WIDTH)], { num_heads: HEADS }, MICROSOFT),
  'Attention of com.microsoft with widths, bias and scale': ({ graph }) =>
    graph.node(
      'Attention',
      ['x', weight(graph, 7, WIDTH, 3 * WIDTH), numbers(graph, 3 * WIDTH)],
      { num_heads: HEADS, scale: float(0.3), qkv_hidden_sizes: [WIDTH, WIDTH, WIDTH] },
      MICROSOFT,
    ),
  'MultiHeadAttention with heads cut off keys and values': ({ graph, q, k, v, split }) => multiHead(graph, [q, split(k), split(v)]),
  'RotaryEmbedding of com.microsoft': (operands) => {
    const { graph, q, k, v } = operands;
    const positions = graph.constant(
      'i64',
      [1, TOKENS],
      BigInt64Array.from({ length: TOKENS }, (_, at) => BigInt(at)),
    );
    const turned = (value: string) =>
      graph.node(
        'RotaryEmbedding',
        [value, positions, table(graph, 11), table(graph, 12)],
        { num_heads: HEADS, interleaved: 1 },
        MICROSOFT,
      );
    return multiHead(graph, [turned(q), turned(k), v]);
  },
  'linear layers that are dequantised': (operands) => {
    const { graph } = operands;
    const round = (value: string) => {
      const how = [graph.scalar(0.05), zeroPoint(graph)];
      return graph.node('DequantizeLinear', [graph.node('QuantizeLinear', [value, ...how]), ...how]);
    };
    const matrix = (seed: number) =>
      graph.node('DequantizeLinear', [bytes(graph, [WIDTH, WIDTH], seed), graph.scalar(0.01), zeroPoint(graph)]);
    return projected(operands, (seed) => round(graph.node('MatMul', [round('x'), matrix(seed)])));
  },
  'linear layers of integers': (operands) => {
    const { graph } = operands;
    const [y, scale, zero] = graph.nodes('DynamicQuantizeLinear', ['x'], ['y8', 'yScale', 'yZero']);
    return projected(operands, (seed) => {
      const sums = graph.node('MatMulInteger', [y, bytes(graph, [WIDTH, WIDTH], seed), zero, zeroPoint(graph)]);
      return graph.node('Mul', [cast(graph, sums, 1), graph.node('Mul', [scale, graph.scalar(0.01)])]);
    });
  },
  'linear layers of four bits around half precision': (operands) => {
    const { graph } = operands;
    const linear = (seed: number): string => {
      const inputs = ['x', bytes(graph, [WIDTH, 1, WIDTH / 2], seed), floats(graph, [WIDTH], new Float32Array(WIDTH).fill(0.03))];
      return graph.node('MatMulNBits', inputs, { K: WIDTH, N: WIDTH, bits: 4, block_size: WIDTH }, MICROSOFT);
    };
    // As published exports of Wan have it: heads joined for the one node in half precision, and cut again behind it.
    const [q, k, v] = [2, 3, 4].map((seed) => {
      const back = graph.node('Transpose', [operands.split(linear(seed))], { perm: [0, 2, 1, 3] });
      return cast(graph, graph.node('Reshape', [back, graph.ints([0, 0, -1])]), 10);
    });
    const whole = graph.node('CastLike', [operands.split(multiHead(graph, [q, k, v])), 'x']);
    return merge(graph, whole);
  },
  'numbers made of comparisons': (operands) => {
    const { graph } = operands;
    const kept = cast(graph, graph.node('Greater', ['x', graph.scalar(0)]), 1);
    return projected(operands, (seed) => graph.node('MatMul', [graph.node('Mul', ['x', kept]), weight(graph, seed)]));
  },
  'half precision with a softmax in f32': ({ graph, q, k, v, split }) => {
    const [a, b, c] = [q, k, v].map((value) => cast(graph, split(value), 10));
    const scores = graph.node('MatMul', [a, graph.node('Transpose', [b], { perm: [0, 1, 3, 2] })]);
    const weights = cast(graph, graph.node('Softmax', [cast(graph, scores, 1)], { axis: -1 }), 10);
    return merge(graph, cast(graph, graph.node('MatMul', [weights, c]), 1));
  },
};

/** Half precision rounds what the seam does not. */
const toleranceOf = (name: string): number => (name.includes('half') ? 2e-3 : 2e-5);

async function both(model: Uint8Array, plain = model) {
  const session = await accelerateOnnx(save(model), dense(), { grid: GRID, steps: 1 });
  const reference = await runtime.session(plain);
  const results = [(await session.run(feeds)).y, (await reference.run(feeds)).y] as const;
  await session.release();
  await reference.release();
  return relativeError(...results);
}

test('forms of optimised and quantised models equal the plain session', async () => {
  for (const [name, make] of Object.entries(FORMS)) {
    const { attention } = await listAttention(save(layer(make)));
    expect(
      attention.map(({ taken, reason }) => reason ?? taken),
      name,
    ).toEqual([true]);
    expect(await both(layer(make)), name).toBeLessThan(toleranceOf(name));
  }
});

test('RotaryEmbedding of opset 23 equals the plain session', async () => {
  const model = layer((operands) => {
    const { graph, q, k, v } = operands;
    const cached = [21, 22].map((seed) => graph.node('Unsqueeze', [table(graph, seed), graph.ints([0])]));
    const turned = (value: string) => graph.node('RotaryEmbedding', [value, ...cached], { num_heads: HEADS });
    return attended(operands, [turned(q), turned(k), v]);
  }, 23);
  expect(await both(model)).toBeLessThan(2e-5);
});

test('packed queries, keys and values, which ONNX Runtime does not take on a CPU, equal those in one each', async () => {
  const plain = layer(({ graph, q, k, v }) => multiHead(graph, [q, k, v]));
  const stacked = (graph: OnnxGraph, values: readonly string[]) => {
    const parts = values.map((value) => graph.node('Unsqueeze', [headed(graph, value), graph.ints([3])]));
    return graph.node('Concat', parts, { axis: 3 });
  };
  const three = layer(({ graph, q, k, v }) => multiHead(graph, [stacked(graph, [q, k, v])]));
  const two = layer(({ graph, q, k, v }) => multiHead(graph, [q, stacked(graph, [k, v])]));
  for (const model of [three, two]) expect(await both(model, plain)).toBeLessThan(2e-5);
});

test('nodes that are no full attention over one sequence are refused by name', async () => {
  const matrix = (graph: OnnxGraph) => weight(graph, 7, WIDTH, 3 * WIDTH);
  const one = (op: string, inputs: (graph: OnnxGraph) => readonly string[], attributes = {}) =>
    layer(({ graph }) => graph.node(op, inputs(graph), { num_heads: HEADS, ...attributes }, MICROSOFT));
  const lengths = (graph: OnnxGraph) => graph.constant('i32', [1], Int32Array.of(TOKENS));
  const refused: readonly (readonly [Uint8Array, RegExp])[] = [
    [one('Attention', (graph) => ['x', matrix(graph), '', lengths(graph)]), /the mask constant\.\d+ of Attention Attention_\d+ cannot/],
    [one('Attention', (graph) => ['x', matrix(graph)], { unidirectional: 1 }), /Attention_\d+ is causal/],
    [one('Attention', (graph) => ['x', matrix(graph)], { do_rotary: 1 }), /Attention_\d+ turns queries and keys itself/],
    [one('Attention', (graph) => ['x', matrix(graph)], { qkv_hidden_sizes: [8, 8, 8] }), /the widths of queries, keys and values in/],
    [one('GroupQueryAttention', () => ['x', 'x', 'x', '', '', 't', 't']), /GroupQueryAttention_\d+ is causal; export the model with/],
    [one('PackedAttention', (graph) => ['x', matrix(graph)]), /PackedAttention_\d+ has sequences of several lengths/],
    [one('QAttention', () => ['x']), /QAttention_\d+ computes with 8-bit queries/],
    [
      layer(
        products((graph, scores) => {
          const how = [graph.scalar(0.1), zeroPoint(graph)];
          return graph.node('DequantizeLinear', [graph.node('QuantizeLinear', [scores, ...how]), ...how]);
        }),
      ),
      /QuantizeLinear QuantizeLinear_\d+ rounds its scores/,
    ],
  ];
  for (const [model, message] of refused)
    await expect(accelerateOnnx(save(model), dense(), { grid: GRID, steps: 1 })).rejects.toThrow(message);
});
