// ONNX Runtime's own attention on the same inputs: its fused operation, or the plain graph where a build has none.
import type * as ort from 'onnxruntime-common';
import { float, ONNX_TYPE, OnnxGraph } from '../../backend/onnx.ts';
import type { Runtime } from '../../backend/runtime.ts';
import { webgpuRuntime } from '../../backend/runtime-webgpu.ts';
import { type GpuDevice, gpuTensor } from '../../backend/webgpu/device.ts';
import { tokensOf } from '../../sparse3d/plan.ts';
import type { Contender, Prepared } from './contenders.ts';
import type { Place } from './place.ts';
import type { Inputs, Shape } from './shapes.ts';
import { headsChecked } from './twin.ts';

/** The contender of a place. Its name is that of the runtime. */
export function rival({ gpu, cpu }: Place, shape: Shape, dtype: 'f16' | 'f32'): Contender {
  if (gpu) return { name: 'onnxruntime-web', work: 'MultiHeadAttention', prepare: (inputs) => onGpu(gpu, shape, inputs, dtype) };
  const { name } = cpu!.runtime;
  // The wasm build has no fused attention.
  const fused = name === 'onnxruntime-node';
  return { name, work: fused ? 'MultiHeadAttention' : 'plain graph', prepare: (inputs) => onCpu(cpu!.runtime, shape, inputs, fused) };
}

/** Heads are items of a batch, so that tensors are used as they are. */
function graphOf(dim: number, fused: boolean): Uint8Array {
  const graph = new OnnxGraph();
  const [q, k, v] = ['q', 'k', 'v'].map((name) => graph.input(name, 'f32', ['h', 'n', dim]));
  if (fused) graph.node('MultiHeadAttention', [q, k, v], { num_heads: 1 }, 'com.microsoft', 'out');
  else {
    const logits = graph.node('FusedMatMul', [q, k], { transB: 1, alpha: float(1 / Math.sqrt(dim)) }, 'com.microsoft');
    graph.node('MatMul', [graph.node('Softmax', [logits], { axis: -1 }), v], {}, '', 'out');
  }
  graph.output('out', 'f32', ['h', 'n', dim]);
  return graph.build();
}

async function onCpu(runtime: Runtime, shape: Shape, { q, k, v }: Inputs, fused: boolean): Promise<Prepared> {
  const session = await runtime.session(graphOf(shape.dim, fused));
  const feed = async (x: Inputs['q']) =>
    new runtime.Tensor('float32', (await (x as { value?: Promise<Float32Array> }).value)!, [...x.shape]);
  const feeds = { q: await feed(q), k: await feed(k), v: await feed(v) };
  return {
    ...{ density: 1, clock: 'wall' },
    async time() {
      const start = performance.now();
      await session.run(feeds);
      return performance.now() - start;
    },
    async checkedHeads() {
      const { out } = await session.run(feeds);
      const size = tokensOf(shape.grid) * shape.dim;
      const heads = headsChecked(shape);
      const own = new Float32Array(heads.length * size);
      for (const [at, head] of heads.entries()) own.set((out.data as Float32Array).subarray(head * size, (head + 1) * size), at * size);
      return own;
    },
    dispose: () => session.release(),
  };
}

/** Rows with all heads, as this operation takes them, are made beforehand and taken apart afterwards: only the attention is timed. */
async function onGpu(gpu: GpuDevice, shape: Shape, inputs: Inputs, dtype: 'f16' | 'f32'): Promise<Prepared> {
  // Opened once as the pipeline does, the module is ready for sessions of any kind.
  await webgpuRuntime(gpu);
  const onnx = (await import('onnxruntime-web/webgpu')) as unknown as typeof ort;
  const { device } = gpu;
  const open = (graph: OnnxGraph) =>
    onnx.InferenceSession.create(graph.build(), {
      executionProviders: [{ name: 'webgpu', device } as ort.InferenceSession.ExecutionProviderConfig],
      ...{ preferredOutputLocation: 'gpu-buffer', logSeverityLevel: 4 },
    });
  const into = await open(rowsGraph(shape, dtype));
  const feeds: Record<string, ort.Tensor> = {};
  for (const name of ['q', 'k', 'v'] as const) feeds[name] = (await into.run({ x: borrowed(onnx, gpu, inputs[name]) })).rows;
  const session = await open(attentionGraph(shape, dtype));
  const back = await open(headsGraph(shape, dtype));
  return {
    ...{ density: 1, clock: 'wall' },
    async time() {
      const start = performance.now();
      const { out } = await session.run(feeds);
      await device.queue.onSubmittedWorkDone();
      const milliseconds = performance.now() - start;
      out.dispose();
      return milliseconds;
    },
    async checkedHeads() {
      const { out } = await session.run(feeds);
      const { heads } = await back.run({ out });
      out.dispose();
      return (await heads.getData(true)) as Float32Array;
    },
    async dispose() {
      for (const tensor of Object.values(feeds)) tensor.dispose();
      // Results live in their session's memory, so the one that made the rows stays open as long as they are used.
      for (const one of [session, back, into]) await one.release();
    },
  };
}

/** A tensor of the device for ONNX Runtime, once it is computed. */
function borrowed(onnx: typeof ort, gpu: GpuDevice, tensor: Inputs['q']): ort.Tensor {
  const { lent, shape: dims, dtype } = gpuTensor(gpu, tensor);
  gpu.flush();
  return onnx.Tensor.fromGpuBuffer(lent.buffer, { dataType: dtype === 'f16' ? 'float16' : 'float32', dims });
}

const rowsShape = ({ heads, dim, grid }: Shape): number[] => [1, tokensOf(grid), heads * dim];

function attentionGraph(shape: Shape, dtype: 'f16' | 'f32'): OnnxGraph {
  const graph = new OnnxGraph();
  const inputs = ['q', 'k', 'v'].map((name) => graph.input(name, dtype, rowsShape(shape)));
  graph.output(graph.node('MultiHeadAttention', inputs, { num_heads: shape.heads }, 'com.microsoft', 'out'), dtype, rowsShape(shape));
  return graph;
}

/** [heads, tokens, dim] -> [1, tokens, heads * dim]. */
function rowsGraph(shape: Shape, dtype: 'f16' | 'f32'): OnnxGraph {
  const graph = new OnnxGraph();
  const x = graph.input('x', dtype, [shape.heads, tokensOf(shape.grid), shape.dim]);
  const turned = graph.node('Transpose', [x], { perm: [1, 0, 2] });
  graph.output(graph.node('Reshape', [turned, graph.ints(rowsShape(shape))], {}, '', 'rows'), dtype, rowsShape(shape));
  return graph;
}

/** [1, tokens, heads * dim] -> the checked heads [heads checked, tokens, dim] in f32. */
function headsGraph(shape: Shape, dtype: 'f16' | 'f32'): OnnxGraph {
  const { heads, dim, grid } = shape;
  const checked = headsChecked(shape);
  const graph = new OnnxGraph();
  const out = graph.input('out', dtype, rowsShape(shape));
  const apart = graph.node('Reshape', [out, graph.ints([tokensOf(grid), heads, dim])], {});
  const some = graph.node('Gather', [apart, graph.ints([...checked])], { axis: 1 });
  const turned = graph.node('Transpose', [some], { perm: [1, 0, 2] });
  graph.output(graph.node('Cast', [turned], { to: ONNX_TYPE.f32 }, '', 'heads'), 'f32', [checked.length, tokensOf(grid), dim]);
  return graph;
}
