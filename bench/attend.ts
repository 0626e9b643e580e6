// Attention on the CPU against ONNX Runtime's own: speed on both runtimes, error against the f64 twin, and memory by tokens.
//   node dist/bench/attend.js [--quick]      writes bench/results/attend-cpu.json
// Contenders run in turns in one process, so that a busy machine slows all of them; ratios are medians over the turns.
import { execFileSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type CpuDevice, openCpu } from '../src/backend/cpu.ts';
import { float, OnnxGraph } from '../src/backend/onnx.ts';
import type { RuntimeName } from '../src/backend/runtime.ts';
import { seeded } from '../src/bench/random.ts';
import { raster } from '../src/sparse3d/layout.ts';
import { type Sparse3dOps, sparse3dOps } from '../src/sparse3d/ops.ts';
import type { Plan } from '../src/sparse3d/plan.ts';
import { attendEntries, planRows, poolReference, rowsOf } from '../src/sparse3d/reference.ts';
import type { Tensor } from '../src/tensor.ts';
import { writeResult } from './machine.ts';

const [HEADS, DIM, BLOCK] = [4, 64, 64];
const PYRAMID = { name: 'pyramid', shares: [0.1, 0.1, 0.1, 0.2], pools: [1, 2, 4, 8] };
const PLANS = [{ name: 'sparse .25', shares: [0.25], pools: [1] }, { name: 'sparse .125', shares: [0.125], pools: [1] }, PYRAMID];

interface Case {
  readonly name: string;
  readonly run: () => Promise<unknown>;
}

interface Timing {
  readonly name: string;
  readonly bestMilliseconds: number;
  readonly medianMilliseconds: number;
  /** Median over the turns of (time of the first contender / time of this one). */
  readonly timesFasterThanFirst: number;
}

/** Seeded numbers in -1..1. */
function numbers(length: number, seed: number): Float32Array {
  const uniform = seeded(seed);
  return Float32Array.from({ length }, () => 2 * uniform() - 1);
}

function upload(ops: Sparse3dOps, tokens: number): Tensor[] {
  return [1, 2, 3].map((seed) => ops.upload(numbers(HEADS * tokens * DIM, seed), [HEADS, tokens, DIM]));
}

/** A grid of so many tokens, a multiple of the block. */
const layoutOf = (tokens: number) => raster(BLOCK)({ frames: tokens / BLOCK, height: 8, width: 8, text: 0 });

/** A seeded random plan; `shares[level]` of the key blocks are read at each level. */
function planOf(ops: Sparse3dOps, blocks: number, shares: readonly number[], pools: readonly number[]): Plan {
  const counts = Int32Array.from({ length: HEADS * blocks * shares.length }, (_, at) => Math.round(shares[at % shares.length] * blocks));
  const keys = numbers(HEADS * blocks * blocks, 7);
  const read = counts.subarray(0, shares.length).reduce((sum, count) => sum + count, 0);
  const chosen = new Int32Array(keys.length).fill(-1);
  for (let row = 0; row < HEADS * blocks; row++) {
    const order = Array.from({ length: blocks }, (_, block) => block).sort((a, b) => keys[row * blocks + a] - keys[row * blocks + b]);
    chosen.set(order.slice(0, read), row * blocks);
  }
  return {
    counts: ops.upload(counts, [HEADS, blocks, shares.length]),
    blocks: ops.upload(chosen, [HEADS, blocks, blocks]),
    levels: pools.map((pool) => ({ pool, upTo: 1 })),
  };
}

/** ONNX Runtime's fused op (one head a batch item), or the plain graph that materialises all logits. */
function rivalGraph(fused: boolean): Uint8Array {
  const graph = new OnnxGraph();
  const [q, k, v] = ['q', 'k', 'v'].map((name) => graph.input(name, 'f32', ['h', 'n', DIM]));
  if (fused) graph.node('MultiHeadAttention', [q, k, v], { num_heads: 1 }, 'com.microsoft', 'out');
  else {
    const logits = graph.node('FusedMatMul', [q, k], { transB: 1, alpha: float(1 / Math.sqrt(DIM)) }, 'com.microsoft');
    graph.node('MatMul', [graph.node('Softmax', [logits], { axis: -1 }), v], {}, '', 'out');
  }
  graph.output('out', 'f32', ['h', 'n', DIM]);
  return graph.build();
}

async function rival(device: CpuDevice, name: string, qkv: readonly Tensor[]): Promise<Case> {
  const session = await device.cached(
    name,
    () => device.runtime.session(rivalGraph(name === 'MultiHeadAttention')),
    (s) => s.release(),
  );
  const feeds = await Promise.all(
    qkv.map(async (x) => new device.runtime.Tensor('float32', (await device.read(x)) as Float32Array, [...x.shape])),
  );
  return { name, run: () => session.run({ q: feeds[0], k: feeds[1], v: feeds[2] }) };
}

async function takeTurns(cases: readonly Case[], turns: number): Promise<Timing[]> {
  const times: number[][] = cases.map(() => []);
  for (let turn = -1; turn < turns; turn++)
    for (const [at, { run }] of cases.entries()) {
      const start = performance.now();
      await run();
      if (turn >= 0) times[at].push(performance.now() - start);
    }
  return cases.map(({ name }, at) => ({
    name,
    bestMilliseconds: Math.min(...times[at]),
    medianMilliseconds: median(times[at]),
    timesFasterThanFirst: median(times[at].map((time, turn) => times[0][turn] / time)),
  }));
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Largest difference from the f64 twin over the largest magnitude, on `rows` query rows of each head. */
async function errorOf(ops: Sparse3dOps, qkv: readonly Tensor[], plan: Plan, tokens: number, rows: number) {
  const layout = layoutOf(tokens);
  const [q, k, v] = await Promise.all(qkv.map(async (x) => rowsOf(await ops.read(x), HEADS, DIM)));
  const attended = ops.attend(qkv[0], qkv[1], qkv[2], plan, { q: layout, k: layout });
  const [out, lse] = [rowsOf(await ops.read(attended.out), HEADS, DIM), rowsOf(await ops.read(attended.lse), HEADS, 1)];
  const [counts, blocks] = [(await ops.read(plan.counts)) as Int32Array, (await ops.read(plan.blocks)) as Int32Array];
  const worst = { out: 0, lse: 0, largestOut: 0, largestLse: 0 };
  for (let head = 0; head < HEADS; head++) {
    const lists = planRows(counts, blocks, plan.levels, head, layout.blocks, layout.blocks);
    for (let at = 0; at < rows; at++) {
      const token = Math.floor((at * tokens) / rows);
      const entries = lists[Math.floor(token / BLOCK)].flatMap(({ block, pool }) => poolReference(k[head], v[head], layout, block, pool));
      const twin = attendEntries(q[head][token], entries);
      worst.out = Math.max(worst.out, ...twin.out.map((x, index) => Math.abs(x - out[head][token][index])));
      worst.largestOut = Math.max(worst.largestOut, ...twin.out.map(Math.abs));
      worst.lse = Math.max(worst.lse, Math.abs(twin.lse - lse[head][token][0]));
      worst.largestLse = Math.max(worst.largestLse, Math.abs(twin.lse));
    }
  }
  return { out: worst.out / worst.largestOut, lse: worst.lse / worst.largestLse };
}

async function speed(runtime: RuntimeName, tokens: number, turns: number) {
  const device = await openCpu(runtime);
  const ops = sparse3dOps(device);
  const qkv = upload(ops, tokens);
  const layout = layoutOf(tokens);
  const cases = [await rival(device, runtime === 'onnxruntime-node' ? 'MultiHeadAttention' : 'plain graph', qkv)];
  cases.push({ name: 'dense', run: () => ops.read(ops.attendAll(qkv[0], qkv[1], qkv[2]).out) });
  cases.push({ name: 'dense, no lse', run: () => ops.read(ops.attendAll(qkv[0], qkv[1], qkv[2], { lse: false }).out) });
  const plans = [];
  for (const { name, shares, pools } of PLANS) {
    const plan = planOf(ops, layout.blocks, shares, pools);
    plans.push({ name, shares, pools, density: await ops.density(plan), relativeErrorToTwin: await errorOf(ops, qkv, plan, tokens, 16) });
    cases.push({ name, run: () => ops.read(ops.attend(qkv[0], qkv[1], qkv[2], plan, { q: layout, k: layout }).out) });
  }
  const timings = await takeTurns(cases, turns);
  const version = device.runtime.version;
  await device.dispose();
  return { runtime, version, tokens, heads: HEADS, dim: DIM, block: BLOCK, turns, load: loadavg()[0], plans, timings };
}

/** In a process of its own: by how many MiB attention raises the process's memory above that of its inputs, sampled every millisecond. */
async function memory(kind: string, tokens: number): Promise<number> {
  const ops = sparse3dOps(await openCpu('onnxruntime-node'));
  const warm = attention(ops, kind, BLOCK);
  await warm();
  const run = attention(ops, kind, tokens);
  const before = process.memoryUsage.rss();
  let peak = before;
  const sample = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const timer = setInterval(sample, 1);
  await run();
  clearInterval(timer);
  sample();
  return (peak - before) / 2 ** 20;
}

/** One attention call, its inputs and plan made. */
function attention(ops: Sparse3dOps, kind: string, tokens: number): () => Promise<unknown> {
  const [q, k, v] = upload(ops, tokens);
  const layout = layoutOf(tokens);
  const plan = planOf(ops, layout.blocks, [Math.max(0.25, 1 / layout.blocks)], [1]);
  return () => ops.read((kind === 'dense' ? ops.attendAll(q, k, v) : ops.attend(q, k, v, plan, { q: layout, k: layout })).out);
}

function memoryTable(sizes: readonly number[]) {
  const self = fileURLToPath(import.meta.url);
  return ['dense', 'sparse .25'].map((kind) => {
    const growthMebibytes = sizes.map((tokens) => Number(execFileSync(process.execPath, [self, '--memory', kind, `${tokens}`])));
    const last = sizes.length - 1;
    const exponent = Math.log(growthMebibytes[last] / growthMebibytes[0]) / Math.log(sizes[last] / sizes[0]);
    return { kind, tokens: sizes, growthMebibytes, exponentOfTokens: exponent };
  });
}

async function main(quick: boolean): Promise<void> {
  const native = await speed('onnxruntime-node', 5184, quick ? 5 : 15);
  const wasm = await speed('onnxruntime-web', quick ? 2304 : 5184, quick ? 3 : 5);
  const memoryGrowth = memoryTable(quick ? [2304, 5184] : [2304, 5184, 9216, 17408]);
  for (const { runtime, version, tokens, timings, plans } of [native, wasm]) {
    console.log(`\n${runtime} ${version}, ${tokens} tokens, ${HEADS} heads x ${DIM}, f32`);
    for (const { name, bestMilliseconds, timesFasterThanFirst } of timings) {
      const plan = plans.find((known) => known.name === name);
      const note = plan ? `density ${plan.density.toFixed(3)}, error ${plan.relativeErrorToTwin.out.toExponential(1)}` : '';
      console.log(
        `${name.padEnd(20)}${bestMilliseconds.toFixed(1).padStart(9)} ms${timesFasterThanFirst.toFixed(2).padStart(7)}x  ${note}`,
      );
    }
  }
  for (const { kind, tokens, growthMebibytes, exponentOfTokens } of memoryGrowth)
    console.log(
      `${kind}: ${tokens.map((n, at) => `${n} tokens ${growthMebibytes[at].toFixed(0)} MiB`).join(', ')}; tokens^${exponentOfTokens.toFixed(2)}`,
    );
  writeResult('attend-cpu', { quick, speed: [native, wasm], memoryGrowth });
}

const [option, kind, tokens] = process.argv.slice(2);
if (option === '--memory') console.log(await memory(kind, Number(tokens)));
else await main(option === '--quick');
