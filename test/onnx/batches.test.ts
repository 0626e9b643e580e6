// Runs of several items, of several sizes and for several results: each item of a batch is a guidance branch with plans of its own.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as ort from 'onnxruntime-common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime, type Runtime } from '../../src/backend/runtime.ts';
import { adaSpa, dense } from '../../src/methods.ts';
import { gaussianNoise } from '../../src/noise.ts';
import { accelerateOnnx } from '../../src/onnx/accelerate.ts';
import { relativeError } from './exports.ts';
import { merge, WIDTH, weight } from './layers.ts';

const [HEADS, TEXT] = [2, 5];
const GRID = { frames: 4, height: 8, width: 8, text: 0 } as const;
const TOKENS = 256;

let folder: string;
let runtime: Runtime;
let path: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'onnx-batches-'));
  runtime = await loadRuntime('auto');
  path = join(folder, 'two.onnx');
  writeFileSync(path, twoLayers());
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Softmax attention of `from` to `to`, added. */
function attention(graph: OnnxGraph, from: string, to: string, seed: number): string {
  const split = (value: string) => {
    const headed = graph.node('Reshape', [value, graph.ints([0, 0, HEADS, -1])]);
    return graph.node('Transpose', [headed], { perm: [0, 2, 1, 3] });
  };
  const [q, k, v] = [from, to, to].map((x, at) => split(graph.node('MatMul', [x, weight(graph, seed + at)])));
  const scores = graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 1, 3, 2] })]);
  return graph.node('Add', [from, merge(graph, graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), v]))]);
}

/** Two layers of self-attention with cross-attention between them, batch and tokens open; a second result is what lies between the layers. */
function twoLayers(): Uint8Array {
  const graph = new OnnxGraph();
  const x = graph.input('x', 'f32', ['batch', 'tokens', WIDTH]);
  const text = graph.input('text', 'f32', ['batch', 'words', WIDTH]);
  const middle = attention(graph, attention(graph, x, x, 2), text, 5);
  graph.output(graph.node('Mul', [middle, graph.scalar(2)], {}, '', 'middle'), 'f32', ['batch', 'tokens', WIDTH]);
  graph.output(graph.node('Identity', [attention(graph, middle, middle, 8)], {}, '', 'y'), 'f32', ['batch', 'tokens', WIDTH]);
  return graph.build();
}

function feedsOf(items: readonly number[], tokens = TOKENS): Record<string, ort.Tensor> {
  const stacked = (rows: number, shift: number) => {
    const data = new Float32Array(items.length * rows * WIDTH);
    for (const [at, seed] of items.entries()) data.set(gaussianNoise(seed + shift, rows * WIDTH), at * rows * WIDTH);
    return new runtime.Tensor('float32', data, [items.length, rows, WIDTH]);
  };
  return { x: stacked(tokens, 0), text: stacked(TEXT, 100) };
}

const open = (method = dense()) => accelerateOnnx(path, method, { grid: GRID, steps: 5 });

/** Item `at` of a result of several. */
function itemOf({ data, dims: [items, ...dims] }: ort.Tensor, at: number): ort.Tensor {
  const size = data.length / items;
  return new runtime.Tensor('float32', (data as Float32Array).slice(at * size, (at + 1) * size), [1, ...dims]);
}

test('both results of a batch equal the plain session, alone and together', async () => {
  const [session, plain] = [await open(), await runtime.session(readFileSync(path))];
  expect(session.layers).toBe(2);
  session.step(0);
  const [both, expected] = [await session.run(feedsOf([1, 2])), await plain.run(feedsOf([1, 2]))];
  for (const name of ['y', 'middle']) expect(relativeError(both[name], expected[name]), name).toBeLessThan(2e-5);
  const one = await session.run(feedsOf([1, 2]), ['middle']);
  expect(Object.keys(one)).toEqual(['middle']);
  expect(relativeError(one.middle, expected.middle)).toBeLessThan(2e-5);
  await session.release();
  await plain.release();
});

/** Results of steps whose plans are searched at the second and kept at the third, where the items are those of `last`. */
async function steps(batches: readonly (readonly number[])[], last = batches): Promise<readonly ort.Tensor[]> {
  const session = await open(adaSpa({ sparsity: 0.6 }));
  let results: ort.Tensor[] = [];
  for (const step of [0, 1, 2]) {
    session.step(step);
    results = [];
    for (const items of step === 2 ? last : batches) results.push((await session.run(feedsOf(items))).y);
  }
  const { density } = await session.statistics();
  await session.release();
  expect(density).toBeGreaterThan(0.3);
  expect(density).toBeLessThan(0.9);
  return results;
}

test('guidance branches in one batch have the plans that they have in runs of their own', async () => {
  const [first, second] = await steps([[1], [2]]);
  const [both] = await steps([[1, 2]]);
  expect(relativeError(itemOf(both, 0), first)).toBeLessThan(1e-6);
  expect(relativeError(itemOf(both, 1), second)).toBeLessThan(1e-6);
  // With the other branch's plan the numbers are others.
  const [swapped] = await steps([[1, 2]], [[2, 1]]);
  expect(relativeError(itemOf(swapped, 1), first)).toBeGreaterThan(1e-3);
});

test('a model whose largest input has no batch is taken as one item', async () => {
  const graph = new OnnxGraph();
  const x = graph.input('x', 'f32', [1, TOKENS, WIDTH]);
  const text = graph.node('Unsqueeze', [graph.input('text', 'f32', ['words', WIDTH]), graph.ints([0])]);
  const told = attention(graph, x, text, 5);
  const y = graph.node('Identity', [attention(graph, told, told, 2)], {}, '', 'y');
  graph.output(y, 'f32', [1, TOKENS, WIDTH]);
  writeFileSync(join(folder, 'one.onnx'), graph.build());
  const session = await accelerateOnnx(join(folder, 'one.onnx'), dense(), { grid: GRID, steps: 5 });
  session.step(0);
  const words = new runtime.Tensor('float32', gaussianNoise(7, 301 * WIDTH), [301, WIDTH]);
  const plain = await runtime.session(graph.build());
  const feeds = { x: feedsOf([1]).x, text: words };
  expect(relativeError((await session.run(feeds)).y, (await plain.run(feeds)).y)).toBeLessThan(2e-5);
  await session.release();
  await plain.release();
});

test('sizes may change from run to run, with a grid made from the feeds', async () => {
  const grid = ({ x }: Readonly<Record<string, ort.OnnxValue>>) => ({ frames: (x as ort.Tensor).dims[1] / 64, height: 8, width: 8 });
  const session = await accelerateOnnx(path, dense(), { grid, steps: 5 });
  const plain = await runtime.session(readFileSync(path));
  session.step(0);
  for (const [items, tokens] of [
    [[1, 2], 128],
    [[3], 320],
  ] as const) {
    const [result, expected] = [await session.run(feedsOf(items, tokens)), await plain.run(feedsOf(items, tokens))];
    expect(result.y.dims).toEqual([items.length, tokens, WIDTH]);
    expect(relativeError(result.y, expected.y)).toBeLessThan(2e-5);
  }
  await session.release();
  await plain.release();
});
