// Two attentions over different keys as the one over all of them, on plain numbers; and what that takes, checked for every backend.
import type { Attended } from '../backend/backend.ts';
import { type CpuDevice, floatsOf } from '../backend/cpu.ts';

/** @throws RangeError unless both results are of one shape; TypeError unless they are stored alike. */
export function checkMerge(a: Attended, b: Attended): void {
  const shapes = [a, b].map(({ out, lse }) => `[${out.shape}] with [${lse.shape}]`);
  const [heads, rows] = a.out.shape;
  if (a.out.shape.length !== 3 || `${a.lse.shape}` !== `${[heads, rows]}` || shapes[0] !== shapes[1])
    throw new RangeError(`merge takes outputs [heads, rows, dim] with log-sum-exps [heads, rows], both alike, got ${shapes.join(' and ')}`);
  if (a.out.dtype !== b.out.dtype) throw new TypeError(`merge takes outputs of one type, got ${a.out.dtype} and ${b.out.dtype}; cast one`);
}

/** `Backend.merge` on a CPU device. */
export function merge(device: CpuDevice, a: Attended, b: Attended): Attended {
  checkMerge(a, b);
  const [out, lse] = device.enqueue([{ shape: a.out.shape }, { shape: a.lse.shape }], async () => {
    const [outs, sums] = [
      [await floatsOf(a.out), await floatsOf(b.out)],
      [await floatsOf(a.lse), await floatsOf(b.lse)],
    ];
    return mergeNumbers(outs, sums);
  });
  return { out, lse };
}

function mergeNumbers([a, b]: readonly Float32Array[], [lseA, lseB]: readonly Float32Array[]): [Float32Array, Float32Array] {
  const dim = a.length / lseA.length;
  const [out, lse] = [new Float32Array(a.length), new Float32Array(lseA.length)];
  for (let row = 0; row < lse.length; row++) {
    const share = shareOf(lseA[row], lseB[row]);
    lse[row] = mergedLse(lseA[row], lseB[row]);
    for (let at = row * dim; at < (row + 1) * dim; at++) out[at] = b[at] + share * (a[at] - b[at]);
  }
  return [out, lse];
}

/** The share of a in the sum of exp(a) and exp(b). */
const shareOf = (a: number, b: number): number => 1 / (1 + Math.exp(b - a));

/** ln(exp(a) + exp(b)). */
const mergedLse = (a: number, b: number): number => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
