// Cuts a Program at its seams: runs of dense operations between two attention calls become segments, each one ONNX graph.
import type { Node, Program } from '../graph.ts';

/** A run of dense nodes. `inputs` are values made elsewhere (program inputs, attention results, earlier segments), `outputs` are wanted elsewhere. */
export interface Segment {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Node[];
  readonly outputs: readonly Node[];
}

/** `prelude` depends on constant inputs alone (prompt embeddings) and is computed once for them; `steps[i]` is followed by the attention calls `seams[i]`. */
export interface Segments {
  readonly prelude?: Segment;
  readonly steps: readonly { readonly segment: Segment; readonly seams: readonly Node[] }[];
  /** Follows `cut` nodes back to the value they pass on. */
  resolve(id: number): Node;
}

/** How late a node's inputs are known: never change; change with the prompt; change at every run. */
export type Variability = 'fixed' | 'constant' | 'dynamic';

export function segment(program: Program): Segments {
  const { nodes } = program;
  const resolve = (id: number): Node => (nodes[id].operation.op === 'cut' ? resolve(nodes[id].inputs[0]) : nodes[id]);
  const variability = nodes.map(() => 'fixed' as Variability);
  const place = nodes.map(() => 0);
  for (const node of nodes) {
    variability[node.id] = variabilityOf(node, variability);
    const after = Math.max(0, ...node.inputs.map((id) => place[id]));
    place[node.id] = after + (node.operation.op === 'attention' || node.operation.op === 'cut' ? 1 : 0);
  }
  sink(nodes, place, variability);
  const isComputed = (node: Node): boolean => !['input', 'weight', 'constant', 'attention', 'cut'].includes(node.operation.op);
  const home = (node: Node): string => {
    if (variability[node.id] === 'fixed') return 'fixed';
    if (!isComputed(node)) return 'outside';
    return variability[node.id] === 'constant' ? 'prelude' : String(place[node.id]);
  };
  const wanted = new Set(Object.values(program.outputs).map((id) => resolve(id).id));
  for (const node of nodes) {
    for (const id of node.inputs) {
      const source = resolve(id);
      const crosses = node.operation.op === 'attention' || (node.operation.op !== 'cut' && home(source) !== home(node));
      if (crosses && home(source) !== 'fixed') wanted.add(source.id);
    }
  }
  const collect = (name: string): Segment => {
    const own = nodes.filter((node) => home(node) === name);
    const inside = new Set(own.map((node) => node.id));
    const inputs = new Map<number, Node>();
    for (const node of own) {
      for (const id of node.inputs) {
        const source = resolve(id);
        if (!inside.has(source.id) && home(source) !== 'fixed') inputs.set(source.id, source);
      }
    }
    return { nodes: own, inputs: [...inputs.values()], outputs: own.filter((node) => wanted.has(node.id)) };
  };
  const prelude = collect('prelude');
  const count =
    Math.max(
      ...nodes.filter(isComputed).map((node) => place[node.id]),
      ...nodes.map((node) => (node.operation.op === 'attention' ? place[node.id] : 0)),
    ) + 1;
  const steps = Array.from({ length: count }, (_, index) => ({
    segment: collect(String(index)),
    seams: nodes.filter((node) => node.operation.op === 'attention' && place[node.id] === index + 1),
  }));
  return { ...(prelude.nodes.length > 0 && { prelude }), steps, resolve };
}

/** How late a node is known, from what is known of the nodes before it. */
export function variabilityOf(node: Node, known: readonly Variability[]): Variability {
  const { operation } = node;
  if (operation.op === 'input') return operation.constant ? 'constant' : 'dynamic';
  if (operation.op === 'attention' || operation.op === 'cut') return 'dynamic';
  if (node.inputs.some((id) => known[id] === 'dynamic')) return 'dynamic';
  return node.inputs.some((id) => known[id] === 'constant') ? 'constant' : 'fixed';
}

/**
 * Moves nodes of the first segment to the segment of their first use. Modulation tables of all layers would otherwise be made at once and
 * carried along; moved, only the small time embedding crosses the seams.
 */
function sink(nodes: readonly Node[], place: number[], variability: readonly Variability[]): void {
  const firstUse = nodes.map(() => Number.POSITIVE_INFINITY);
  for (const node of [...nodes].reverse()) {
    const cheap = ['add', 'mul', 'sub', 'slice', 'reshape'].includes(node.operation.op);
    if (cheap && place[node.id] === 0 && variability[node.id] === 'dynamic' && Number.isFinite(firstUse[node.id]))
      place[node.id] = firstUse[node.id];
    // An attention call or cut reads its inputs in the segment before its own place.
    const reads = node.operation.op === 'attention' || node.operation.op === 'cut' ? place[node.id] - 1 : place[node.id];
    for (const id of node.inputs) firstUse[id] = Math.min(firstUse[id], reads);
  }
}
