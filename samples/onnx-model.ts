// An ONNX video transformer with sparse attention in a denoising loop: node dist/samples/onnx-model.js MODEL.onnx FRAMES HEIGHT WIDTH [STEPS].
// FRAMES, HEIGHT and WIDTH are the video in tokens. Inputs other than latents and timestep would be the prompt's embeddings; here they are random.
import { Tensor } from 'onnxruntime-common';
import { accelerate, adaSpa, formatListing, listAttention } from '../src/index.ts';

const [path, ...sizes] = process.argv.slice(2);
const [frames, height, width, steps = 6] = sizes.map(Number);
const listing = await listAttention(path);
console.log(formatListing(listing));

// The one changed line of a loop that ran an InferenceSession before.
const session = await accelerate(path, adaSpa({ sparsity: 0.75 }), { grid: { frames, height, width }, steps });

const feeds: Record<string, Tensor> = {};
for (const { name, shape = [] } of listing.inputs) {
  const data = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, () => Math.random() - 0.5);
  feeds[name] = new Tensor('float32', data, shape);
}
const [latents, timestep] = session.inputNames;
const [output] = session.outputNames;
for (let step = 0; step < steps; step++) {
  session.step(step);
  feeds[timestep] = new Tensor('float32', [1000 * (1 - step / steps)], [1]);
  const velocity = (await session.run(feeds))[output].data as Float32Array;
  const next = (feeds[latents].data as Float32Array).map((number, at) => number - velocity[at] / steps);
  feeds[latents] = new Tensor('float32', next, feeds[latents].dims);
  const { density } = await session.statistics();
  console.log(`step ${step}: density ${density.toFixed(2)}`);
}
await session.release();
