// onnxruntime-web's own attention on the same GPU device: com.microsoft.MultiHeadAttention through its WebGPU build. Node 22 or newer.
//   node dist/bench/attend-gpu-ort.js [--tokens 16384,32760] [--heads 12] [--dim 128] [--stock] [--out FILE]
// --stock is that of attend-gpu.ts: with validation and bounds checks, without what browsers have behind flags. Median of 5 runs by the host's clock.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type * as ort from 'onnxruntime-common';
import { OnnxGraph } from '../src/backend/onnx.ts';
import { webgpuRuntime } from '../src/backend/runtime-webgpu.ts';
import { openWebgpu } from '../src/backend/webgpu/device.ts';
import { machine } from './machine.ts';

const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '16384,32760' },
    heads: { type: 'string', default: '12' },
    dim: { type: 'string', default: '128' },
    stock: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const [heads, dim] = [Number(values.heads), Number(values.dim)];
const gpu = await openWebgpu({ experimental: !values.stock, checked: values.stock });
const { device } = gpu;
// Opened once as the pipeline does, the module is ready for sessions of any kind.
await webgpuRuntime(gpu);
const onnx = (await import('onnxruntime-web/webgpu')) as unknown as typeof ort;
const graph = new OnnxGraph();
const inputs = ['q', 'k', 'v'].map((name) => graph.input(name, 'f16', [1, 'n', heads * dim]));
graph.output(graph.node('MultiHeadAttention', inputs, { num_heads: heads }, 'com.microsoft', 'out'), 'f16', [1, 'n', heads * dim]);
const session = await onnx.InferenceSession.create(graph.build(), {
  executionProviders: [{ name: 'webgpu', device } as ort.InferenceSession.ExecutionProviderConfig],
  preferredOutputLocation: 'gpu-buffer',
});
const lines = [];
for (const tokens of values.tokens.split(',').map(Number)) {
  const size = tokens * heads * dim;
  // Halves of 1/2: what is attended to does not change the work.
  const host = new Uint16Array(size).fill(0x3800);
  const tensorOf = () => {
    const buffer = device.createBuffer({
      size: 2 * size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(buffer, 0, host);
    return onnx.Tensor.fromGpuBuffer(buffer, { dataType: 'float16', dims: [1, tokens, heads * dim] });
  };
  const feeds = { q: tensorOf(), k: tensorOf(), v: tensorOf() };
  const milliseconds: number[] = [];
  try {
    for (let run = 0; run < 8; run++) {
      const start = performance.now();
      const { out } = await session.run(feeds);
      await device.queue.onSubmittedWorkDone();
      milliseconds.push(performance.now() - start);
      out.dispose();
    }
    milliseconds.splice(0, 3);
    milliseconds.sort((a, b) => a - b);
    const median = milliseconds[milliseconds.length >> 1];
    lines.push({ tokens, milliseconds: median, teraflops: (4 * heads * tokens ** 2 * dim) / median / 1e9 });
  } catch (error) {
    lines.push({ tokens, failed: (error as Error).message.split('\n')[0] });
  }
  console.log(JSON.stringify(lines.at(-1)));
}
const result = { machine: machine(), contender: 'onnxruntime-web WebGPU MultiHeadAttention, f16', stock: values.stock, heads, dim, lines };
if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 1)}\n`);
process.exit(0);
