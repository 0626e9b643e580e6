// The two scoring operations on the CPU: q.k^T tiles run as ONNX graphs of a few MiB, so memory grows with tokens; the small block tables are reduced here.
import type * as ort from 'onnxruntime-common';
import type { Sampling } from '../backend/backend.ts';
import { type CpuDevice, type CpuTensor, floatsOf } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { type Side, slotsOfHead } from './sampling.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

// One tile of logits is about 4 MiB, measured best on 2 cores: 256 rows x 4096 keys, 18 ms a head at 4096 tokens against 33 ms for 64 x 1024.
const TILE_ROWS = 256;
const TILE_KEYS = 4096;
const TILE_LOGITS = TILE_ROWS * TILE_KEYS;
/** A logit that no exp survives, for padding. */
const NEVER = -1e30;
// A sum beyond f32 would read as +Infinity, which forces a block; a stale log-sum-exp could get there.
const LARGEST = 3.4e38;

const slotsOf = (layout: Layout): number => layout.blocks * layout.block;

/** A session of a graph with inputs q [r, dim] and k [c, dim], whose logits `reduce` turns into one output [r, c / keysPerBlock]. */
function tileSession(
  device: CpuDevice,
  name: string,
  dim: number,
  keysPerBlock: number,
  reduce: (graph: OnnxGraph, logits: string) => string,
) {
  return device.cached(
    `search/${name}/${dim}/${keysPerBlock}`,
    () => {
      const graph = new OnnxGraph();
      const logits = graph.node(
        'FusedMatMul',
        [graph.input('q', 'f32', ['r', dim]), graph.input('k', 'f32', ['c', dim])],
        { transB: 1 },
        'com.microsoft',
      );
      const result = reduce(graph, logits);
      graph.output(graph.node('Identity', [result], {}, '', 'scores'), 'f32', ['r', 'b']);
      return device.runtime.session(graph.build());
    },
    (session) => session.release(),
  );
}

/** Sums of exp over the keys of each block. */
const massSession = (device: CpuDevice, dim: number, block: number) =>
  tileSession(device, 'mass', dim, block, (graph, logits) =>
    graph.node('ReduceSum', [graph.node('Reshape', [graph.node('Exp', [logits]), graph.ints([0, -1, block])]), graph.ints([2])], {
      keepdims: 0,
    }),
  );

/** exp of each block's maximum less the row's maximum. */
const peakSession = (device: CpuDevice, dim: number, samples: number) =>
  tileSession(device, 'peak', dim, samples, (graph, logits) => {
    const maxima = graph.node('ReduceMax', [graph.node('Reshape', [logits, graph.ints([0, -1, samples])]), graph.ints([2])], {
      keepdims: 0,
    });
    const peak = graph.node('ReduceMax', [maxima, graph.ints([1])], { keepdims: 1 });
    return graph.node('Exp', [graph.node('Sub', [maxima, peak])]);
  });

async function runTile(
  device: CpuDevice,
  session: ort.InferenceSession,
  q: Float32Array,
  k: Float32Array,
  dim: number,
): Promise<Float32Array> {
  const { Tensor } = device.runtime;
  const feeds = { q: new Tensor('float32', q, [q.length / dim, dim]), k: new Tensor('float32', k, [k.length / dim, dim]) };
  return (await session.run(feeds)).scores.data as Float32Array;
}

/** `Backend.blockMass`. The log-sum-exp and the padding travel in two extra dimensions, so that one product gives logit - lse, and never for padding. */
export function blockMass(device: CpuDevice, q: Tensor, k: Tensor, lse: Tensor, layout: Layouts): CpuTensor {
  const [heads, , dim] = q.shape;
  const shape = [heads, layout.q.blocks, layout.k.blocks];
  const [mass] = device.enqueue([{ shape }], async () => {
    const session = await massSession(device, dim + 2, layout.k.block);
    const [queries, keys, logSums] = await Promise.all([floatsOf(q), floatsOf(k), floatsOf(lse)]);
    const sums = new Float64Array(heads * layout.q.blocks * layout.k.blocks);
    for (let head = 0; head < heads; head++) {
      const table = sums.subarray(head * layout.q.blocks * layout.k.blocks, (head + 1) * layout.q.blocks * layout.k.blocks);
      const bias = logSums.subarray(head * slotsOf(layout.q), (head + 1) * slotsOf(layout.q));
      const rows = widen(queries, head, dim, layout.q, 1 / Math.sqrt(dim), (slot, pad) => [pad ? NEVER : -bias[slot], 1]);
      const columns = widen(keys, head, dim, layout.k, 1, (_, pad) => [1, pad ? NEVER : 0]);
      await sumTiles(rows, columns, dim + 2, layout, table, (tileQ, tileK) => runTile(device, session, tileQ, tileK, dim + 2));
    }
    return [Float32Array.from(sums, (sum) => Math.min(sum, LARGEST))];
  });
  return mass;
}

/** One head of a blocked tensor, scaled, with two more numbers behind each row. */
function widen(
  x: Float32Array,
  head: number,
  dim: number,
  layout: Layout,
  scale: number,
  extra: (slot: number, pad: boolean) => readonly [number, number],
): Float32Array {
  const slots = slotsOf(layout);
  const wide = new Float32Array(slots * (dim + 2));
  for (let slot = 0; slot < slots; slot++) {
    const from = (head * slots + slot) * dim;
    const to = slot * (dim + 2);
    for (let at = 0; at < dim; at++) wide[to + at] = x[from + at] * scale;
    const pad = slot % layout.block >= layout.counts[Math.floor(slot / layout.block)];
    [wide[to + dim], wide[to + dim + 1]] = extra(slot, pad);
  }
  return wide;
}

/** Adds the row sums of every tile to the block table [qBlocks, kBlocks] of one head. */
async function sumTiles(
  rows: Float32Array,
  columns: Float32Array,
  width: number,
  layout: Layouts,
  table: Float64Array,
  run: (rows: Float32Array, columns: Float32Array) => Promise<Float32Array>,
): Promise<void> {
  const stepQ = Math.max(1, Math.floor(TILE_ROWS / layout.q.block)) * layout.q.block;
  const stepK = Math.max(1, Math.floor(TILE_KEYS / layout.k.block)) * layout.k.block;
  for (let row = 0; row < slotsOf(layout.q); row += stepQ)
    for (let column = 0; column < slotsOf(layout.k); column += stepK) {
      const tile = await run(rows.subarray(row * width, (row + stepQ) * width), columns.subarray(column * width, (column + stepK) * width));
      const blocks = Math.min(stepK, slotsOf(layout.k) - column) / layout.k.block;
      for (let at = 0; at < tile.length; at++) {
        const qBlock = Math.floor((row + Math.floor(at / blocks)) / layout.q.block);
        table[qBlock * layout.k.blocks + column / layout.k.block + (at % blocks)] += tile[at];
      }
    }
}

/** `Backend.sampledScores`: for each drawn row exp(best drawn logit of a block - best of all), the most of a block's rows, then shares of the row's sum. */
export function sampledScores(device: CpuDevice, q: Tensor, k: Tensor, layout: Layouts, sampling: Sampling): CpuTensor {
  const [heads, , dim] = q.shape;
  const shape = [heads, layout.q.blocks, layout.k.blocks];
  const [scores] = device.enqueue([{ shape }], async () => {
    const [queries, keys] = await Promise.all([floatsOf(q), floatsOf(k)]);
    const result = new Float32Array(heads * layout.q.blocks * layout.k.blocks);
    for (let head = 0; head < heads; head++) {
      const rows = drawn(queries, head, dim, layout.q, sampling, 'queries', 1 / Math.sqrt(dim));
      const columns = drawn(keys, head, dim, layout.k, sampling, 'keys', 1);
      const perBlock = rows.length / dim / layout.q.blocks;
      const session = await peakSession(device, dim, columns.length / dim / layout.k.blocks);
      const table = result.subarray(head * layout.q.blocks * layout.k.blocks, (head + 1) * layout.q.blocks * layout.k.blocks);
      const step = Math.max(1, Math.floor(TILE_LOGITS / (columns.length / dim) / perBlock)) * perBlock;
      for (let row = 0; row < rows.length / dim; row += step) {
        const tile = await runTile(device, session, rows.subarray(row * dim, (row + step) * dim), columns, dim);
        maximise(tile, table.subarray((row / perBlock) * layout.k.blocks), perBlock, layout.k.blocks);
      }
      normalise(table, layout.k.blocks);
    }
    return [result];
  });
  return scores;
}

/** The drawn tokens of every block of one head, [blocks * draws, dim], scaled. */
function drawn(x: Float32Array, head: number, dim: number, layout: Layout, sampling: Sampling, side: Side, scale: number): Float32Array {
  const slots = slotsOfHead(layout.block, sampling[side], sampling.seed, head, side);
  const result = new Float32Array(layout.blocks * slots.length * dim);
  let to = 0;
  for (let block = 0; block < layout.blocks; block++)
    for (const slot of slots) {
      const from = ((head * layout.blocks + block) * layout.block + (slot % layout.counts[block])) * dim;
      for (let at = 0; at < dim; at++) result[to++] = x[from + at] * scale;
    }
  return result;
}

/** The largest of `perBlock` rows at a time of a tile [rows, kBlocks], into a table [rows / perBlock, kBlocks]. */
function maximise(tile: Float32Array, table: Float32Array, perBlock: number, kBlocks: number): void {
  for (let at = 0; at < tile.length; at++) {
    const to = Math.floor(at / kBlocks / perBlock) * kBlocks + (at % kBlocks);
    if (tile[at] > table[to]) table[to] = tile[at];
  }
}

function normalise(table: Float32Array, kBlocks: number): void {
  for (let from = 0; from < table.length; from += kBlocks) {
    const row = table.subarray(from, from + kBlocks);
    const total = row.reduce((sum, score) => sum + score, 0);
    for (let at = 0; at < kBlocks; at++) row[at] /= total;
  }
}
