// A method in a denoising loop of one's own, on plain numbers: node dist/samples/own-loop.js [FRAMES HEIGHT WIDTH].
import { adaSpa, attention } from '../src/index.ts';

const [frames = 4, height = 16, width = 16] = process.argv.slice(2).map(Number);
const [layers, steps, heads, dim] = [2, 6, 2, 32];
const tokens = frames * height * width;

// A stand-in for one's own transformer: projections by head, attention, a residual.
const random = (size: number, scale: number) => Float32Array.from({ length: size }, () => scale * (2 * Math.random() - 1));
const weights = Array.from({ length: layers }, () => [random(dim * dim, 0.6), random(dim * dim, 0.6), random(dim * dim, 0.2)]);
function project(x: Float32Array, weight: Float32Array): Float32Array {
  const out = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += dim)
    for (let i = 0; i < dim; i++) for (let j = 0; j < dim; j++) out[row + j] += x[row + i] * weight[i * dim + j];
  return out;
}

// Tokens are in raster order: frames, rows, columns; q, k and v are [heads, tokens, dim].
const attend = attention(adaSpa({ sparsity: 0.75 }), { grid: { frames, height, width }, layers, steps, heads });
let latents = random(heads * tokens * dim, 1);
for (let step = 0; step < steps; step++) {
  let x = latents;
  for (const [layer, [wq, wk, wv]] of weights.entries()) {
    const out = await attend(project(x, wq), project(x, wk), project(x, wv), { step, layer });
    x = x.map((number, at) => number + out[at]);
  }
  latents = latents.map((number, at) => number - x[at] / steps);
}

const { calls } = await attend.statistics();
for (const { step, layer, phase, density } of calls) console.log(`step ${step}, layer ${layer}: ${phase}, density ${density.toFixed(2)}`);
await attend.dispose();
