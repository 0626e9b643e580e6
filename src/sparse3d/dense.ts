// Exact softmax attention on the CPU in tiles of query rows: memory grows with the tokens, never with their square.
import type { InferenceSession } from 'onnxruntime-common';
import type { CpuDevice } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import { inLanes, lanesOf, sessionThreads, softmaxAttention } from './attend.ts';

/** Most logits that one run holds (4 bytes each, twice): 8 MiB on each native lane; wasm copies keys and values in, so it gets longer runs. */
const logitsPerRun = (device: CpuDevice): number => (lanesOf(device) > 1 ? 1 << 20 : 1 << 22);
/** Query rows of a run of the fused operator, which holds no logits; enough of them to share each read of the keys. */
const FUSED_ROWS = 1296;

/** q [heads, rows, dim], k and v [heads, keys, dim]. */
export interface DenseCall {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly heads: number;
  readonly dim: number;
}

/**
 * Results: out [heads, rows, dim], lse [heads, rows]. Without `lse` (its numbers stay zero) native runs use ONNX Runtime's fused operator,
 * about 1.2x faster, which keeps no log-sum-exp; wasm cannot, because there the operator overflows from 4,096 tokens on.
 */
export async function attendTiles(
  device: CpuDevice,
  { q, k, v, heads, dim }: DenseCall,
  lse: boolean,
): Promise<[Float32Array, Float32Array]> {
  const fused = !lse && device.runtime.name === 'onnxruntime-node';
  const session = await tileSession(device, dim, fused);
  const { Tensor } = device.runtime;
  const [rows, keys] = [q.length / heads / dim, k.length / heads / dim];
  const out = new Float32Array(q.length);
  const logSumExp = new Float32Array(heads * rows);
  const tiles = tilesOf(heads, rows, fused ? FUSED_ROWS : Math.max(1, Math.floor(logitsPerRun(device) / keys)));
  await inLanes(device, tiles, async ({ head, first, count }) => {
    const from = (head * rows + first) * dim;
    const ofHead = (x: Float32Array) => new Tensor('float32', x.subarray(head * keys * dim, (head + 1) * keys * dim), [1, keys, dim]);
    const queries = new Tensor('float32', q.subarray(from, from + count * dim), [1, count, dim]);
    const result = await session.run({ q: queries, k: ofHead(k), v: ofHead(v) });
    out.set(result.out.data as Float32Array, from);
    if (!fused) logSumExp.set(result.lse.data as Float32Array, head * rows + first);
  });
  return [out, logSumExp];
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

function tileSession(device: CpuDevice, dim: number, fused: boolean): Promise<InferenceSession> {
  const make = () => device.runtime.session(tileGraph(dim, fused), sessionThreads(device));
  return device.cached(`attendAll/${dim}/${fused}`, make, (session) => session.release());
}

/** q [r, b, dim], k and v [r, n, dim] -> out [r, b, dim] and, unless fused, lse [r, b]. */
function tileGraph(dim: number, fused: boolean): Uint8Array {
  const graph = new OnnxGraph();
  const q = graph.input('q', 'f32', ['r', 'b', dim]);
  const k = graph.input('k', 'f32', ['r', 'n', dim]);
  const v = graph.input('v', 'f32', ['r', 'n', dim]);
  if (!fused) softmaxAttention(graph, q, k, v, dim);
  else graph.output(graph.node('MultiHeadAttention', [q, k, v], { num_heads: 1 }, 'com.microsoft', 'out'), 'f32', ['r', 'b', dim]);
  return graph.build();
}
