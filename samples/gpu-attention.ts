// Sparse attention on a GPU for tensors of one's own, over the steps of a run: node dist/samples/gpu-attention.js [FRAMES HEIGHT WIDTH].
import { adaSpa, createAttention, openWebgpu, webgpuBackend } from '../src/index.ts';

const [frames = 8, height = 16, width = 16] = process.argv.slice(2).map(Number);
const grid = { frames, height, width, text: 0 };
const [heads, tokens, dim] = [2, frames * height * width, 64];
const steps = 5;

const device = await openWebgpu();
const ops = await webgpuBackend(device);
const numbers = () => Float32Array.from({ length: heads * tokens * dim }, () => 4 * Math.random() - 2);
const stored = device.adapter.features.has('shader-f16') ? 'f16' : 'f32';
const [q, k, v] = [numbers(), numbers(), numbers()].map((x) => ops.cast(ops.upload(x, [heads, tokens, dim]), stored));

const { attention, take, reset } = createAttention(ops, adaSpa({ sparsity: 0.75 }));
for (let step = 0; step < steps; step++) {
  const out = attention(q, k, v, { step, steps, layer: 0, layers: 1, branches: [0], grid });
  const [first] = (await ops.read(out)) as Float32Array;
  ops.release(out);
  const { dense, searches, density } = await take();
  const did = dense ? 'dense' : searches ? 'search' : 'reuse';
  console.log(`step ${step}: ${did}, density ${density.toFixed(2)}, first number ${first.toFixed(4)}`);
}
reset();
device.dispose();
