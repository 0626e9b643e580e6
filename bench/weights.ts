// What a Program wants to read.
import type { Program } from '../src/dit/graph.ts';

/** Name -> shape of the weights that Programs read. */
export function weightsOf(...programs: Program[]): Map<string, readonly number[]> {
  const found = new Map<string, readonly number[]>();
  for (const { nodes } of programs)
    for (const { operation, shape } of nodes) if (operation.op === 'weight') found.set(operation.name, shape);
  return found;
}
