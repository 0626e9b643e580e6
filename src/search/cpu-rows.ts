// Arithmetic along one row of a score table, on plain numbers, for the CPU.
import type { Reduction } from '../backend/algebra.ts';

/** The largest number; -Infinity for none. */
const largestOf = (row: Float32Array): number => row.reduce((most, x) => (x > most ? x : most), -Infinity);

/** `Algebra.softmax` of a row. */
export function softmaxOf(from: Float32Array, to: Float32Array): void {
  const largest = largestOf(from.filter(Number.isFinite));
  let total = 0;
  for (const x of from) if (Number.isFinite(x)) total += Math.exp(x - largest);
  for (const [at, x] of from.entries()) to[at] = Number.isFinite(x) ? Math.exp(x - largest) / total : x === Infinity ? x : 0;
}

/** `Algebra.reduce` of a row. */
export function reduced(row: Float32Array, how: Reduction): number {
  if (how === 'max') return largestOf(row);
  let [sum, count] = [0, 0];
  for (const x of row) {
    if (!Number.isFinite(x)) continue;
    sum += x;
    count++;
  }
  return how === 'sum' ? sum : sum / Math.max(1, count);
}

/** `Algebra.argmax` of a row. */
export const argmaxOf = (row: Float32Array): number => Math.max(0, row.indexOf(largestOf(row)));

/** `Algebra.minMax` of a row. */
export function minMaxOf(from: Float32Array, to: Float32Array): void {
  let [least, largest] = [Infinity, -Infinity];
  for (const x of from) {
    if (!Number.isFinite(x)) continue;
    if (x < least) least = x;
    if (x > largest) largest = x;
  }
  for (const [at, x] of from.entries()) to[at] = !Number.isFinite(x) ? x : largest > least ? (x - least) / (largest - least) : 1;
}

/** `Algebra.top` of a row. */
export function topOf(from: Float32Array, to: Float32Array, count: number): void {
  const order = [...from.keys()]
    .filter((at) => from[at] > -Infinity)
    .sort((a, b) => Number(from[b] > from[a]) - Number(from[b] < from[a]) || a - b);
  for (const at of order.slice(0, count)) to[at] = 1;
}
