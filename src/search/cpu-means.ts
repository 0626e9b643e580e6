// Means of blocks and of whole heads on plain numbers, for the CPU. Only real tokens count; sums are f64.
import type { Layout } from '../sparse3d/plan.ts';

/** `Algebra.blockMeans`: [heads, blocks, dim]. */
export function meansOf(x: Float32Array, heads: number, dim: number, layout: Layout, normalized: boolean): Float32Array {
  const means = new Float32Array(heads * layout.blocks * dim);
  const sum = new Float64Array(dim);
  for (let block = 0; block < heads * layout.blocks; block++) {
    const count = layout.counts[block % layout.blocks];
    sum.fill(0);
    for (let slot = 0; slot < count; slot++) {
      const token = x.subarray((block * layout.block + slot) * dim, (block * layout.block + slot + 1) * dim);
      const length = normalized ? Math.sqrt(token.reduce((squares, number) => squares + number * number, 0)) || 1 : 1;
      for (let at = 0; at < dim; at++) sum[at] += token[at] / length;
    }
    for (let at = 0; at < dim; at++) means[block * dim + at] = sum[at] / count;
  }
  return means;
}

/** `Algebra.center`. */
export function centered(x: Float32Array, heads: number, dim: number, layout: Layout): Float32Array {
  const result = new Float32Array(x.length);
  const size = layout.blocks * layout.block * dim;
  const real = Array.from({ length: layout.blocks * layout.block }, (_, slot) => slot).filter(
    (slot) => slot % layout.block < layout.counts[Math.floor(slot / layout.block)],
  );
  for (let head = 0; head < heads; head++) {
    const [from, to] = [x, result].map((numbers) => numbers.subarray(head * size, (head + 1) * size));
    const mean = new Float64Array(dim);
    for (const slot of real) for (let at = 0; at < dim; at++) mean[at] += from[slot * dim + at] / real.length;
    for (const slot of real) for (let at = 0; at < dim; at++) to[slot * dim + at] = from[slot * dim + at] - mean[at];
  }
  return result;
}
