// The ONNX writer and both runtimes: a graph with a bf16 weight in external data.
import { expect, test } from 'vitest';
import { float, OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime } from '../../src/backend/runtime.ts';

test.each(['onnxruntime-node', 'onnxruntime-web'] as const)('%s runs a written graph', async (name) => {
  const runtime = await loadRuntime(name);
  expect(runtime.name).toBe(name);
  expect(runtime.version).toMatch(/^\d+\.\d+/);
  const graph = new OnnxGraph();
  const x = graph.input('x', 'f32', ['n', 2]);
  const weight = graph.external('w', 'bf16', [2, 3], { location: 'w', offset: 4, length: 12 });
  const product = graph.node('FusedMatMul', [x, graph.node('Cast', [weight], { to: 1 })], { alpha: float(2) }, 'com.microsoft');
  graph.output(graph.node('Add', [product, graph.scalar(0.5)], {}, '', 'y'), 'f32', ['n', 3]);
  const bits = Uint16Array.from([9, 9, 1, 2, 3, 4, 5, 6].map((value) => new Uint32Array(Float32Array.of(value).buffer)[0] >>> 16));
  const session = await runtime.session(graph.build(), { externalData: [{ path: 'w', data: new Uint8Array(bits.buffer) }] });
  const { y } = await session.run({ x: new runtime.Tensor('float32', Float32Array.of(1, 1, 2, 0), [2, 2]) });
  expect([...(y.data as Float32Array)]).toEqual([10.5, 14.5, 18.5, 4.5, 8.5, 12.5]);
  await session.release();
});
