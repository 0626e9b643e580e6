// Means of blocks and of whole heads on plain numbers, for the CPU. Only real tokens count; sums are f64.
import type { Layout } from '../sparse3d/plan.ts';

/** `Algebra.blockMeans`: [heads, blocks, dim]. */
export function meansOf(x: Float32Array, heads: number, dim: number, layout: Layout, normalized: boolean): Float32Array {
  const means = new Float32Array(heads * layout.blocks * dim);
  const sum = new Float64Array(dim);
  for (let block = 0; block < heads * layout.blocks; block++) {
    const count = layout.counts[block % layout.blocks];
    const first = block * layout.block * dim;
    sum.fill(0);
    for (let from = first; from < first + count * dim; from += dim) {
      const weight = normalized ? 1 / (lengthOf(x, from, dim) || 1) : 1;
      for (let at = 0; at < dim; at++) sum[at] += weight * x[from + at];
    }
    for (let at = 0; at < dim; at++) means[block * dim + at] = sum[at] / Math.max(count, 1);
  }
  return means;
}

function lengthOf(x: Float32Array, from: number, dim: number): number {
  let squares = 0;
  for (let at = from; at < from + dim; at++) squares += x[at] * x[at];
  return Math.sqrt(squares);
}

/** `Algebra.center`. */
export function centered(x: Float32Array, heads: number, dim: number, layout: Layout): Float32Array {
  const result = new Float32Array(x.length);
  for (let head = 0; head < heads; head++) {
    const mean = new Float64Array(dim);
    let tokens = 0;
    eachToken(head, dim, layout, (from) => {
      for (let at = 0; at < dim; at++) mean[at] += x[from + at];
      tokens++;
    });
    eachToken(head, dim, layout, (from) => {
      for (let at = 0; at < dim; at++) result[from + at] = x[from + at] - mean[at] / tokens;
    });
  }
  return result;
}

/** Visits where the real tokens of a head begin. */
function eachToken(head: number, dim: number, { block, blocks, counts }: Layout, visit: (from: number) => void): void {
  for (let own = 0; own < blocks; own++) for (let slot = 0; slot < counts[own]; slot++) visit(((head * blocks + own) * block + slot) * dim);
}
