// Exact softmax attention on the CPU in tiles of query rows: memory grows with the tokens, never with their square.
import type { InferenceSession } from 'onnxruntime-common';
import type { CpuDevice } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import { softmaxAttention } from './attend.ts';

/** Most logits that one run holds, twice: 6 MiB each. */
const LOGITS_PER_RUN = 1.5 * 2 ** 20;

/** q [heads, rows, dim], k and v [heads, keys, dim]. */
export interface DenseCall {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly heads: number;
  readonly dim: number;
}

/** Exact attention: out [heads, rows, dim], lse [heads, rows]. */
export async function attendTiles(device: CpuDevice, { q, k, v, heads, dim }: DenseCall): Promise<[Float32Array, Float32Array]> {
  const session = await denseSession(device, dim, false);
  const { Tensor } = device.runtime;
  const [rows, keys] = [q.length / heads / dim, k.length / heads / dim];
  const out = new Float32Array(q.length);
  const lse = new Float32Array(heads * rows);
  for (const { head, first, count } of tilesOf(heads, rows, Math.max(1, Math.floor(LOGITS_PER_RUN / keys)))) {
    const from = (head * rows + first) * dim;
    const ofHead = (x: Float32Array) => new Tensor('float32', x.subarray(head * keys * dim, (head + 1) * keys * dim), [1, keys, dim]);
    const queries = new Tensor('float32', q.subarray(from, from + count * dim), [1, count, dim]);
    const result = await session.run({ q: queries, k: ofHead(k), v: ofHead(v) });
    out.set(result.out.data as Float32Array, from);
    lse.set(result.lse.data as Float32Array, head * rows + first);
  }
  return [out, lse];
}

/**
 * Exact attention without log-sum-exp: out [heads, rows, dim]. onnxruntime-node has a fused operator for it, about 1.15x faster than tiles;
 * onnxruntime-web's overflows from 4,096 tokens of dim 64 on, so there the tiles do it.
 */
export async function attendFused(device: CpuDevice, call: DenseCall): Promise<Float32Array> {
  if (device.runtime.name !== 'onnxruntime-node') return (await attendTiles(device, call))[0];
  const session = await denseSession(device, call.dim, true);
  const feed = (x: Float32Array) => new device.runtime.Tensor('float32', x, [call.heads, x.length / call.heads / call.dim, call.dim]);
  const { out } = await session.run({ q: feed(call.q), k: feed(call.k), v: feed(call.v) });
  return out.data as Float32Array;
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

function denseSession(device: CpuDevice, dim: number, fused: boolean): Promise<InferenceSession> {
  const make = () => device.runtime.session(denseGraph(dim, fused));
  return device.cached(`attendAll/${dim}/${fused}`, make, (session) => session.release());
}

/** q [r, b, dim], k and v [r, n, dim] -> out [r, b, dim] and, unless fused, lse [r, b]; r counts heads. */
function denseGraph(dim: number, fused: boolean): Uint8Array {
  const graph = new OnnxGraph();
  const q = graph.input('q', 'f32', ['r', 'b', dim]);
  const k = graph.input('k', 'f32', ['r', 'n', dim]);
  const v = graph.input('v', 'f32', ['r', 'n', dim]);
  if (!fused) softmaxAttention(graph, { q, k, v, dim, lse: true });
  else graph.output(graph.node('MultiHeadAttention', [q, k, v], { num_heads: 1 }, 'com.microsoft', 'out'), 'f32', ['r', 'b', dim]);
  return graph.build();
}
