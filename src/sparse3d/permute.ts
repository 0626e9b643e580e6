// Raster order to layout order and back: on the host where consecutive slots hold consecutive tokens, else by ONNX Runtime.
import type { CpuDevice } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import { type Layout, PAD, tokensOf } from './plan.ts';

/** For each slot the token that it holds (any for PAD), for each token its slot, and in how many runs of both they move. */
interface Moves {
  readonly tokens: Int32Array;
  readonly slots: Int32Array;
  readonly runs: number;
}

const moves = new WeakMap<Layout, Moves>();

/** From so many tokens a run on, the host is faster. */
const LONG_RUN = 8;

/** `toBlocked`, the faster way. */
export async function gatherRows(device: CpuDevice, x: Float32Array, heads: number, dim: number, layout: Layout): Promise<Float32Array> {
  const { tokens, runs } = movesOf(layout);
  const { order } = layout;
  if (runs * LONG_RUN <= order.length) return toBlocked(x, heads, dim, layout);
  const result = await takeRows(device, x, heads, dim, tokens);
  for (let slot = order.indexOf(PAD); slot >= 0; slot = order.indexOf(PAD, slot + 1))
    for (let head = 0; head < heads; head++) result.fill(0, (head * order.length + slot) * dim, (head * order.length + slot + 1) * dim);
  return result;
}

/** `toRaster`, the faster way. */
export async function scatterRows(device: CpuDevice, x: Float32Array, heads: number, dim: number, layout: Layout): Promise<Float32Array> {
  const { slots, runs } = movesOf(layout);
  if (runs * LONG_RUN <= slots.length) return toRaster(x, heads, dim, layout);
  return takeRows(device, x, heads, dim, slots);
}

function movesOf(layout: Layout): Moves {
  const made = moves.get(layout);
  if (made) return made;
  const { order } = layout;
  const slots = new Int32Array(tokensOf(layout.grid));
  let runs = 0;
  for (const [slot, token] of order.entries()) {
    if (token === PAD) continue;
    slots[token] = slot;
    if (slot === 0 || token === 0 || order[slot - 1] !== token - 1) runs++;
  }
  const found = { tokens: order.map((token) => Math.max(0, token)), slots, runs };
  moves.set(layout, found);
  return found;
}

/** x [heads, rows, dim] -> [heads, index.length, dim]. */
async function takeRows(device: CpuDevice, x: Float32Array, heads: number, dim: number, index: Int32Array): Promise<Float32Array> {
  const { Tensor } = device.runtime;
  const session = await device.cached(
    'takeRows',
    () => device.runtime.session(takeGraph()),
    (made) => made.release(),
  );
  const feeds = { x: new Tensor('float32', x, [heads, x.length / heads / dim, dim]), index: new Tensor('int32', index, [index.length]) };
  return (await session.run(feeds)).rows.data as Float32Array;
}

function takeGraph(): Uint8Array {
  const graph = new OnnxGraph();
  const [x, index] = [graph.input('x', 'f32', ['h', 'n', 'd']), graph.input('index', 'i32', ['m'])];
  graph.output(graph.node('Gather', [x, index], { axis: 1 }, '', 'rows'), 'f32', ['h', 'm', 'd']);
  return graph.build();
}

/** Raster [heads, tokens, dim] to blocked [heads, slots, dim]; PAD rows stay zero. */
export function toBlocked(x: Float32Array, heads: number, dim: number, layout: Layout): Float32Array {
  const { order } = layout;
  const tokens = tokensOf(layout.grid);
  const blocked = new Float32Array(heads * order.length * dim);
  for (let head = 0; head < heads; head++)
    eachRun(order, (slot, token, length) => {
      const from = (head * tokens + token) * dim;
      blocked.set(x.subarray(from, from + length * dim), (head * order.length + slot) * dim);
    });
  return blocked;
}

/** Blocked [heads, slots, dim] to raster [heads, tokens, dim]. */
export function toRaster(x: Float32Array, heads: number, dim: number, layout: Layout): Float32Array {
  const { order } = layout;
  const tokens = tokensOf(layout.grid);
  const raster = new Float32Array(heads * tokens * dim);
  for (let head = 0; head < heads; head++)
    eachRun(order, (slot, token, length) => {
      const from = (head * order.length + slot) * dim;
      raster.set(x.subarray(from, from + length * dim), (head * tokens + token) * dim);
    });
  return raster;
}

/** Consecutive slots that hold consecutive tokens move as one. */
function eachRun(order: Int32Array, move: (slot: number, token: number, length: number) => void): void {
  for (let slot = 0; slot < order.length; ) {
    const token = order[slot];
    let length = 1;
    if (token !== PAD) {
      while (slot + length < order.length && order[slot + length] === token + length) length++;
      move(slot, token, length);
    }
    slot += length;
  }
}
