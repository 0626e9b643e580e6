// Numbers of the benches: seeded, so that two runs compute the same, and weights that need no file.
import type { Program } from '../dit/graph.ts';
import { memoryWeights, type TensorData, type Weights } from '../dit/weights.ts';
import { elements } from '../tensor.ts';

/** Uniform numbers in (0, 1), the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Name -> shape of the weights that Programs read. */
export function weightsOf(...programs: Program[]): Map<string, readonly number[]> {
  const found = new Map<string, readonly number[]>();
  for (const { nodes } of programs)
    for (const { operation, shape } of nodes) if (operation.op === 'weight') found.set(operation.name, shape);
  return found;
}

/** Random weights of a Program in f16. */
export const randomWeights = (program: Program): Weights => randomTensors(weightsOf(program));

/** Random tensors of these shapes in f16: one pool as large as the largest, which all of them share. */
export function randomTensors(found: ReadonlyMap<string, readonly number[]>): Weights {
  const uniform = seeded(1);
  // Halves of either sign between 1/64 and 1/32.
  const half = () => (uniform() < 0.5 ? 0 : 0x8000) | 0x2400 | (uniform() * 0x400);
  const pool = Uint16Array.from({ length: Math.max(...[...found.values()].map(elements)) }, half);
  const tensors = [...found].map(([name, shape]): [string, TensorData] => {
    const part = pool.subarray(0, elements(shape));
    return [name, { dtype: 'F16', shape, data: new Uint8Array(part.buffer, part.byteOffset, part.byteLength) }];
  });
  return memoryWeights(Object.fromEntries(tensors));
}
