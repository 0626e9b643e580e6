// Cuts a graph at its seams: what can be computed before a seam, between two, and after the last. Values that never change are computed wherever
// they are needed, so that weights belong to the segment that uses them.
import { type Graph, readsOf } from './graph.ts';
import type { NodeProto } from './schema.ts';
import { SEAM } from './seams.ts';

/** A part of a graph that runs as one session. */
export interface Segment {
  readonly nodes: readonly NodeProto[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** `seams` follow the segment; `spent` are values that nothing reads any more afterwards. */
export interface Step {
  readonly segment: Segment;
  readonly seams: readonly NodeProto[];
  readonly spent: readonly string[];
}

export function segments(graph: Graph): readonly Step[] {
  const alive = aliveNodes(graph);
  const moving = alive.filter((node) => !isFixed(graph, node));
  const places = placesOf(graph, moving);
  sink(graph, moving, places);
  const count = 1 + Math.max(0, ...places.values());
  const parts = Array.from({ length: count }, (_, place) => collect(graph, alive, places, place));
  const seams = parts.map((_, place) => moving.filter((node) => node.opType === SEAM && places.get(node) === place + 1));
  const lastRead = new Map<string, number>();
  for (const [place, { inputs, outputs }] of parts.entries()) {
    for (const value of [...inputs, ...outputs]) lastRead.set(value, place);
    for (const node of seams[place]) for (const value of [...node.input, ...node.output]) lastRead.set(value, place);
  }
  for (const value of graph.outputs) lastRead.delete(value);
  return parts.map((segment, place) => ({
    segment,
    seams: seams[place],
    spent: [...lastRead].filter(([, last]) => last === place).map(([value]) => value),
  }));
}

const isFixed = (graph: Graph, node: NodeProto): boolean => node.output.every((value) => !value || graph.isFixed(value));

/** Nodes that results depend on, in their order. */
function aliveNodes(graph: Graph): readonly NodeProto[] {
  const wanted = new Set(graph.outputs);
  const alive = [...graph.nodes].reverse().filter((node) => {
    const isWanted = node.output.some((value) => wanted.has(value));
    if (isWanted) for (const value of readsOf(node)) wanted.add(value);
    return isWanted;
  });
  return alive.reverse();
}

/** In which segment a node computes: behind the last seam it depends on. A seam has the place of what reads it. */
function placesOf(graph: Graph, moving: readonly NodeProto[]): Map<NodeProto, number> {
  const places = new Map<NodeProto, number>();
  for (const node of moving) {
    const before = readsOf(node).map((value) => places.get(graph.producer(value)!) ?? 0);
    places.set(node, Math.max(0, ...before) + (node.opType === SEAM ? 1 : 0));
  }
  return places;
}

const CHEAP = new Set([
  'Add',
  'Mul',
  'Sub',
  'Div',
  'Slice',
  'Split',
  'Gather',
  'Cast',
  'Reshape',
  'Unsqueeze',
  'Squeeze',
  'Identity',
  'Transpose',
  'Shape',
  'Concat',
]);

/**
 * Moves cheap nodes of the first segment to the one that first reads them. Modulation tables of all layers would otherwise be made at once and
 * carried along; moved, only the time's embedding crosses the seams.
 */
function sink(graph: Graph, moving: readonly NodeProto[], places: Map<NodeProto, number>): void {
  const outputs = new Set(graph.outputs);
  for (const node of [...moving].reverse()) {
    if (places.get(node) !== 0 || !CHEAP.has(node.opType) || node.output.some((value) => outputs.has(value))) continue;
    const readers = node.output.flatMap((value) => graph.consumers(value)).filter((reader) => places.has(reader));
    const first = Math.min(...readers.map((reader) => places.get(reader)! - (reader.opType === SEAM ? 1 : 0)));
    if (Number.isFinite(first)) places.set(node, first);
  }
}

/** The nodes of one place, with the fixed ones that they need, what they take from elsewhere and what others take from them. */
function collect(graph: Graph, alive: readonly NodeProto[], places: ReadonlyMap<NodeProto, number>, place: number): Segment {
  const own = alive.filter((node) => node.opType !== SEAM && places.get(node) === place);
  const made = new Set(own.flatMap((node) => node.output));
  const reads = new Set(own.flatMap(readsOf));
  const fixedOutputs = place === 0 ? graph.outputs.filter((value) => graph.isFixed(value)) : [];
  const needed = new Set([...reads, ...fixedOutputs]);
  const fixed = [...alive].reverse().filter((node) => {
    if (!isFixed(graph, node) || !node.output.some((value) => needed.has(value))) return false;
    for (const value of readsOf(node)) needed.add(value);
    return true;
  });
  const isElsewhere = (node: NodeProto): boolean => places.has(node) && (node.opType === SEAM || places.get(node) !== place);
  const outputs = [...made].filter((value) => value && (graph.outputs.includes(value) || graph.consumers(value).some(isElsewhere)));
  return {
    nodes: [...fixed.reverse(), ...own],
    inputs: [...reads].filter((value) => !made.has(value) && !graph.isFixed(value)),
    outputs: [...outputs, ...fixedOutputs],
  };
}
