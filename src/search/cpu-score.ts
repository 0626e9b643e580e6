// Scores from the largest logits of blocks on the CPU: q.k^T tiles run as ONNX graphs of a few MiB, so memory grows with tokens; the small
// block tables are reduced here.
import type * as ort from 'onnxruntime-common';
import type { Sampling } from '../backend/backend.ts';
import { type CpuDevice, type CpuTensor, floatsOf } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { drawCount, type Side, slotsOfHead } from './sampling.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

/** Logits of one run, 4 MiB: rows of whole query blocks, at least one, against all keys of a head. */
const TILE_LOGITS = 2 ** 20;

/** A session of a graph with inputs q [r, dim] and k [c, dim], whose logits `reduce` turns into one output with a column a key block. */
function tileSession(
  device: CpuDevice,
  name: string,
  dim: number,
  perBlock: readonly number[],
  reduce: (graph: OnnxGraph, logits: string) => string,
) {
  return device.cached(
    `search/${name}/${dim}/${perBlock}`,
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

/** What is taken of a block's largest logit: itself, how far it lies below the row's largest, or the exp of that. */
type Peak = 'logit' | 'margin' | 'exp';

/** A block's peak in each row, the most of a query block's `queries` rows, for `keys` keys a block. */
const peakSession = (device: CpuDevice, dim: number, queries: number, keys: number, peak: Peak) =>
  tileSession(device, `peak/${peak}`, dim, [queries, keys], (graph, logits) => {
    const largest = (x: string, axis: number, keepdims: number) => graph.node('ReduceMax', [x, graph.ints([axis])], { keepdims });
    const maxima = largest(graph.node('Reshape', [logits, graph.ints([0, -1, keys])]), 2, 0);
    const below = peak === 'logit' ? maxima : graph.node('Sub', [maxima, largest(maxima, 1, 1)]);
    const peaks = peak === 'exp' ? graph.node('Exp', [below]) : below;
    const blocks = graph.node('Reshape', [peaks, graph.node('Concat', [graph.ints([-1, queries]), columns(graph, maxima)], { axis: 0 })]);
    return largest(blocks, 1, 0);
  });

/** The second size of a value, as a shape of one. */
const columns = (graph: OnnxGraph, x: string): string => graph.node('Shape', [x], { start: 1, end: 2 });

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

/** Rows and columns of one product, and where its first block pair lies in the score table. */
interface Tile {
  readonly rows: Float32Array;
  readonly columns: Float32Array;
  readonly at: number;
}

/**
 * `Backend.sampledScores`: for each drawn row exp(best drawn logit of a block - best of all), the most of a block's rows, then shares of
 * the row's sum.
 */
export const sampledScores = (device: CpuDevice, q: Tensor, k: Tensor, layout: Layouts, sampling: Sampling): CpuTensor =>
  peaksOf(device, q, k, layout, sampling, 'exp');

/** `Backend.blockPeaks`. */
export const blockPeaks = (device: CpuDevice, q: Tensor, k: Tensor, layout: Layouts, margin: boolean): CpuTensor =>
  peaksOf(device, q, k, layout, { queries: 1, keys: 1, seed: 0 }, margin ? 'margin' : 'logit');

function peaksOf(device: CpuDevice, q: Tensor, k: Tensor, layout: Layouts, sampling: Sampling, peak: Peak): CpuTensor {
  const [heads, , dim] = q.shape;
  const shape = [heads, layout.q.blocks, layout.k.blocks];
  const [perQuery, perKey] = [drawCount(layout.q.block, sampling.queries), drawCount(layout.k.block, sampling.keys)];
  const [scores] = device.enqueue([{ shape }], async () => {
    const session = await peakSession(device, dim, perQuery, perKey, peak);
    const numbers = { q: await floatsOf(q), k: await floatsOf(k), heads, dim };
    const step = Math.max(1, Math.floor(TILE_LOGITS / (layout.k.blocks * perKey) / perQuery)) * perQuery;
    const result = new Float32Array(heads * layout.q.blocks * layout.k.blocks);
    for (const { rows, columns, at } of drawnTiles(numbers, layout, sampling, step, perQuery))
      result.set(await runTile(device, session, rows, columns, dim), at);
    if (peak === 'exp') normalise(result, layout.k.blocks);
    return [result];
  });
  return scores;
}

function* drawnTiles(
  { q, k, heads, dim }: { q: Float32Array; k: Float32Array; heads: number; dim: number },
  layout: Layouts,
  sampling: Sampling,
  step: number,
  perQuery: number,
): Generator<Tile> {
  for (let head = 0; head < heads; head++) {
    const rows = drawn(q, head, dim, layout.q, sampling, 'queries', 1 / Math.sqrt(dim));
    const columns = drawn(k, head, dim, layout.k, sampling, 'keys', 1);
    for (let row = 0; row < layout.q.blocks * perQuery; row += step)
      yield {
        rows: rows.subarray(row * dim, (row + step) * dim),
        columns,
        at: (head * layout.q.blocks + row / perQuery) * layout.k.blocks,
      };
  }
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

function normalise(table: Float32Array, kBlocks: number): void {
  for (let from = 0; from < table.length; from += kBlocks) {
    const row = table.subarray(from, from + kBlocks);
    const total = row.reduce((sum, score) => sum + score, 0);
    for (let at = 0; at < kBlocks; at++) row[at] /= total;
  }
}
