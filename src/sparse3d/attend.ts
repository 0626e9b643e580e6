// Block-sparse attention by a plan on the CPU: gather units of keys and values, matmul, softmax, matmul, in chunks that fit the cache.
import type { InferenceSession } from 'onnxruntime-common';
import type { CpuDevice } from '../backend/cpu.ts';
import { float, OnnxGraph } from '../backend/onnx.ts';
import type { SessionOptions } from '../backend/runtime.ts';
import type { Layout } from './plan.ts';
import { type Chunk, chunksOf, isEven, type PlanNumbers, poolsRead } from './rows.ts';
import { type KeysAndValues, plainUnits, pooledUnits, type Units } from './units.ts';

/** Rows of one run, so that what they gather stays in the cache. */
const ROWS_PER_RUN = 16;

/** Blocked q, k, v [heads, slots, dim], a plan's numbers, and the layouts. */
export interface AttendCall extends KeysAndValues {
  readonly q: Float32Array;
  readonly plan: PlanNumbers;
  readonly layout: { readonly q: Layout; readonly k: Layout };
}

/** Attention by a plan; results are blocked, zero in PAD rows: out [heads, slots, dim], lse [heads, slots]. */
export async function attendPlan(device: CpuDevice, call: AttendCall): Promise<[Float32Array, Float32Array]> {
  const { heads, dim, layout, plan } = call;
  const slots = layout.q.blocks * layout.q.block;
  const out = new Float32Array(heads * slots * dim);
  const lse = new Float32Array(heads * slots);
  const plain = isEven(plan) && layout.k.counts.every((count) => count === layout.k.block);
  const pools = poolsRead(plan);
  const session = await gatherSession(device, dim, !plain);
  const groupHeads = Math.max(1, Math.floor(ROWS_PER_RUN / layout.q.blocks));
  for (let head = 0; head < heads; head += groupHeads) {
    const group = headsOf(call, head, Math.min(groupHeads, heads - head));
    const units = plain ? plainUnits(group, layout.k) : pooledUnits(group, layout.k, pools);
    const chunks = chunksOf(plan, units, layout.k, head * layout.q.blocks, group.heads * layout.q.blocks, layout.q.blocks, ROWS_PER_RUN);
    await inLanes(device, chunks, (chunk) => runChunk(device, session, group, units, chunk, layout.q, out, lse, head * slots));
  }
  return [out, lse];
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
  session: InferenceSession,
  { q, dim }: AttendCall,
  units: Units,
  chunk: Chunk,
  layout: Layout,
  out: Float32Array,
  lse: Float32Array,
  firstSlot: number,
): Promise<void> {
  const { Tensor } = device.runtime;
  const { rows, index, length } = chunk;
  const result = await session.run({
    q: new Tensor('float32', queriesOf(q, dim, units.biased, rows, layout.block), [rows.length, layout.block, units.keyDim]),
    k: new Tensor('float32', units.k, [units.count, units.size, units.keyDim]),
    v: new Tensor('float32', units.v, [units.count, units.size, dim]),
    index: new Tensor('int32', index, [rows.length, length]),
  });
  const rowOut = result.out.data as Float32Array;
  const rowLse = result.lse.data as Float32Array;
  for (const [at, row] of rows.entries()) {
    const count = layout.counts[row % layout.blocks];
    const from = at * layout.block;
    const to = firstSlot + row * layout.block;
    out.set(rowOut.subarray(from * dim, (from + count) * dim), to * dim);
    lse.set(rowLse.subarray(from, from + count), to);
  }
}

/** Query blocks of a chunk [rows, block, dim], with a last column of ones when units are biased. */
function queriesOf(q: Float32Array, dim: number, biased: boolean, rows: readonly number[], block: number): Float32Array {
  if (!biased && rows.every((row, at) => row === rows[0] + at))
    return q.subarray(rows[0] * block * dim, (rows[0] + rows.length) * block * dim);
  const keyDim = biased ? dim + 1 : dim;
  const queries = new Float32Array(rows.length * block * keyDim);
  if (biased) queries.fill(1);
  for (const [at, row] of rows.entries())
    for (let token = 0; token < block; token++) {
      const from = (row * block + token) * dim;
      queries.set(q.subarray(from, from + dim), (at * block + token) * keyDim);
    }
  return queries;
}

/** Runs tasks side by side: onnxruntime-node computes each run on one thread, wasm takes one run at a time on all of them. */
export async function inLanes<T>(device: CpuDevice, tasks: readonly T[], run: (task: T) => Promise<void>): Promise<void> {
  const lanes = lanesOf(device);
  let next = 0;
  const lane = async () => {
    while (next < tasks.length) await run(tasks[next++]);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, tasks.length) }, lane));
}

/** Session options that leave the parallelism to `inLanes`. */
export const sessionThreads = (device: CpuDevice): SessionOptions => (lanesOf(device) > 1 ? { threads: 1 } : {});
/** Concurrent runs on a device. */
export const lanesOf = ({ runtime }: CpuDevice): number => (runtime.name === 'onnxruntime-node' ? runtime.threads : 1);

function gatherSession(device: CpuDevice, dim: number, biased: boolean): Promise<InferenceSession> {
  const make = () => device.runtime.session(gatherGraph(dim, biased ? dim + 1 : dim), sessionThreads(device));
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
