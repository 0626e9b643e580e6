// Models of half precision: what is f16 between the parts of a graph stays on the GPU, its attention is computed in f16, and a GPU without it refuses.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tensor } from 'onnxruntime-common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ONNX_TYPE, OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime } from '../../src/backend/runtime.ts';
import { openWebgpu } from '../../src/backend/webgpu/device.ts';
import { dense } from '../../src/methods.ts';
import { gaussianNoise } from '../../src/noise.ts';
import { accelerateOnnx } from '../../src/onnx/accelerate.ts';
import { graphOf } from '../../src/onnx/graph.ts';
import { placesOf } from '../../src/onnx/open.ts';
import { onDevice } from '../../src/onnx/places.ts';
import { type ModelProto, modelType } from '../../src/onnx/schema.ts';
import { openedGpu } from '../gpu/device.ts';
import { playF16 } from '../gpu/played.ts';
import { relativeError } from './exports.ts';
import { DIM, GRID, HEADS, merge, TOKENS, WIDTH, weight } from './layers.ts';

let folder: string;
let path: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onnx-half-'));
  path = join(folder, 'layer.onnx');
  writeFileSync(path, model());
});
afterAll(() => rmSync(folder, { recursive: true }));
const gpu = await openedGpu();

/** A layer that is f16 from the first node to the last but one; its residual crosses the seam. */
function model(): Uint8Array {
  const graph = new OnnxGraph(20);
  const half = (value: string) => graph.node('Cast', [value], { to: ONNX_TYPE.f16 });
  const x = half(graph.input('x', 'f32', [1, TOKENS, WIDTH]));
  const t = half(graph.input('t', 'f32', [1]));
  const split = (value: string) =>
    graph.node('Transpose', [graph.node('Reshape', [value, graph.ints([0, 0, HEADS, DIM])])], { perm: [0, 2, 1, 3] });
  const [q, k, v] = [2, 3, 4].map((seed) => split(graph.node('MatMul', [x, half(weight(graph, seed))])));
  const products = graph.node('MatMul', [q, graph.node('Transpose', [k], { perm: [0, 1, 3, 2] })]);
  const shares = graph.node('Softmax', [graph.node('Mul', [products, half(graph.scalar(0.5))])], { axis: -1 });
  const out = graph.node('MatMul', [merge(graph, graph.node('MatMul', [shares, v])), half(weight(graph, 5))]);
  const y = graph.node('Add', [graph.node('Add', [out, x], {}, '', 'sum'), t]);
  graph.output(graph.node('Cast', [y], { to: ONNX_TYPE.f32 }, '', 'y'), 'f32', [1, TOKENS, WIDTH]);
  return graph.build();
}

test('on a CPU it is as near the unwrapped session as f16 is fine', async () => {
  const feeds = { x: new Tensor('float32', gaussianNoise(1, TOKENS * WIDTH), [1, TOKENS, WIDTH]), t: new Tensor('float32', [0.5], [1]) };
  const runtime = await loadRuntime('auto');
  const plain = await runtime.session(readFileSync(path));
  const { y: expected } = await plain.run(feeds);
  await plain.release();
  const session = await accelerateOnnx(path, dense(), { grid: GRID, steps: 4 });
  session.step(0);
  expect(relativeError((await session.run(feeds)).y, expected)).toBeLessThan(1e-3);
  await session.release();
});

test('what later parts read stays on a GPU in either precision, and results come to the host', () => {
  const graph = graphOf((modelType.decode(model()) as unknown as ModelProto).graph);
  const [cast] = graph.nodes;
  const outputs = [cast.output[0], 'sum', 'y'];
  expect(placesOf(graph, { nodes: [], inputs: [], outputs })).toEqual({ [cast.output[0]]: 'gpu-buffer', sum: 'gpu-buffer', y: 'cpu' });
});

test.skipIf(!gpu)('f16 goes from session to session in buffers of the GPU', async () => {
  const device = await openWebgpu();
  const runtime = await loadRuntime('onnxruntime-webgpu', device);
  const reshaped = (shape: readonly number[]) => {
    const graph = new OnnxGraph(20);
    graph.output(graph.node('Reshape', [graph.input('x', 'f16', [2, 'n']), graph.ints(shape)], {}, '', 'y'), 'f16', shape);
    return graph.build();
  };
  const first = await runtime.session(reshaped([2, 4]), { places: { y: 'gpu-buffer' } });
  const second = await runtime.session(reshaped([8]), { places: { y: 'cpu' } });
  const bits = Uint16Array.from({ length: 8 }, (_, at) => 0x3c00 + at);
  const { y } = await first.run({ x: new Tensor('float16', bits, [2, 4]) });
  expect([y.location, y.type]).toEqual(['gpu-buffer', 'float16']);
  const { data } = (await second.run({ x: y })).y;
  const { buffer, byteOffset, byteLength } = data as Uint16Array;
  expect(new Uint16Array(buffer, byteOffset, byteLength / 2)).toEqual(bits);
  y.dispose();
  await first.release();
  await second.release();
  await runtime.dispose?.();
  device.dispose();
});

test.skipIf(!gpu)('attention of an f16 model is computed in f16, and given back in f32', async () => {
  const device = playF16(await openWebgpu());
  const place = await onDevice(dense(), device);
  const lent = (seed: number) => device.upload(gaussianNoise(seed, TOKENS * HEADS * DIM), [1, HEADS, TOKENS, DIM]);
  const tensors = [1, 2, 3].map(lent);
  const [q, k, v] = tensors.map(({ lent: { buffer }, shape }) =>
    place.runtime.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: [...shape] }),
  );
  const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: GRID };
  const read = async (dtype: 'f32' | 'f16') => {
    const out = await place.attend(q, k, v, site, dtype);
    const numbers = await device.read({
      ...tensors[0],
      lent: { buffer: out.gpuBuffer as unknown as GPUBuffer, bytes: tensors[0].lent.bytes },
    });
    out.dispose();
    return Float32Array.from(numbers);
  };
  const [f32, f16] = [await read('f32'), await read('f16')];
  const error = Math.max(...f32.map((x, at) => Math.abs(x - f16[at]))) / Math.max(...f32.map(Math.abs));
  expect(error).toBeGreaterThan(0);
  expect(error).toBeLessThan(5e-3);
  await place.dispose();
});

const hasNoF16 = gpu && !gpu.adapter.features.has('shader-f16');
test.skipIf(!hasNoF16)('a GPU without f16 refuses the model, and says what to do', async () => {
  const opened = accelerateOnnx(path, dense(), { grid: GRID, steps: 4, device: 'webgpu' });
  await expect(opened).rejects.toThrow(
    / of .*layer\.onnx computes in f16, which .+ does not; choose device cpu, or export the model in f32/,
  );
});
