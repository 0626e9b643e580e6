// Raster order to layout order and back, on the host.
import { type Layout, PAD, tokensOf } from './plan.ts';

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
