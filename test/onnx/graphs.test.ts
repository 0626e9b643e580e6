// Graphs written by hand: forms of attention that PyTorch's exporters do not write, and graphs that cannot be accelerated.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as ort from 'onnxruntime-common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { float, OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime, type Runtime } from '../../src/backend/runtime.ts';
import { dense } from '../../src/methods.ts';
import { gaussianNoise } from '../../src/noise.ts';
import { accelerateOnnx } from '../../src/onnx/accelerate.ts';
import { formatListing, listAttention } from '../../src/onnx/list.ts';
import { relativeError } from './exports.ts';
import { DIM, floats, GRID, HEADS, layer, merge, products, TOKENS, WIDTH, weight } from './layers.ts';

let folder: string;
let runtime: Runtime;
let feeds: Record<string, ort.Tensor>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onnx-graphs-'));
  runtime = await loadRuntime('auto');
  feeds = {
    x: new runtime.Tensor('float32', gaussianNoise(1, TOKENS * WIDTH), [1, TOKENS, WIDTH]),
    t: new runtime.Tensor('float32', [500], [1]),
  };
});
afterAll(() => rmSync(folder, { recursive: true }));

function save(name: string, model: Uint8Array): string {
  const path = join(folder, `${name}.onnx`);
  writeFileSync(path, model);
  return path;
}

const FORMS: Readonly<Record<string, () => Uint8Array>> = {
  'a scale of its own': () => layer(products((graph, scores) => graph.node('Mul', [graph.scalar(0.5), scores]))),
  'no scale': () => layer(products((_, scores) => scores)),
  'a mask of zeros': () =>
    layer(
      products((graph, scores) =>
        graph.node('Add', [floats(graph, [TOKENS, TOKENS], new Float32Array(TOKENS ** 2)), graph.node('Div', [scores, graph.scalar(3)])]),
      ),
    ),
  'weights filled where they are no numbers': () =>
    layer(({ graph, q, k, v, split }) => {
      const keys = graph.node('Transpose', [split(k)], { perm: [0, 1, 3, 2] });
      const weights = graph.node('Softmax', [graph.node('MatMul', [split(q), keys])], { axis: 3 });
      const filled = graph.node('Where', [graph.node('IsNaN', [weights]), graph.scalar(0), weights]);
      return merge(graph, graph.node('MatMul', [filled, split(v)]));
    }),
  'Einsum with rows before heads': () =>
    layer(({ graph, q, k, v }) => {
      const [a, b, c] = [q, k, v].map((value) => graph.node('Reshape', [value, graph.ints([0, 0, HEADS, DIM])]));
      const weights = graph.node('Softmax', [graph.node('Einsum', [b, a], { equation: 'bkhd,bqhd->bhqk' })], { axis: -1 });
      return graph.node('Reshape', [graph.node('Einsum', [weights, c], { equation: 'bhts,bshd->bthd' }), graph.ints([0, 0, -1])]);
    }),
  'operands whose input is computed anew for each': () => {
    const graph = new OnnxGraph(20);
    const [x, t] = [graph.input('x', 'f32', [1, TOKENS, WIDTH]), graph.input('t', 'f32', [1])];
    const [q, k, v] = [2, 3, 4].map((seed) => graph.node('MatMul', [graph.node('Mul', [x, t]), weight(graph, seed, WIDTH, WIDTH)]));
    const scores = graph.node('Div', [graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 2, 1] })]), graph.scalar(1e5)]);
    graph.output(graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v], {}, '', 'y'), 'f32', [1, TOKENS, WIDTH]);
    return graph.build();
  },
  FusedMatMul: () =>
    layer(({ graph, q, k, v, split }) => {
      const scores = graph.node('FusedMatMul', [split(q), split(k)], { transB: 1, alpha: float(0.25) }, 'com.microsoft');
      return merge(graph, graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), split(v)]));
    }),
  MultiHeadAttention: () =>
    layer(({ graph, q, k, v }) => graph.node('MultiHeadAttention', [q, k, v], { num_heads: HEADS }, 'com.microsoft')),
  'MultiHeadAttention with bias and scale': () =>
    layer(({ graph, q, k, v }) =>
      graph.node(
        'MultiHeadAttention',
        [q, k, v, floats(graph, [3 * WIDTH], gaussianNoise(9, 3 * WIDTH))],
        { num_heads: HEADS, scale: float(0.7) },
        'com.microsoft',
      ),
    ),
  'Attention of three axes': () =>
    layer(({ graph, q, k, v }) => graph.node('Attention', [q, k, v], { q_num_heads: HEADS, kv_num_heads: HEADS, scale: float(0.2) }), 23),
  'Attention of four axes': () =>
    layer(({ graph, q, k, v, split }) => merge(graph, graph.node('Attention', [split(q), split(k), split(v)])), 23),
};

test('every form of self-attention equals the plain session', async () => {
  for (const [name, make] of Object.entries(FORMS)) {
    const path = save('form', make());
    const plain = await runtime.session(readFileSync(path));
    const session = await accelerateOnnx(path, dense(), { grid: GRID, steps: 1 });
    expect(session.layers, name).toBe(1);
    const [{ y }, expected] = [await session.run(feeds), await plain.run(feeds)];
    expect(relativeError(y, expected.y), name).toBeLessThan(2e-5);
    await session.release();
    await plain.release();
  }
});

test('a model of half precision meets f32 at the seam alone', async () => {
  const graph = new OnnxGraph(20);
  const x = graph.node('Cast', [graph.input('x', 'f32', [1, TOKENS, WIDTH])], { to: 10 });
  const [q, k, v] = [2, 3, 4].map((seed) => graph.node('MatMul', [x, graph.node('Cast', [weight(graph, seed)], { to: 10 })]));
  const scores = graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 2, 1] })]);
  const half = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v]);
  graph.output(graph.node('Cast', [graph.node('Add', [half, x])], { to: 1 }, '', 'y'), 'f32', [1, TOKENS, WIDTH]);
  const path = save('half', graph.build());
  const plain = await runtime.session(readFileSync(path));
  const session = await accelerateOnnx(path, dense(), { grid: GRID, steps: 1 });
  session.step(0);
  const [{ y }, expected] = [await session.run({ x: feeds.x }), await plain.run({ x: feeds.x })];
  expect(relativeError(y, expected.y)).toBeLessThan(2e-3);
  await session.release();
  await plain.release();
});

const masked = (change: Parameters<typeof products>[0]) => layer(products(change));
const lower = (): Float32Array => Float32Array.from({ length: TOKENS ** 2 }, (_, at) => (at % TOKENS > Math.floor(at / TOKENS) ? -1e9 : 0));

test('what cannot be taken is said with its node', async () => {
  const refused: readonly (readonly [Uint8Array, RegExp])[] = [
    [
      masked((graph, scores) => graph.node('Add', [scores, floats(graph, [TOKENS, TOKENS], lower())])),
      /the mask of Add Add_\d+ cannot be expressed; name it in leave/,
    ],
    [masked((graph, scores) => graph.node('Add', [scores, 't'])), /the mask of Add Add_\d+ cannot be expressed/],
    [masked((graph, scores) => graph.node('Tanh', [scores])), /caps its scores with Tanh/],
    [layer(({ graph, q, k, v }) => graph.node('Attention', [q, k, v], { q_num_heads: 2, kv_num_heads: 2, is_causal: 1 }), 23), /is causal/],
    [
      layer(({ graph, q, k }) => graph.node('Add', [q, k])),
      /has no self-attention to accelerate \(it has no softmax and no attention node\)/,
    ],
    [
      layer(({ graph, q, k }) => graph.node('Mul', [q, graph.node('Softmax', [k], { axis: -1 })])),
      /of 1 candidates the first is Softmax_\d+: its input is no product/,
    ],
  ];
  for (const [model, message] of refused) {
    const failed = await accelerateOnnx(save('refused', model), dense(), { grid: GRID, steps: 1 }).catch((error: Error) => error);
    expect(failed).toBeInstanceOf(Error);
    expect((failed as Error).message).toMatch(message);
    expect((failed as Error).message).not.toContain('\n');
  }
});

test('attention inside a branch is listed, and cannot be taken', async () => {
  const graph = new OnnxGraph(20);
  const x = graph.input('x', 'f32', [1, TOKENS, WIDTH]);
  const [then, other] = [graph.body(), graph.body()];
  then.output(then.node('Softmax', [x], { axis: -1 }, '', 'weights'), 'f32', [1, TOKENS, WIDTH]);
  other.output(other.node('Identity', [x], {}, '', 'same'), 'f32', [1, TOKENS, WIDTH]);
  const isHeld = graph.node('Greater', [graph.node('ReduceMax', [x], { keepdims: 0 }), graph.scalar(0)]);
  graph.output(graph.node('If', [isHeld], { then_branch: then, else_branch: other }, '', 'y'), 'f32', [1, TOKENS, WIDTH]);
  const path = save('branch', graph.build());
  const { attention } = await listAttention(path);
  expect(attention.map(({ kind, taken }) => [kind, taken])).toEqual([['other', false]]);
  await expect(accelerateOnnx(path, dense(), { grid: GRID, steps: 1 })).rejects.toThrow(
    /attention inside the body of If If_\d+ is not taken/,
  );
});

test('tokens that are not those of the grid are refused when they are known', async () => {
  const without = { steps: 1 } as Parameters<typeof accelerateOnnx>[2];
  const opened = accelerateOnnx(save('open', FORMS['no scale']()), dense(), without);
  await expect(opened).rejects.toThrow(
    /there is no grid, and .*open\.onnx leaves sizes open; give grid: \{ frames, height, width, text \}/,
  );
  const session = await accelerateOnnx(save('open', FORMS['no scale']()), dense(), { grid: { ...GRID, frames: 3 }, steps: 1 });
  await expect(session.run(feeds)).rejects.toThrow(
    /^Softmax_\d+: q has shape \[2,24,8\], expected \[batch \* heads, 36, dim\] for a grid of 3 x 3 x 4/,
  );
  await session.release();
});

test('files that are missing, damaged or no model are refused with their name', async () => {
  const open = (path: string) => accelerateOnnx(path, dense(), { grid: GRID, steps: 1 });
  await expect(open(join(folder, 'none.onnx'))).rejects.toThrow(/there is no ONNX file .*none\.onnx/);
  const model = FORMS['no scale']();
  await expect(open(save('short', model.subarray(0, model.length >> 1)))).rejects.toThrow(/short\.onnx is damaged or no ONNX model/);
  await expect(open(save('text', new TextEncoder().encode('no protobuf at all')))).rejects.toThrow(
    /text\.onnx is damaged or no ONNX model/,
  );
  await expect(open(save('empty', new Uint8Array()))).rejects.toThrow(/empty\.onnx is damaged or no ONNX model \(it has no graph\)/);
});

/** One attention whose output weight lies in weights.bin. */
function external(location: string, length = 4 * WIDTH ** 2): Uint8Array {
  const graph = new OnnxGraph(20);
  const x = graph.input('x', 'f32', [1, TOKENS, WIDTH]);
  const own = graph.external('own', 'f32', [WIDTH, WIDTH], { location, offset: 64, length });
  const [q, k, v] = [2, 3]
    .map((seed) => weight(graph, seed))
    .concat(own)
    .map((matrix) => graph.node('MatMul', [x, matrix]));
  const scores = graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 2, 1] })]);
  graph.output(graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v], {}, '', 'y'), 'f32', [1, TOKENS, WIDTH]);
  return graph.build();
}

test('weights in files beside the model are used, and refused when they are missing or short', async () => {
  const numbers = gaussianNoise(6, 16 + WIDTH ** 2);
  writeFileSync(join(folder, 'weights.bin'), new Uint8Array(numbers.buffer));
  const session = await accelerateOnnx(save('external', external('weights.bin')), dense(), { grid: GRID, steps: 1 });
  session.step(0);
  const { y } = await session.run({ x: feeds.x });
  await session.release();
  const plain = await runtime.session(external('weights.bin'), {
    externalData: [{ path: 'weights.bin', data: new Uint8Array(numbers.buffer) }],
  });
  expect(relativeError(y, (await plain.run({ x: feeds.x })).y)).toBeLessThan(2e-5);
  await plain.release();
  const open = (model: Uint8Array) => accelerateOnnx(save('bad', model), dense(), { grid: GRID, steps: 1 });
  await expect(open(external('gone.bin'))).rejects.toThrow(/keeps own in .*gone\.bin, which is not there/);
  await expect(open(external('weights.bin', 1e6))).rejects.toThrow(/weights\.bin has \d+ bytes, but own of .* ends at 1000064/);
  await expect(open(external('../weights.bin'))).rejects.toThrow(/not a file in its folder/);
});

test('a listing says what was found', async () => {
  const path = save(
    'listed',
    masked((graph, scores) => graph.node('Add', [scores, 't'])),
  );
  expect(formatListing(await listAttention(path))).toMatch(
    /opset 20, written by zoetrope\n {2}inputs x \[1, \?, 16\], t \[1\]\n {2}1 attention, 0 taken:\n {2}left {3}Softmax_\d+ {2}the mask of Add/,
  );
});
