// Linear layers on a GPU: every tiling of the matrix kernel at the first shape; the fastest three, small ones and the other variants at all shapes, what the
// parts behind the sum cost, and errors against f64 rows; GPU timestamps, medians.
//   node dist/bench/matmul-gpu.js [--shapes 32768x1536x8960,...] [--tilings WORD,...] [--stock] [--out FILE]
// Shapes are rows x inputs x outputs. --tilings keeps those whose name has one of the words. --stock uses only what a browser offers without
// flags, with validation; otherwise all features, without validation and bounds checks.
import { parseArgs } from 'node:util';
import type { Backend } from '../src/backend/backend.ts';
import { webgpuBackend } from '../src/backend/webgpu/backend.ts';
import { bytesOf, type GpuDevice, type GpuTensor, gpuTensor, openWebgpu } from '../src/backend/webgpu/device.ts';
import { loadKernels } from '../src/backend/webgpu/wgsl.ts';
import { seeded } from '../src/bench/random.ts';
import { type Case, writeResult } from '../src/bench/results.ts';
import { type Spread, spreadOf } from '../src/bench/spread.ts';
import { ditKernels } from '../src/dit/webgpu/kernels/index.ts';
import { type MatmulCall, type MatmulVariant, matmulVariants } from '../src/dit/webgpu/matmul.ts';
import { bytesOfTiling, matrixWith, type Tiling } from '../src/dit/webgpu/matmul-matrix.ts';
import { gpuName, resultFile } from './machine.ts';
import { tilings } from './matmul-tilings.ts';

const RUNS = 12;
const REPEATS = 4_000_004; // numbers after which a tensor's numbers come again
const { matmul, matmulFew, matmulFinish, matmulMatrix } = ditKernels;

interface Shape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

type Contender = { readonly name: string; readonly variant: MatmulVariant; readonly tiling?: Tiling };

interface Line extends Case {
  readonly name: string;
  readonly milliseconds: Spread;
}

/** Roughly normal numbers of whole 64ths. */
function normal(seed: number): Float32Array {
  const uniform = seeded(seed);
  return Float32Array.from({ length: REPEATS }, () => Math.round((uniform() + uniform() + uniform() - 1.5) * 128) / 64);
}

/** The GPU, and the numbers that tensors of every shape repeat; a weight is a 32nd of its number, so that sums stay small. */
interface Bench {
  readonly gpu: GpuDevice;
  readonly ops: Backend;
  readonly x: Float32Array;
  readonly weight: Float32Array;
}

/** A tensor with the numbers of `from` again and again. */
function filled({ gpu, ops }: Bench, from: Float32Array, shape: readonly number[], dtype: 'f32' | 'f16'): GpuTensor {
  return gpu.scope(() => {
    const once = ops.upload(from, [REPEATS]);
    const pattern = gpuTensor(gpu, dtype === 'f16' ? ops.cast(once, 'f16') : once);
    const whole = gpu.tensor(shape, dtype);
    const [size, all] = [bytesOf(pattern), bytesOf(whole)];
    for (let at = 0; at < all; at += size) gpu.copy(pattern, 0, whole, at, Math.min(size, all - at));
    return whole;
  });
}

interface ExactRow {
  readonly row: number;
  readonly values: Float64Array;
}

/** A few rows of x weight^T in f64. */
function exactRows({ x, weight }: Bench, { rows, inputs, outputs }: Shape): ExactRow[] {
  return [0, Math.floor(rows / 3), rows - 1].map((row) => {
    const values = Float64Array.from({ length: outputs }, (_, output) => {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += x[(row * inputs + i) % REPEATS] * weight[(output * inputs + i) % REPEATS];
      return sum;
    });
    return { row, values };
  });
}

/** Relative error of those rows, with what the call has behind the sum. */
async function errorOf({ gpu, ops, x }: Bench, call: MatmulCall, exact: readonly ExactRow[]): Promise<number> {
  const { outputs, bias, activation, gate, residual, out } = call;
  const bytes = bytesOf(out) / out.shape[0];
  let [difference, norm] = [0, 0];
  for (const { row, values } of exact) {
    const read = gpu.scope(() => {
      const one = gpu.tensor([outputs], out.dtype);
      gpu.copy(out, row * bytes, one, 0, bytes);
      return ops.cast(one, 'f32');
    });
    const actual = await ops.read(read);
    ops.release(read);
    for (const [at, sum] of values.entries()) {
      let y = bias ? sum + x[at] : sum;
      if (activation) y *= 0.5 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (y + 0.044715 * y ** 3)));
      if (gate) y *= x[at];
      if (residual) y += x[(row * outputs + at) % REPEATS];
      difference += (actual[at] - y) ** 2;
      norm += y ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}

/** GPU milliseconds of a launch, after some of the same. */
async function time(gpu: GpuDevice, body: () => void, seconds: number): Promise<Spread> {
  for (const until = performance.now() + seconds * 1000; performance.now() < until; ) {
    body();
    await gpu.idle();
  }
  const runs: number[] = [];
  for (let sum = 0; runs.length < RUNS && (sum < 500 || runs.length < 3); sum += runs.at(-1)!)
    runs.push((await gpu.profile(body)).reduce((all, { milliseconds }) => all + milliseconds, 0));
  return spreadOf(runs);
}

const rounded = (x: number, digits = 4): number => Number(x.toPrecision(digits));
const kernels = await loadKernels({ matmul, matmulFew, matmulFinish, matmulMatrix });

/** Time and error of one contender. */
async function measure(
  bench: Bench,
  { name, variant, tiling }: Contender,
  call: MatmulCall,
  seconds: number,
  exact: readonly ExactRow[] = [],
) {
  const { gpu } = bench;
  const { rows, inputs, outputs, dtype, x, out } = call;
  // What another contender left is no result of this one.
  for (const { row } of exact) gpu.copy(x, 0, out, (row * bytesOf(out)) / rows, bytesOf(out) / rows);
  const start = performance.now();
  const launch = variant.launch(gpu, kernels, call);
  gpu.dispatch(launch);
  await gpu.idle();
  const compileMilliseconds = Math.round(performance.now() - start);
  const milliseconds = await time(gpu, () => gpu.dispatch(launch), seconds);
  const line = {
    ...{ id: idOf(call, dtype, name), dtype, name, milliseconds },
    teraflops: rounded((2 * rows * inputs * outputs) / milliseconds.median / 1e9),
    relativeError: rounded(await errorOf(bench, call, exact), 2),
    compileMilliseconds,
    ...(tiling && { kibibytes: bytesOfTiling(tiling) / 1024 }),
  };
  console.log(JSON.stringify(line));
  return line;
}

const idOf = ({ rows, inputs, outputs }: Shape, dtype: string, name: string): string =>
  `${rows}x${inputs}x${outputs}/webgpu ${dtype}/zoetrope ${name}`;

/** One shape in one dtype: every contender that can run, the others with the reason why not, then the best with what stands behind the sum. */
async function benchShape(bench: Bench, shape: Shape, dtype: 'f32' | 'f16', exact: readonly ExactRow[], contenders: readonly Contender[]) {
  const { gpu, ops } = bench;
  const { rows, inputs, outputs } = shape;
  const reasons = contenders.map((one) => ({ one, reason: one.variant.lacking(gpu.adapter, { ...shape, dtype }) }));
  const skipped: Case[] = reasons.flatMap(({ one, reason }) =>
    reason === undefined ? [] : [{ id: idOf(shape, dtype, one.name), dtype, skipped: reason }],
  );
  const able = reasons.filter(({ reason }) => reason === undefined).map(({ one }) => one);
  const lines: Line[] = [];
  if (able.length === 0) return { lines, skipped };
  const x = filled(bench, bench.x, [rows, inputs], dtype);
  const weight = filled(bench, bench.weight, [outputs, inputs], dtype);
  const call: MatmulCall = { ...shape, dtype, x, weight, out: gpu.tensor([rows, outputs], dtype) };
  for (const one of able)
    try {
      lines.push(await measure(bench, one, call, lines.length === 0 ? 1 : 0.1, exact));
    } catch (error) {
      skipped.push({ id: idOf(shape, dtype, one.name), failed: (error as Error).message.split('\n')[0] });
      console.log(one.name, skipped.at(-1)!.failed);
    }
  const [bias, gate] = [0, 1].map(() => filled(bench, bench.x, [outputs], dtype));
  const residual = filled(bench, bench.x, [rows, outputs], dtype);
  const best = able.find(({ name }) => name === fastest(lines)[0]?.name);
  if (best) {
    lines.push(
      await measure(bench, { ...best, name: `${best.name}, bias, gelu_tanh` }, { ...call, bias, activation: 'gelu_tanh' }, 0.1, exact),
    );
    lines.push(
      await measure(bench, { ...best, name: `${best.name}, bias, gate, residual` }, { ...call, bias, gate, residual }, 0.1, exact),
    );
  }
  for (const tensor of [x, weight, call.out, bias, gate, residual]) ops.release(tensor);
  gpu.trim();
  return { lines, skipped };
}

const fastest = (lines: readonly Line[]): Line[] => lines.toSorted((a, b) => a.milliseconds.median - b.milliseconds.median);

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: '32768x1536x8960,32768x8960x1536,32768x1536x1536,2304x256x1024' },
    tilings: { type: 'string', default: '' },
    stock: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const gpu = await openWebgpu({ experimental: !values.stock, checked: values.stock });
const bench: Bench = { gpu, ops: await webgpuBackend(gpu), x: normal(1), weight: normal(2).map((x) => x / 32) };
const words = values.tilings.split(',');
const matrix: Contender[] = [...tilings]
  .filter(([name]) => words.some((word) => name.includes(word)))
  .map(([name, tiling]) => ({ name: `matrix ${name}`, variant: matrixWith(tiling), tiling }));
const others: Contender[] = matmulVariants.filter(({ name }) => name !== 'matrix').map((variant) => ({ name: variant.name, variant }));
const cases: Case[] = [];
let chosen = matrix;
for (const text of values.shapes.split(',')) {
  const [rows, inputs, outputs] = text.split('x').map(Number);
  const shape = { rows, inputs, outputs };
  const exact = exactRows(bench, shape);
  const half = await benchShape(bench, shape, 'f16', exact, [...chosen, ...others]);
  const single = await benchShape(bench, shape, 'f32', exact, others);
  cases.push(...[...half.lines, ...single.lines].map(({ name: _, ...one }) => one), ...half.skipped, ...single.skipped);
  const names = fastest(half.lines).map(({ name }) => name);
  chosen = names
    .map((name) => chosen.find((one) => one.name === name))
    .filter((one) => one !== undefined)
    .slice(0, 3)
    .concat(matrix.filter(({ name }) => name.startsWith('matrix 64x')))
    .filter((one, at, all) => all.indexOf(one) === at);
}
const { vendor, architecture, description } = gpu.adapter;
const options = { stock: values.stock, runs: RUNS, adapter: { vendor, architecture, description } };
if (values.out) await writeResult(values.out, resultFile('matmul', options, cases, gpuName(gpu.adapter)));
gpu.dispose();
process.exit(0);
