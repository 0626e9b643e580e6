// Block-sparse attention by a plan on the CPU: gather units of keys and values, matmul, softmax, matmul, in chunks that fit the cache.
import type { InferenceSession } from 'onnxruntime-common';
import type { CpuDevice } from '../backend/cpu.ts';
import { float, OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from './plan.ts';
import { type Chunk, chunksOf, isEven, type PlanNumbers, poolsRead, type RunSize } from './rows.ts';
import { type KeysAndValues, plainUnits, pooledUnits, type Units } from './units.ts';

/** Blocked q, k, v [heads, slots, dim], a plan's numbers, and the layouts. */
export interface AttendCall extends KeysAndValues {
  readonly q: Float32Array;
  readonly plan: PlanNumbers;
  readonly layout: { readonly q: Layout; readonly k: Layout };
}

/**
 * What one run holds at most, measured: little enough to stay near the cores. Fewer rows where all are padded to the longest; more keys on
 * wasm, which copies a head's keys and values in for every run.
 */
const runSize = (device: CpuDevice, even: boolean): RunSize => ({
  rows: even ? 32 : 16,
  keys: device.runtime.name === 'onnxruntime-node' ? 24 * 1024 : 64 * 1024,
});

/** Attention by a plan; results are blocked, zero in PAD rows: out [heads, slots, dim], lse [heads, slots]. */
export async function attendPlan(device: CpuDevice, call: AttendCall): Promise<[Float32Array, Float32Array]> {
  const { heads, dim, layout } = call;
  const slots = layout.q.blocks * layout.q.block;
  const results = { out: new Float32Array(heads * slots * dim), lse: new Float32Array(heads * slots) };
  for (const run of runsOf(device, call)) await runChunk(device, run, results);
  return [results.out, results.lse];
}

/** One chunk of rows of a group of heads that starts at `head`. */
interface Run {
  readonly group: AttendCall;
  readonly head: number;
  readonly units: Units;
  readonly chunk: Chunk;
}

/** The runs of a call, prepared as they are asked for, a group of heads at a time: one group's units are held at once. */
function* runsOf(device: CpuDevice, call: AttendCall): Generator<Run> {
  const { heads, layout, plan } = call;
  const pools = poolsRead(plan);
  const full = layout.k.counts.every((count) => count === layout.k.block);
  const { blocks, counts } = layout.q;
  const together = Math.max(1, Math.floor(runSize(device, true).rows / blocks));
  for (let head = 0; head < heads; head += together) {
    const group = headsOf(call, head, Math.min(together, heads - head));
    const even = isEven(plan, head * blocks, group.heads * blocks);
    const units = even && full ? plainUnits(group, layout.k) : pooledUnits(group, layout.k, pools);
    const rows = { first: head * blocks, heads: group.heads, counts };
    for (const chunk of chunksOf(plan, rows, units, layout.k, runSize(device, even))) yield { group, head, units, chunk };
  }
}

function headsOf(call: AttendCall, head: number, heads: number): AttendCall {
  const part = (x: Float32Array, perHead: number) => x.subarray(head * perHead, (head + heads) * perHead);
  const { q, k } = call.layout;
  return {
    ...call,
    heads,
    q: part(call.q, q.blocks * q.block * call.dim),
    k: part(call.k, k.blocks * k.block * call.dim),
    v: part(call.v, k.blocks * k.block * call.dim),
  };
}

async function runChunk(
  device: CpuDevice,
  { group, head, units, chunk }: Run,
  results: { readonly out: Float32Array; readonly lse: Float32Array },
): Promise<void> {
  const { Tensor } = device.runtime;
  const { rows, queries, index, length } = chunk;
  const { dim, layout } = group;
  const { block, blocks, counts } = layout.q;
  const session = await gatherSession(device, dim, units.biased);
  const { out, lse } = await session.run({
    q: new Tensor('float32', queriesOf(group, units, chunk), [rows.length, queries, units.keyDim]),
    k: new Tensor('float32', units.k, [units.count, units.size, units.keyDim]),
    v: new Tensor('float32', units.v, [units.count, units.size, dim]),
    index: new Tensor('int32', index, [rows.length, length]),
  });
  const [rowOut, rowLse] = [out.data as Float32Array, lse.data as Float32Array];
  for (const [at, row] of rows.entries()) {
    const count = counts[row % blocks];
    const from = at * queries;
    const to = (head * blocks + row) * block;
    results.out.set(rowOut.subarray(from * dim, (from + count) * dim), to * dim);
    results.lse.set(rowLse.subarray(from, from + count), to);
  }
}

/** Queries of a chunk [rows, queries, keyDim]: a view where rows follow each other, else a copy; in biased units the last column is 1. */
function queriesOf({ q, dim, layout }: AttendCall, { biased, keyDim }: Units, { rows, queries }: Chunk): Float32Array {
  const { block } = layout.q;
  if (!biased && queries === block && rows.every((row, at) => row === rows[0] + at))
    return q.subarray(rows[0] * block * dim, (rows[0] + rows.length) * block * dim);
  const copy = new Float32Array(rows.length * queries * keyDim);
  if (biased) copy.fill(1);
  for (const [at, row] of rows.entries())
    for (let token = 0; token < queries; token++) {
      const from = (row * block + token) * dim;
      copy.set(q.subarray(from, from + dim), (at * queries + token) * keyDim);
    }
  return copy;
}

function gatherSession(device: CpuDevice, dim: number, biased: boolean): Promise<InferenceSession> {
  const make = () => device.runtime.session(gatherGraph(dim, biased ? dim + 1 : dim));
  return device.cached(`attend/${dim}/${biased}`, make, (session) => session.release());
}

/** q [r, b, keyDim], k [u, s, keyDim], v [u, s, dim], index [r, n] -> out [r, b, dim], lse [r, b]. */
function gatherGraph(dim: number, keyDim: number): Uint8Array {
  const graph = new OnnxGraph();
  const q = graph.input('q', 'f32', ['r', 'b', keyDim]);
  const k = graph.input('k', 'f32', ['u', 's', keyDim]);
  const v = graph.input('v', 'f32', ['u', 's', dim]);
  const index = graph.input('index', 'i32', ['r', 'n']);
  const rowKeys = graph.node('Reshape', [graph.node('Gather', [k, index]), graph.ints([0, -1, keyDim])]);
  const rowValues = graph.node('Reshape', [graph.node('Gather', [v, index]), graph.ints([0, -1, dim])]);
  softmaxAttention(graph, q, rowKeys, rowValues, dim);
  return graph.build();
}

/**
 * Adds softmax(q kT / sqrt(dim)) v as output `out` [r, b, dim] and its log-sum-exp as `lse` [r, b]. The largest probability of a row is
 * exp(largest logit - lse), which gives the log-sum-exp at half the cost of ReduceLogSumExp.
 */
export function softmaxAttention(graph: OnnxGraph, q: string, k: string, v: string, dim: number): void {
  const logits = graph.node('FusedMatMul', [q, k], { transB: 1, alpha: float(1 / Math.sqrt(dim)) }, 'com.microsoft');
  const share = graph.node('Softmax', [logits], { axis: -1 });
  graph.output(graph.node('MatMul', [share, v], {}, '', 'out'), 'f32', ['r', 'b', dim]);
  const largest = (x: string) => graph.node('ReduceMax', [x, graph.ints([-1])], { keepdims: 0 });
  graph.output(graph.node('Sub', [largest(logits), graph.node('Log', [largest(share)])], {}, '', 'lse'), 'f32', ['r', 'b']);
}
