// How much memory a chain of stages takes, from the shapes of its Programs.
import type { Node, Program } from '../dit/graph.ts';
import { elements } from '../tensor.ts';
import type { Stage } from './stream.ts';

const bytesOf = ({ shape }: Node): number => 4 * elements(shape);
const isCache = ({ operation }: Node): boolean => operation.op === 'input' && operation.name.startsWith('cache.');

/** Bytes while the stages run on latents of this shape: the caches of all of them, and what the largest one has in hand. */
export function workingBytes(stages: readonly Stage[], latents: readonly number[]): number {
  let shape = latents;
  let caches = 0;
  let largest = 0;
  for (const { most, trace } of stages) {
    const program = trace([Math.min(most, shape[0]), ...shape.slice(1)], false);
    caches += program.nodes.filter(isCache).reduce((sum, node) => sum + bytesOf(node), 0);
    largest = Math.max(largest, liveBytes(program));
    shape = program.nodes[program.outputs.frames].shape;
  }
  return caches + largest;
}

/** Most bytes alive at once when nodes run in order and a value is dropped after its last use. Weights and caches that came in are not counted. */
export function liveBytes({ nodes, outputs }: Program): number {
  const lastUse = nodes.map(() => 0);
  for (const { id, inputs } of nodes) for (const input of inputs) lastUse[input] = id;
  for (const id of Object.values(outputs)) lastUse[id] = nodes.length;
  const isFixed = nodes.map(() => false);
  let alive = 0;
  let most = 0;
  for (const node of nodes) {
    const { op } = node.operation;
    isFixed[node.id] = op === 'weight' || op === 'constant' || (op !== 'input' && node.inputs.every((id) => isFixed[id]));
    if (!isFixed[node.id] && !isCache(node)) alive += bytesOf(node);
    most = Math.max(most, alive);
    for (const id of new Set(node.inputs)) if (lastUse[id] === node.id && !isFixed[id] && !isCache(nodes[id])) alive -= bytesOf(nodes[id]);
  }
  return most;
}
