// Block-sparse attention by a plan on the CPU: one run loops over chunks of rows that fit the cache: gather keys and values, matmul,
// softmax, matmul. One run, because its first operation waits until the other threads are awake.
import type { InferenceSession, Tensor } from 'onnxruntime-common';
import type { CpuDevice } from '../backend/cpu.ts';
import { float, OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from './plan.ts';
import { type ChunkSize, type Chunks, chunksOf, type PlanNumbers, poolsRead } from './rows.ts';
import { plainUnits, pooledUnits, shareInput, shareInputs, storeUnits, type Units, weightsOf } from './units.ts';

/** Blocked q, k, v [heads, slots, dim], PAD rows zero, a plan's numbers, and the layouts. */
export interface AttendCall {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly heads: number;
  readonly dim: number;
  readonly plan: PlanNumbers;
  readonly layout: { readonly q: Layout; readonly k: Layout };
  /** Whether the log-sum-exp is wanted. */
  readonly lse: boolean;
}

/** What one chunk holds, measured: little enough to stay near the cores. */
const CHUNK = { rows: 16, keys: 4 * 1024 };
/** Keys and values of the heads of one run, in bytes at most; their units take up to twice as much. */
const GROUP_BYTES = 64 * 2 ** 20;

/** Attention by a plan; results are blocked, zero in PAD rows: out [heads, slots, dim] and, where wanted, lse [heads, slots]. */
export async function attendPlan(device: CpuDevice, call: AttendCall): Promise<[Float32Array, Float32Array]> {
  const { heads, dim, layout, plan } = call;
  const slots = layout.q.blocks * layout.q.block;
  const results = { out: new Float32Array(heads * slots * dim), lse: new Float32Array(call.lse ? heads * slots : 0) };
  const pools = poolsRead(plan);
  const together = Math.max(1, Math.floor(GROUP_BYTES / (layout.k.blocks * layout.k.block * dim * 8)));
  const size: ChunkSize = { ...CHUNK, threads: device.runtime.threads };
  for (let head = 0; head < heads; head += together) {
    const group = headsOf(call, head, Math.min(together, heads - head));
    const plain = pools.every((pool) => pool === 1) ? plainUnits(layout.k, group.heads) : undefined;
    const units = plain ?? pooledUnits(layout.k, group.heads, pools);
    const rows = { first: head * layout.q.blocks, heads: group.heads, layout };
    for (const chunks of chunksOf(plan, rows, units, size)) await runChunks(device, { group, head, units, chunks }, results);
  }
  return [results.out, results.lse];
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

/** Chunks of a group of heads that starts at `head`. */
interface Run {
  readonly group: AttendCall;
  readonly head: number;
  readonly units: Units;
  readonly chunks: Chunks;
}

async function runChunks(device: CpuDevice, run: Run, results: { readonly out: Float32Array; readonly lse: Float32Array }): Promise<void> {
  const { group, head, units, chunks } = run;
  const { dim, layout, lse } = group;
  const { block, blocks, counts } = layout.q;
  const session = await attendSession(device, dim, units, lse);
  const answer = await session.run(feedsOf(device, run));
  const [out, rowLse] = [answer.outs.data as Float32Array, answer.lses?.data as Float32Array];
  for (const [at, row] of chunks.rows.entries()) {
    const count = counts[row % blocks];
    const from = at * chunks.queries;
    const to = (head * blocks + row) * block;
    results.out.set(out.subarray(from * dim, (from + count) * dim), to * dim);
    if (lse) results.lse.set(rowLse.subarray(from, from + count), to);
  }
}

function feedsOf(device: CpuDevice, { group, units, chunks }: Run): Record<string, Tensor> {
  const { Tensor } = device.runtime;
  const { dim, layout, heads } = group;
  const { queries, perChunk, rows, ends, index } = chunks;
  const trips = ends.length;
  const short = queries < layout.q.block;
  const asked = short ? shortQueries(group, chunks) : group.q;
  const starts = Int32Array.from(ends, (_, chunk) => ends[chunk - 1] ?? 0);
  const blockShape = units.biased ? [-1] : [units.count, units.size, dim];
  const keysAndValues = units.biased ? [group.k.length / dim, dim] : blockShape;
  const feeds: Record<string, Tensor> = {
    q: new Tensor('float32', asked, [asked.length / queries / dim, queries, dim]),
    k: new Tensor('float32', group.k, keysAndValues),
    v: new Tensor('float32', group.v, keysAndValues),
    trips: new Tensor('int64', BigInt64Array.of(BigInt(trips)), []),
    rows: new Tensor('int32', short ? rows.map((_, at) => at) : rows, [trips, perChunk]),
    starts: new Tensor('int32', starts, [trips, 1]),
    ends: new Tensor('int32', ends, [trips, 1]),
    index: new Tensor('int32', index, [perChunk, index.length / perChunk]),
  };
  if (!units.biased) return feeds;
  const { bias, shares } = weightsOf(units, layout.k, heads, dim);
  feeds.bias = new Tensor('float32', bias, [units.count, units.size, 1]);
  for (const [pool, share] of shares) feeds[shareInput(pool)] = new Tensor('float32', share, [share.length, 1]);
  return feeds;
}

/** The first queries of each row of short query blocks [rows, queries, dim]. */
function shortQueries({ q, dim, layout }: AttendCall, { queries, rows }: Chunks): Float32Array {
  const size = queries * dim;
  const copy = new Float32Array(rows.length * size);
  for (const [at, row] of rows.entries()) {
    const from = row * layout.q.block * dim;
    copy.set(q.subarray(from, from + size), at * size);
  }
  return copy;
}

function attendSession(device: CpuDevice, dim: number, units: Units, lse: boolean): Promise<InferenceSession> {
  const key = ['attend', dim, lse, ...(units.biased ? [units.size, ...units.stored.keys()] : [])].join('/');
  const make = () => device.runtime.session(attendGraph(dim, units, lse));
  return device.cached(key, make, (session) => session.release());
}

/**
 * q [rows, b, dim], k and v [units, size, dim] (plain) or [slots, dim] (to be pooled), chunks as in `Chunks` -> outs [chunks, r, b, dim],
 * lses [chunks, r, b].
 */
function attendGraph(dim: number, units: Units, lse: boolean): Uint8Array {
  const graph = new OnnxGraph();
  let q = graph.input('q', 'f32', ['rows', 'b', dim]);
  const shape = units.biased ? ['slots', dim] : ['units', 'size', dim];
  let [k, v] = ['k', 'v'].map((name) => graph.input(name, 'f32', shape));
  const trips = graph.input('trips', 'i64', []);
  for (const [name, columns] of [
    ['rows', 'r'],
    ['starts', 1],
    ['ends', 1],
  ] as const)
    graph.input(name, 'i32', ['chunks', columns]);
  graph.input('index', 'i32', ['r', 'columns']);
  if (units.biased) {
    shareInputs(graph, [...units.stored.keys()]);
    q = graph.node('Pad', [q, graph.ints([0, 0, 0, 0, 0, 1]), graph.scalar(1)]);
    k = graph.node('Concat', [storeUnits(graph, k, units, dim), graph.input('bias', 'f32', ['units', 'size', 1])], { axis: 2 });
    v = storeUnits(graph, v, units, dim);
  }
  const body = chunkGraph(graph.body(), { q, k, v, dim, keyDim: units.biased ? dim + 1 : dim, lse });
  graph.nodes('Loop', [trips, ''], lse ? ['outs', 'lses'] : ['outs'], { body });
  graph.output('outs', 'f32', ['chunks', 'r', 'b', dim]);
  if (lse) graph.output('lses', 'f32', ['chunks', 'r', 'b']);
  return graph.build();
}

interface ChunkValues {
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly dim: number;
  readonly keyDim: number;
  readonly lse: boolean;
}

/** The body of the loop: one chunk -> out [r, b, dim], lse [r, b]. */
function chunkGraph(body: OnnxGraph, { q, k, v, dim, keyDim, lse }: ChunkValues): OnnxGraph {
  const chunk = body.input('chunk', 'i64', []);
  const more = body.input('more', 'bool', []);
  body.output(body.node('Identity', [more]), 'bool', []);
  const [rows, from, to] = ['rows', 'starts', 'ends'].map((name) => body.node('Gather', [name, chunk]));
  const list = body.node('Slice', ['index', from, to, body.constant('i32', [1], Int32Array.of(1))]);
  const [keys, values] = [
    [k, keyDim],
    [v, dim],
  ].map(([x, width]) => body.node('Reshape', [body.node('Gather', [x as string, list]), body.ints([0, -1, width as number])]));
  softmaxAttention(body, { q: body.node('Gather', [q, rows]), k: keys, v: values, dim, lse });
  return body;
}

/**
 * Adds softmax(q kT / sqrt(dim)) v as output `out` [r, b, dim] and, if wanted, its log-sum-exp as `lse` [r, b]. The largest probability of a
 * row is exp(largest logit - lse), which gives the log-sum-exp at half the cost of ReduceLogSumExp.
 */
export function softmaxAttention(graph: OnnxGraph, { q, k, v, dim, lse }: Omit<ChunkValues, 'keyDim'>): void {
  const logits = graph.node('FusedMatMul', [q, k], { transB: 1, alpha: float(1 / Math.sqrt(dim)) }, 'com.microsoft');
  const share = graph.node('Softmax', [logits], { axis: -1 });
  graph.output(graph.node('MatMul', [share, v], {}, '', 'out'), 'f32', ['r', 'b', dim]);
  if (!lse) return;
  const largest = (x: string) => graph.node('ReduceMax', [x, graph.ints([-1])], { keepdims: 0 });
  graph.output(graph.node('Sub', [largest(logits), graph.node('Log', [largest(share)])], {}, '', 'lse'), 'f32', ['r', 'b']);
}
