// Attention on a GPU: every variant dense and by plans, the search, and errors against f64 rows; GPU timestamps, medians of 20 runs, or of as many
// as begin within six seconds, at least five.
//   node dist/bench/attend-gpu.js [--shape wan-480p,wan-720p,hunyuan-720p,mini] [--variants matrix,subgroups,portable] [--stock] [--out FILE]
// --stock uses only what a browser offers without flags, with validation; otherwise all features, without validation and bounds checks.
// Heads are read one after the other and their keys and values exceed the L2 cache together, so inputs come from memory in every run; those of
// mini fit in it.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Backend } from '../src/backend/backend.ts';
import { webgpuBackend } from '../src/backend/webgpu/backend.ts';
import { type GpuDevice, type GpuTensor, gpuTensor, openWebgpu } from '../src/backend/webgpu/device.ts';
import { seeded } from '../src/bench/random.ts';
import type { Call } from '../src/method.ts';
import { adaSpa } from '../src/methods.ts';
import { attendVariants } from '../src/sparse3d/gpu-attend.ts';
import { raster } from '../src/sparse3d/layout.ts';
import { type Grid, type Layout, type Plan, tokensOf } from '../src/sparse3d/plan.ts';
import { attendEntries } from '../src/sparse3d/reference.ts';
import type { Tensor } from '../src/tensor.ts';
import { machine } from './machine.ts';

interface Shape {
  readonly name: string;
  readonly heads: number;
  readonly dim: number;
  readonly grid: Grid;
}

const SHAPES: readonly Shape[] = [
  { name: 'wan-480p', heads: 12, dim: 128, grid: { frames: 21, height: 30, width: 52, text: 0 } },
  { name: 'wan-720p', heads: 12, dim: 128, grid: { frames: 21, height: 45, width: 80, text: 0 } },
  { name: 'hunyuan-720p', heads: 24, dim: 128, grid: { frames: 33, height: 45, width: 80, text: 256 } },
  { name: 'mini', heads: 4, dim: 64, grid: { frames: 13, height: 20, width: 20, text: 0 } },
];
const DENSITIES = [0.5, 0.3, 0.2, 0.1];
const PYRAMID = { shares: [0.1, 0.1, 0.1, 0.2], pools: [1, 2, 4, 8] };
const RUNS = 20;
const SHIFT = 97; // rows between the beginnings of two heads in the numbers they share

interface Inputs {
  readonly q: GpuTensor;
  readonly k: GpuTensor;
  readonly v: GpuTensor;
  /** The numbers of all heads: head h begins at row h * SHIFT. */
  readonly numbers: { readonly q: Float32Array; readonly k: Float32Array; readonly v: Float32Array };
}

/** Normal numbers that f16 holds exactly; with outliers, one channel in 64 is eight times as large. */
function normal(length: number, dim: number, seed: number, outliers: boolean): Float32Array {
  const uniform = seeded(seed);
  return Float32Array.from({ length }, (_, at) => {
    const x = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return (Math.round(x * 128) / 128) * (outliers && (at % dim) % 64 === 5 ? 8 : 1);
  });
}

function inputsOf(gpu: GpuDevice, ops: Backend, { heads, dim, grid }: Shape, dtype: 'f32' | 'f16'): Inputs {
  const tokens = tokensOf(grid);
  const rows = tokens + SHIFT * heads;
  const bytes = dtype === 'f16' ? 2 : 4;
  const numbers = { q: normal(rows * dim, dim, 1, true), k: normal(rows * dim, dim, 2, false), v: normal(rows * dim, dim, 3, false) };
  const tensor = (of: Float32Array) =>
    ops.scope(() => {
      const shared = gpuTensor(gpu, ops.cast(ops.upload(of, [rows, dim]), dtype));
      const whole = gpu.tensor([heads, tokens, dim], dtype);
      const size = tokens * dim * bytes;
      for (let head = 0; head < heads; head++) gpu.copy(shared, head * SHIFT * dim * bytes, whole, head * size, size);
      return whole;
    });
  return { q: tensor(numbers.q), k: tensor(numbers.k), v: tensor(numbers.v), numbers };
}

/** Every row reads a share of the key blocks at each level, spread evenly over the video from a start of its own. */
function planOf(ops: Backend, heads: number, layout: Layout, shares: readonly number[], pools: readonly number[]): Plan {
  const { blocks } = layout;
  const each = shares.map((share) => Math.max(1, Math.round(share * blocks)));
  const width = each.reduce((sum, count) => sum + count, 0);
  const chosen = new Int32Array(heads * blocks * width);
  for (let row = 0; row < heads * blocks; row++) {
    const start = (row % blocks) * 37 + Math.floor(row / blocks) * 101;
    for (let at = 0; at < width; at++) chosen[row * width + at] = (start + Math.floor((at * blocks) / width)) % blocks;
  }
  const counts = Int32Array.from({ length: heads * blocks * each.length }, (_, at) => each[at % each.length]);
  return {
    counts: ops.upload(counts, [heads, blocks, each.length]),
    blocks: ops.upload(chosen, [heads, blocks, width]),
    levels: pools.map((pool) => ({ pool, upTo: 1 })),
    keyBlocks: blocks,
  };
}

/** Median GPU milliseconds of what `body` launches, after so many seconds of the same. */
async function time(gpu: GpuDevice, ops: Backend, body: () => unknown, seconds = 0.3): Promise<number> {
  const once = () => ops.scope(() => void body());
  for (const until = performance.now() + seconds * 1000; performance.now() < until; ) {
    once();
    await gpu.idle();
  }
  const runs: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const times = await gpu.profile(once);
    runs.push(times.reduce((sum, { milliseconds }) => sum + milliseconds, 0));
    if (runs.reduce((sum, x) => sum + x, 0) > 6000 && run >= 4) break;
  }
  runs.sort((a, b) => a - b);
  return runs[runs.length >> 1];
}

/** Relative error of sampled rows of the output, and the largest of the log-sum-exp, against f64. */
async function errorOf(ops: Backend, { numbers, q, k, v }: Inputs, { heads, dim, grid }: Shape) {
  const tokens = tokensOf(grid);
  const { out, lse } = ops.attendAll(q, k, v);
  const [outNumbers, lseNumbers] = [(await ops.read(out)) as Float32Array, (await ops.read(lse)) as Float32Array];
  for (const tensor of [out, lse]) ops.release(tensor);
  let [difference, norm, lseError] = [0, 0, 0];
  for (const head of [0, heads - 1]) {
    const rowAt = (of: Float32Array, token: number) => [...of.subarray((head * SHIFT + token) * dim, (head * SHIFT + token + 1) * dim)];
    const entries = Array.from({ length: tokens }, (_, token) => ({
      key: rowAt(numbers.k, token),
      value: rowAt(numbers.v, token),
      count: 1,
    }));
    for (const token of [0, tokens >> 1, tokens - 1]) {
      const exact = attendEntries(rowAt(numbers.q, token), entries);
      const row = head * tokens + token;
      for (let at = 0; at < dim; at++) {
        difference += (outNumbers[row * dim + at] - exact.out[at]) ** 2;
        norm += exact.out[at] ** 2;
      }
      lseError = Math.max(lseError, Math.abs(lseNumbers[row] - exact.lse));
    }
  }
  return { relativeError: Math.sqrt(difference / norm), lseError };
}

const rounded = (x: number, digits = 3): number => Number(x.toPrecision(digits));

interface Dense {
  readonly variant: string;
  readonly dtype: 'f32' | 'f16';
  readonly milliseconds: number;
}

async function denseOf(gpu: GpuDevice, shape: Shape, inputs: Inputs, variant: string, check: boolean) {
  const ops = await webgpuBackend(gpu, { attend: variant });
  const dtype = inputs.q.dtype as 'f32' | 'f16';
  const milliseconds = await time(gpu, ops, () => ops.attendAll(inputs.q, inputs.k, inputs.v), 1);
  const errors = check ? await errorOf(ops, inputs, shape) : {};
  const flop = 4 * shape.heads * tokensOf(shape.grid) ** 2 * shape.dim;
  const line = { variant, dtype, milliseconds: rounded(milliseconds, 4), teraflops: rounded(flop / milliseconds / 1e9), ...errors };
  console.log(shape.name, 'dense', JSON.stringify(line));
  return line;
}

async function sparseOf(gpu: GpuDevice, shape: Shape, { q, k, v }: Inputs, { variant, milliseconds: dense }: Dense) {
  const ops = await webgpuBackend(gpu, { attend: variant });
  const layout = raster(64)(shape.grid);
  const both = { q: layout, k: layout };
  const blocked = [q, k, v].map((x) => ops.gather(x, layout)) as [Tensor, Tensor, Tensor];
  const lines = [];
  const plans = [...DENSITIES.map((share) => ({ name: `density ${share}`, shares: [share], pools: [1] })), { name: 'pyramid', ...PYRAMID }];
  // Free buffers count too, so what there is more in the end is about the most there was.
  gpu.trim();
  const before = gpu.memory.bytes;
  for (const { name, shares, pools } of plans) {
    const plan = planOf(ops, shape.heads, layout, shares, pools);
    const density = await ops.density(plan);
    const milliseconds = await time(gpu, ops, () => ops.attend(...blocked, plan, both));
    for (const tensor of [plan.counts, plan.blocks]) ops.release(tensor);
    lines.push({
      name,
      density: rounded(density),
      milliseconds: rounded(milliseconds, 4),
      ofDense: rounded(milliseconds / (density * dense)),
    });
    console.log(shape.name, 'sparse', JSON.stringify(lines.at(-1)));
  }
  const search = await searchOf(gpu, ops, shape, blocked, layout);
  const peakBytesBeyondInputs = gpu.memory.bytes - before;
  for (const tensor of blocked) ops.release(tensor);
  // 50 steps: dense to step 10, a plan of a fifth after it; searches at 10 and 30.
  const sparse = lines.find(({ name }) => name === 'density 0.2')!.milliseconds;
  const ofAttention = (2 * search) / (11 * dense + 39 * sparse);
  console.log(shape.name, 'search', search.toFixed(2), 'ms,', (100 * ofAttention).toFixed(1), '% of the attention of 50 steps');
  return {
    plans: lines,
    search: { milliseconds: rounded(search, 4), ofAttention: rounded(ofAttention) },
    peakBytesBeyondInputs,
  };
}

/** One search of AdaSpa, with the log-sum-exp in hand. */
async function searchOf(
  gpu: GpuDevice,
  ops: Backend,
  { heads, grid }: Shape,
  [q, k, v]: [Tensor, Tensor, Tensor],
  layout: Layout,
): Promise<number> {
  const { score, select, levels } = adaSpa({ sparsity: 0.8 });
  const lse = ops.upload(new Float32Array(heads * layout.order.length).fill(20), [heads, layout.order.length]);
  const site = { step: 30, steps: 50, layer: 0, layers: 1, branches: [0], grid };
  const both = { q: layout, k: layout };
  const call: Call = { ops, q, k, v, layout: both, site, memory: { lse }, forced: score.forced?.(both) };
  const milliseconds = await time(gpu, ops, () => select(call, score(call), levels));
  ops.release(lse);
  return milliseconds;
}

async function benchShape(gpu: GpuDevice, shape: Shape, variants: readonly string[]) {
  const ops = await webgpuBackend(gpu);
  const big = tokensOf(shape.grid) > 50_000;
  const dense = [];
  const skipped = [];
  const kept = [];
  for (const dtype of ['f16', 'f32'] as const) {
    const wanted = attendVariants.filter(({ name }) => variants.includes(name) && !(big && dense.length > 0));
    const [able, unable] = [true, false].map((can) =>
      wanted.filter((one) => (one.lacking(gpu.adapter, { dim: shape.dim, dtype }) === undefined) === can),
    );
    skipped.push(...unable.map((one) => ({ variant: one.name, dtype, reason: one.lacking(gpu.adapter, { dim: shape.dim, dtype }) })));
    if (able.length === 0) continue;
    const inputs = inputsOf(gpu, ops, shape, dtype);
    kept.push(inputs);
    for (const { name } of able) dense.push(await denseOf(gpu, shape, inputs, name, !big));
  }
  const sparse = await sparseOf(gpu, shape, kept[0], dense[0]);
  for (const { q, k, v } of kept) for (const tensor of [q, k, v]) ops.release(tensor);
  return { ...shape, tokens: tokensOf(shape.grid), dense, skipped, variant: dense[0].variant, ...sparse };
}

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'wan-480p' },
    variants: { type: 'string', default: 'matrix,subgroups,portable' },
    stock: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const gpu = await openWebgpu({ experimental: !values.stock, checked: values.stock });
const { vendor, architecture, description } = gpu.adapter;
const shapes = [];
for (const name of values.shape.split(','))
  shapes.push(await benchShape(gpu, SHAPES.find((shape) => shape.name === name)!, values.variants.split(',')));
const result = { machine: machine(), gpu: { vendor, architecture, description }, stock: values.stock, mostRuns: RUNS, shapes };
if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 1)}\n`);
gpu.dispose();
process.exit(0);
