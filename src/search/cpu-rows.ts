// Arithmetic along one row of a score table, on plain numbers, for the CPU.
import type { Reduction } from '../backend/algebra.ts';

/** The largest number; -Infinity for none. */
function largestOf(row: Float32Array): number {
  let largest = -Infinity;
  for (let at = 0; at < row.length; at++) if (row[at] > largest) largest = row[at];
  return largest;
}

/** The least and the largest finite number. */
function boundsOf(row: Float32Array): readonly [number, number] {
  let [least, largest] = [Infinity, -Infinity];
  for (let at = 0; at < row.length; at++) {
    const x = row[at];
    if (!Number.isFinite(x)) continue;
    if (x < least) least = x;
    if (x > largest) largest = x;
  }
  return [least, largest];
}

/** `Algebra.softmax` of a row. */
export function softmaxOf(from: Float32Array, to: Float32Array): void {
  const [, largest] = boundsOf(from);
  let total = 0;
  for (let at = 0; at < from.length; at++) {
    to[at] = Number.isFinite(from[at]) ? Math.exp(from[at] - largest) : 0;
    total += to[at];
  }
  for (let at = 0; at < from.length; at++) to[at] = from[at] === Infinity ? Infinity : to[at] / (total || 1);
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
  const [least, largest] = boundsOf(from);
  for (let at = 0; at < from.length; at++) {
    const x = from[at];
    to[at] = !Number.isFinite(x) ? x : largest > least ? (x - least) / (largest - least) : 1;
  }
}

/** `Algebra.top` of a row. */
export function topOf(from: Float32Array, to: Float32Array, count: number): void {
  const order = [...from.keys()]
    .filter((at) => from[at] > -Infinity)
    .sort((a, b) => Number(from[b] > from[a]) - Number(from[b] < from[a]) || a - b);
  for (const at of order.slice(0, count)) to[at] = 1;
}
