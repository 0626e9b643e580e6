// Exact softmax attention on the CPU in tiles of query rows: memory grows with the tokens, never with their square.
import type { InferenceSession } from 'onnxruntime-common';
import type { CpuDevice } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import { inLanes, lanesOf, sessionThreads, softmaxAttention } from './attend.ts';

/** Most logits that one run holds (4 bytes each, twice): 8 MiB on each native lane; wasm copies keys and values in, so it gets longer runs. */
const logitsPerRun = (device: CpuDevice): number => (lanesOf(device) > 1 ? 1 << 20 : 1 << 22);

/** q [heads, rows, dim], k and v [heads, keys, dim]. */
export interface DenseCall {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly heads: number;
  readonly dim: number;
}

/** Results: out [heads, rows, dim], lse [heads, rows]. */
export async function attendTiles(device: CpuDevice, { q, k, v, heads, dim }: DenseCall): Promise<[Float32Array, Float32Array]> {
  const session = await tileSession(device, dim);
  const { Tensor } = device.runtime;
  const [rows, keys] = [q.length / heads / dim, k.length / heads / dim];
  const out = new Float32Array(q.length);
  const lse = new Float32Array(heads * rows);
  const tiles = tilesOf(heads, rows, Math.max(1, Math.floor(logitsPerRun(device) / keys)));
  await inLanes(device, tiles, async ({ head, first, count }) => {
    const from = (head * rows + first) * dim;
    const ofHead = (x: Float32Array) => new Tensor('float32', x.subarray(head * keys * dim, (head + 1) * keys * dim), [1, keys, dim]);
    const queries = new Tensor('float32', q.subarray(from, from + count * dim), [1, count, dim]);
    const result = await session.run({ q: queries, k: ofHead(k), v: ofHead(v) });
    out.set(result.out.data as Float32Array, from);
    lse.set(result.lse.data as Float32Array, head * rows + first);
  });
  return [out, lse];
}

interface Tile {
  readonly head: number;
  readonly first: number;
  readonly count: number;
}

/** Tiles of at most `most` rows, nearly equal, each of one head. */
function tilesOf(heads: number, rows: number, most: number): Tile[] {
  const perHead = Math.ceil(rows / most);
  const edge = (tile: number) => Math.floor((tile * rows) / perHead);
  return Array.from({ length: heads * perHead }, (_, index) => {
    const tile = index % perHead;
    return { head: Math.floor(index / perHead), first: edge(tile), count: edge(tile + 1) - edge(tile) };
  });
}

function tileSession(device: CpuDevice, dim: number): Promise<InferenceSession> {
  return device.cached(
    `attendAll/${dim}`,
    () => device.runtime.session(tileGraph(dim), sessionThreads(device)),
    (session) => session.release(),
  );
}

function tileGraph(dim: number): Uint8Array {
  const graph = new OnnxGraph();
  const q = graph.input('q', 'f32', ['r', 'b', dim]);
  const k = graph.input('k', 'f32', ['r', 'n', dim]);
  const v = graph.input('v', 'f32', ['r', 'n', dim]);
  softmaxAttention(graph, q, k, v, dim);
  return graph.build();
}
