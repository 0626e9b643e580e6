// An ONNX model on one GPU device: its sessions and the attention share buffers. A software GPU compiles for long where cores are busy.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tensor } from 'onnxruntime-common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime } from '../../src/backend/runtime.ts';
import { openWebgpu } from '../../src/backend/webgpu/device.ts';
import { dense } from '../../src/methods.ts';
import { gaussianNoise } from '../../src/noise.ts';
import { accelerateOnnx } from '../../src/onnx/accelerate.ts';
import { relativeError } from './exports.ts';
import { GRID, layer, products, TOKENS, WIDTH } from './layers.ts';

let folder: string;
let path: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onnx-webgpu-'));
  path = join(folder, 'layer.onnx');
  // The software GPU's sine is off by up to 2e-4, as in embeddings of the time: the wrapped session has it from ONNX Runtime as the plain one has.
  const wave = (graph: OnnxGraph, value: string) =>
    graph.node('Add', [value, graph.node('Sin', [graph.node('Mul', ['t', graph.scalar(1000)])])]);
  const model = layer(({ q, ...rest }) =>
    products((graph, scores) => graph.node('Mul', [scores, graph.scalar(0.5)]))({ ...rest, q: wave(rest.graph, q) }),
  );
  writeFileSync(path, model);
});
afterAll(() => rmSync(folder, { recursive: true }));

const feeds = { x: new Tensor('float32', gaussianNoise(1, TOKENS * WIDTH), [1, TOKENS, WIDTH]), t: new Tensor('float32', [0.5], [1]) };

async function results(device: 'cpu' | 'webgpu') {
  const session = await accelerateOnnx(path, dense(), { grid: GRID, steps: 4, device });
  session.step(3);
  const made = [(await session.run(feeds)).y, (await session.run(feeds)).y];
  await session.release();
  return made;
}

/** What ONNX Runtime makes of the file itself on the same GPU. */
async function unwrapped() {
  const gpu = await openWebgpu();
  const runtime = await loadRuntime('onnxruntime-webgpu', gpu);
  const session = await runtime.session(readFileSync(path), { places: { y: 'cpu' } });
  const { y } = await session.run(feeds);
  await session.release();
  await runtime.dispose?.();
  gpu.dispose();
  return y;
}

test('a GPU computes what the unwrapped session does there, run after run, and nearly what the CPU does', async () => {
  const [expected, [onCpu]] = [await unwrapped(), await results('cpu')];
  for (const result of await results('webgpu')) {
    expect(result.dims).toEqual(expected.dims);
    expect(relativeError(result, expected)).toBeLessThan(2e-5);
    expect(relativeError(result, onCpu)).toBeLessThan(1e-3);
  }
}, 300_000);

test('a CPU runtime on a GPU, and a device that there is not, are refused', async () => {
  const open = (options: object) => accelerateOnnx(path, dense(), { grid: GRID, steps: 4, device: 'webgpu', ...options });
  await expect(open({ runtime: 'onnxruntime-node' })).rejects.toThrow('onnxruntime-node does not compute on webgpu');
  await expect(open({ device: 'cuda' })).rejects.toThrow('there is no device "cuda"; choose cpu or webgpu');
});
