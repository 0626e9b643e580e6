// What is measured of attention calls beside computing them, where a method asks for it: the time of a search and the recall of a plan.
import type { Backend } from './backend/backend.ts';
import type { Call } from './method.ts';
import type { Plan } from './sparse3d/plan.ts';
import type { Tensor } from './tensor.ts';

/** When these tensors are computed, in milliseconds, on a device that works in order. */
export function timeOf(ops: Backend, ...tensors: readonly (Tensor | undefined)[]): Promise<number> {
  const time = Promise.all(tensors.map((tensor) => tensor && ops.wait(tensor))).then(() => performance.now());
  // Whoever waits for the result of the call learns of a failure.
  time.catch(() => undefined);
  return time;
}

/** The time between two such moments. */
export async function between(from: Promise<number>, to: Promise<number>): Promise<number> {
  const [start, end] = await Promise.all([from, to]);
  return end - start;
}

/**
 * The share of the exact softmax mass that lies in key blocks that a plan reads, however finely, over all heads and rows: 0..1. `lse` is that of
 * full attention, blocked.
 */
export async function massRead({ ops, q, k, layout }: Call, lse: Tensor, plan: Plan): Promise<number> {
  const shares = ops.scope(() => ops.keep(ops.recall(ops.blockMass(q, k, lse, layout), plan)));
  try {
    const ofHeads = (await ops.read(shares)) as Float32Array;
    return ofHeads.reduce((sum, share) => sum + share, 0) / ofHeads.length;
  } finally {
    ops.release(shares);
  }
}
