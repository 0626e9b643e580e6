// Exact softmax mass of block pairs on the CPU: one run a head loops over tiles of query blocks, so memory grows with tokens. The graph adds up
// the rows of a query block, and the keys of a block are added up here, where padding is simply left out.
import type { InferenceSession } from 'onnxruntime-common';
import { type CpuDevice, type CpuTensor, floatsOf } from '../backend/cpu.ts';
import { float, OnnxGraph } from '../backend/onnx.ts';
import { type Layout, slotCount } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

/** Logits of one tile, 4 MiB: rows of whole query blocks, at least one, against all keys of a head. */
const TILE_LOGITS = 2 ** 20;
/** A logit that no exp survives, for padding. */
const NEVER = -1e30;
// A sum beyond f32 would read as +Infinity, which forces a block; a stale log-sum-exp could get there.
const LARGEST = 3.4e38;

/** `Backend.blockMass`. */
export function blockMass(device: CpuDevice, q: Tensor, k: Tensor, lse: Tensor, layout: Layouts): CpuTensor {
  const [heads, , dim] = q.shape;
  const { q: queries, k: keys } = layout;
  const [mass] = device.enqueue([{ shape: [heads, queries.blocks, keys.blocks] }], async () => {
    const session = await massSession(device, dim, queries.block, slotCount(keys));
    const numbers = { q: await floatsOf(q), k: await floatsOf(k), lse: await floatsOf(lse), dim };
    const table = new Float32Array(heads * queries.blocks * keys.blocks);
    for (let head = 0; head < heads; head++) {
      const { sums } = await session.run(feedsOf(device, numbers, head, layout));
      const ofHead = table.subarray(head * queries.blocks * keys.blocks, (head + 1) * queries.blocks * keys.blocks);
      addKeys(sums.data as Float32Array, keys, ofHead);
    }
    return [table];
  });
  return mass;
}

interface MassNumbers {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly lse: Float32Array;
  readonly dim: number;
}

function feedsOf({ runtime: { Tensor } }: CpuDevice, { q, k, lse, dim }: MassNumbers, head: number, layout: Layouts) {
  const [rows, columns] = [slotCount(layout.q), slotCount(layout.k)];
  const { block, blocks } = layout.q;
  const step = Math.min(blocks, Math.max(1, Math.floor(TILE_LOGITS / columns / block)));
  const tiles = Math.ceil(blocks / step);
  // The last tile may repeat a block, whose sums nobody reads.
  const index = Int32Array.from({ length: tiles * step }, (_, at) => Math.min(at, blocks - 1));
  return {
    q: new Tensor('float32', q.subarray(head * rows * dim, (head + 1) * rows * dim), [blocks, block, dim]),
    k: new Tensor('float32', k.subarray(head * columns * dim, (head + 1) * columns * dim), [columns, dim]),
    shift: new Tensor('float32', shiftOf(lse.subarray(head * rows, (head + 1) * rows), layout.q), [blocks, block, 1]),
    index: new Tensor('int32', index, [tiles, step]),
    trips: new Tensor('int64', BigInt64Array.of(BigInt(tiles)), []),
  };
}

/** What is added to the logits of each row: its log-sum-exp is taken away, and padding never has mass. */
const shiftOf = (lse: Float32Array, { block, counts }: Layout): Float32Array =>
  lse.map((sum, slot) => (slot % block < counts[Math.floor(slot / block)] ? -sum : NEVER));

/** Sums of exp over the rows of each query block [query blocks, keys] -> over the keys of each block too. */
function addKeys(sums: Float32Array, { block, blocks, counts }: Layout, table: Float32Array): void {
  for (let at = 0; at < table.length; at++) {
    const first = at * block;
    let sum = 0;
    for (let slot = first; slot < first + counts[at % blocks]; slot++) sum += sums[slot];
    table[at] = Math.min(sum, LARGEST);
  }
}

function massSession(device: CpuDevice, dim: number, block: number, keys: number): Promise<InferenceSession> {
  const make = () => device.runtime.session(massGraph(dim, block, keys));
  return device.cached(`search/mass/${dim}/${block}/${keys}`, make, (session) => session.release());
}

/** q [blocks, block, dim], k [keys, dim], shift [blocks, block, 1], index [tiles, step] of blocks -> sums [tiles, step, keys]. */
function massGraph(dim: number, block: number, keys: number): Uint8Array {
  const graph = new OnnxGraph();
  graph.input('q', 'f32', ['blocks', block, dim]);
  graph.input('k', 'f32', [keys, dim]);
  graph.input('shift', 'f32', ['blocks', block, 1]);
  graph.input('index', 'i32', ['tiles', 'step']);
  const trips = graph.input('trips', 'i64', []);
  const body = graph.body();
  const tile = body.input('tile', 'i64', []);
  body.output(body.node('Identity', [body.input('more', 'bool', [])]), 'bool', []);
  const chosen = body.node('Gather', ['index', tile]);
  const rowsOf = (x: string, width: number) => body.node('Reshape', [body.node('Gather', [x, chosen]), body.ints([-1, width])]);
  const scaled = { transB: 1, alpha: float(1 / Math.sqrt(dim)) };
  const shares = body.node('Exp', [body.node('Gemm', [rowsOf('q', dim), 'k', rowsOf('shift', 1)], scaled)]);
  const byBlock = body.node('Reshape', [shares, body.ints([-1, block, keys])]);
  body.output(body.node('ReduceSum', [byBlock, body.ints([1])], { keepdims: 0 }), 'f32', ['step', keys]);
  graph.nodes('Loop', [trips, ''], ['sums'], { body });
  graph.output('sums', 'f32', ['tiles', 'step', keys]);
  return graph.build();
}
