// One denoising step of a Wan 2.1 T2V-1.3B-shaped transformer on the GPU, with random weights: time of a forward by phase of the method, and
// by kernel.
//   node dist/bench/step-gpu.js [--frames 81 --height 480 --width 832] [--dtype f16|f32] [--layers 30] [--sparsity 0.8] [--out FILE]
// A phase is a step of a run of 50: dense (0), the first search (10, dense too), reuse (11), a later search (30).
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createAttention } from '../src/attention.ts';
import { webgpuBackend } from '../src/backend/webgpu/backend.ts';
import { openWebgpu } from '../src/backend/webgpu/device.ts';
import type { Timed } from '../src/backend/webgpu/queue.ts';
import { loadKernels } from '../src/backend/webgpu/wgsl.ts';
import { seeded, weightsOf } from '../src/bench/random.ts';
import type { Program } from '../src/dit/graph.ts';
import { wanConfig } from '../src/dit/transformer.ts';
import { timestepEmbedding, wanTransformer } from '../src/dit/wan.ts';
import { compileOnGpu } from '../src/dit/webgpu/executor.ts';
import { ditKernels } from '../src/dit/webgpu/kernels/index.ts';
import { memoryWeights, type TensorData } from '../src/dit/weights.ts';
import { adaSpa } from '../src/methods.ts';
import { sparse3dKernels } from '../src/sparse3d/kernels/index.ts';
import { elements } from '../src/tensor.ts';
import { machine } from './machine.ts';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '81' },
    height: { type: 'string', default: '480' },
    width: { type: 'string', default: '832' },
    dtype: { type: 'string', default: 'f16' },
    layers: { type: 'string', default: '30' },
    sparsity: { type: 'string', default: '0.8' },
    out: { type: 'string' },
  },
});
const [frames, height, width, layers] = [values.frames, values.height, values.width, values.layers].map(Number);
const dtype = values.dtype as 'f16' | 'f32';
const RUNS = 5;
const PHASES = { dense: 0, 'first search': 10, reuse: 11, 'later search': 30 };

/** Weights of a Program: small numbers of one pool, which all tensors share. */
function randomWeights(program: Program) {
  const found = weightsOf(program);
  const uniform = seeded(1);
  // Halves of either sign between 1/64 and 1/32.
  const half = () => (uniform() < 0.5 ? 0 : 0x8000) | 0x2400 | (uniform() * 0x400);
  const pool = Uint16Array.from({ length: Math.max(...[...found.values()].map(elements)) }, half);
  const tensors = [...found].map(([name, shape]): [string, TensorData] => {
    const part = pool.subarray(0, elements(shape));
    return [name, { dtype: 'F16', shape, data: new Uint8Array(part.buffer, part.byteOffset, part.byteLength) }];
  });
  return memoryWeights(Object.fromEntries(tensors));
}

/** Milliseconds by kernel, the longest first. */
function byKernel(times: readonly Timed[]): Record<string, number> {
  const sums = new Map<string, number>();
  for (const { kernel, milliseconds } of times) sums.set(kernel, (sums.get(kernel) ?? 0) + milliseconds);
  return Object.fromEntries([...sums].sort(([, a], [, b]) => b - a).map(([kernel, sum]) => [kernel, Number(sum.toFixed(2))]));
}

const gpu = await openWebgpu({ checked: false });
const ops = await webgpuBackend(gpu);
const kernels = { dit: await loadKernels(ditKernels), sparse3d: await loadKernels(sparse3dKernels) };
const config = wanConfig({ num_attention_heads: 12, attention_head_dim: 128, ffn_dim: 8960, num_layers: layers });
const shape = { batch: 1, frames: (frames - 1) / 4 + 1, height: height / 8, width: width / 8, textTokens: 512 };
const program = wanTransformer(config, shape);
const started = performance.now();
const executable = await compileOnGpu(program, randomWeights(program), gpu, kernels, { dtype });
const loading = performance.now() - started;

const latentShape = [1, config.inChannels, shape.frames, shape.height, shape.width];
const noise = (length: number) => Float32Array.from({ length }, () => Math.random() * 2 - 1);
const inputs = {
  hidden_states: gpu.upload(noise(elements(latentShape)), latentShape),
  time: gpu.upload(timestepEmbedding([500], config.freqDim), [1, 1, config.freqDim]),
  encoder_hidden_states: gpu.upload(noise(512 * config.textDim), [1, 512, config.textDim]),
};
const bound = createAttention(ops, adaSpa({ sparsity: Number(values.sparsity) }));
const forward = (step: number) =>
  ops.scope(() => {
    executable.run(inputs, (q, k, v, layer, grid) => bound.attention(q, k, v, { step, steps: 50, layer, layers, branches: [0], grid }));
  });

const phases: Record<string, object> = {};
for (const [name, step] of Object.entries(PHASES)) {
  const seconds: number[] = [];
  // A first search happens once; other phases repeat, after a run that compiles what is missing.
  const runs = name === 'first search' ? 1 : RUNS + 1;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    forward(step);
    const host = performance.now() - start;
    await gpu.idle();
    seconds.push((performance.now() - start) / 1000);
    if (run === runs - 1) phases[name] = { ...phases[name], hostMilliseconds: Math.round(host) };
  }
  const times = name === 'first search' ? [] : await gpu.profile(() => forward(step));
  const kept = seconds.slice(-RUNS).sort((a, b) => a - b);
  const { density } = await bound.take();
  const gpuMilliseconds = times.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  phases[name] = { ...phases[name], seconds: kept[kept.length >> 1], density, gpuMilliseconds, kernels: byKernel(times) };
  console.log(name, JSON.stringify(phases[name], null, 1));
}
const { vendor, architecture, description } = gpu.adapter;
const result = {
  machine: machine(),
  gpu: { vendor, architecture, description },
  what: "one forward of Wan 2.1 T2V-1.3B's shape, random weights, batch 1",
  options: { frames, height, width, dtype, layers, sparsity: Number(values.sparsity) },
  loadingSeconds: loading / 1000,
  peakBytes: gpu.memory.peakBytes,
  phases,
};
if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 1)}\n`);
gpu.dispose();
process.exit(0);
