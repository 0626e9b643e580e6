// Which nodes of a Program are computed with another: what follows a linear layer, a convolution or a norm and nothing else reads before it.
import type { Activation, Node, Program } from '../graph.ts';
import type { Variability } from '../onnx/segments.ts';

/** A linear layer with what follows it: y = activation(linear) * gate + residual. Node ids, in the order of the work. */
export interface FusedLinear {
  readonly kind: 'linear';
  readonly first: Node;
  readonly activation?: Activation;
  readonly gate?: number;
  readonly residual?: number;
}

/** A norm with what follows it: y = norm * scale + shift, or the norm of [batch, tokens, width] cut in heads and, with tables, rotated. */
export interface FusedNorm {
  readonly kind: 'norm';
  readonly first: Node;
  readonly modulation?: { readonly scale: number; readonly shift: number };
  readonly heads?: number;
  readonly rope?: { readonly cos: number; readonly sin: number };
}

/** A convolution with what follows it: y = max(conv + residual, 0), or without one of these. */
export interface FusedConv {
  readonly kind: 'conv';
  readonly first: Node;
  readonly residual?: number;
  readonly relu: boolean;
}

type Fused = FusedLinear | FusedNorm | FusedConv;

export interface Fusion {
  /** What the last node of a chain computes. */
  readonly chains: ReadonlyMap<number, Fused>;
  /** Nodes computed as part of a later one. */
  readonly absorbed: ReadonlySet<number>;
  /**
   * Values that stay f32: those that later layers add to, a sum over the whole depth that half precision would round at every layer (in real
   * models some channels of it are a thousand times as large as what is added), and results of the Program.
   */
  readonly carried: ReadonlySet<number>;
}

/** A node that alone reads another, and its other input. */
interface Follower {
  readonly node: Node;
  readonly other: number;
}

/** Finds the chains of a Program; `when` tells how often each node changes, and a chain stays in one of these. */
export function fusion(program: Program, when: readonly Variability[]): Fusion {
  const readers = program.nodes.map(() => [] as Node[]);
  for (const node of program.nodes) for (const id of node.inputs) readers[id].push(node);
  const wanted = new Set(Object.values(program.outputs));
  const chains = new Map<number, Fused>();
  const absorbed = new Set<number>();
  const follower = (node: Node, op: string, shaped = true): Follower | undefined => {
    const [next, ...more] = readers[node.id];
    if (!next || more.length > 0 || wanted.has(node.id) || next.operation.op !== op) return undefined;
    if (chains.has(next.id) || absorbed.has(next.id) || when[next.id] !== when[node.id]) return undefined;
    if (shaped && `${next.shape}` !== `${node.shape}`) return undefined;
    return { node: next, other: next.inputs.find((id) => id !== node.id) ?? -1 };
  };
  for (const node of program.nodes) {
    const found = chainOf(node, follower, program);
    if (!found) continue;
    for (const id of found.nodes.slice(0, -1)) absorbed.add(id);
    chains.set(found.nodes.at(-1)!, found.fused);
  }
  const residuals = [...chains.values()].flatMap((chain) => (chain.kind === 'linear' ? (chain.residual ?? []) : []));
  const terms = program.nodes.flatMap(({ id, operation, inputs }) =>
    operation.op === 'add' && !chains.has(id) && !absorbed.has(id) ? inputs : [],
  );
  const carried = new Set([...residuals, ...terms, ...[...wanted].map((id) => sourceOf(program, id))]);
  return { chains, absorbed, carried };
}

/** The value that a view shows. */
function sourceOf(program: Program, id: number): number {
  const { operation, inputs } = program.nodes[id];
  return ['reshape', 'transpose', 'slice', 'cut', 'gather', 'scatter'].includes(operation.op) ? sourceOf(program, inputs[0]) : id;
}

type Followers = (node: Node, op: string, shaped?: boolean) => Follower | undefined;
interface Chain {
  readonly fused: Fused;
  readonly nodes: readonly number[];
}

function chainOf(node: Node, follower: Followers, program: Program): Chain | undefined {
  if (node.operation.op === 'linear') return linearChain(node, follower, program);
  return node.operation.op === 'conv' ? convChain(node, follower, program) : normChain(node, follower);
}

function convChain(first: Node, follower: Followers, { nodes }: Program): Chain {
  const added = follower(first, 'add');
  const residual = added && `${nodes[added.other]?.shape}` === `${first.shape}` ? added.other : undefined;
  const last = added && residual !== undefined ? added.node : first;
  const next = follower(last, 'activate')?.node;
  const relu = next?.operation.op === 'activate' && next.operation.kind === 'relu';
  const chain = [...new Set([first, last, ...(next && relu ? [next] : [])])];
  return { fused: { kind: 'conv', first, relu, ...(residual !== undefined && { residual }) }, nodes: chain.map(({ id }) => id) };
}

function linearChain(first: Node, follower: Followers, { nodes }: Program): Chain {
  const chain = [first];
  const last = (): Node => chain[chain.length - 1];
  const activated = follower(first, 'activate')?.node;
  if (activated) chain.push(activated);
  const gated = follower(last(), 'mul');
  const gate = gated && sameForTokens(nodes[gated.other].shape, first.shape) ? gated.other : undefined;
  if (gated && gate !== undefined) chain.push(gated.node);
  const added = follower(last(), 'add');
  const residual = added && `${nodes[added.other].shape}` === `${first.shape}` ? added.other : undefined;
  if (added && residual !== undefined) chain.push(added.node);
  const activation = activated?.operation.op === 'activate' ? { activation: activated.operation.kind } : {};
  const fused = {
    kind: 'linear' as const,
    first,
    ...activation,
    ...(gate !== undefined && { gate }),
    ...(residual !== undefined && { residual }),
  };
  return { fused, nodes: chain.map(({ id }) => id) };
}

/** Whether a gate is one vector for each batch item, or one for all. */
function sameForTokens(gate: readonly number[], shape: readonly number[]): boolean {
  const whole = [...new Array<number>(shape.length - gate.length).fill(1), ...gate];
  const middle = whole.slice(1, -1);
  return whole.at(-1) === shape.at(-1) && middle.every((size) => size === 1) && (shape.length > 1 || gate.length === 1);
}

function normChain(first: Node, follower: Followers): Chain | undefined {
  if (first.operation.op !== 'norm' || first.shape.length !== 3) return undefined;
  const scaled = follower(first, 'mul');
  const shifted = scaled && follower(scaled.node, 'add');
  if (!shifted || scaled.other < 0 || shifted.other < 0) return headChain(first, follower);
  return {
    fused: { kind: 'norm', first, modulation: { scale: scaled.other, shift: shifted.other } },
    nodes: [first.id, scaled.node.id, shifted.node.id],
  };
}

function headChain(first: Node, follower: Followers): Chain | undefined {
  const cut = follower(first, 'reshape', false)?.node;
  const turned = cut && follower(cut, 'transpose', false)?.node;
  if (turned?.operation.op !== 'transpose' || `${turned.operation.order}` !== '0,2,1,3') return undefined;
  const [batch, heads, tokens, dim] = turned.shape;
  if (batch !== first.shape[0] || tokens !== first.shape[1] || dim % 4 !== 0) return undefined;
  const rotated = follower(turned, 'rope')?.node;
  const nodes = [first.id, cut!.id, turned.id];
  if (rotated?.inputs[0] !== turned.id) return { fused: { kind: 'norm', first, heads }, nodes };
  const [, cos, sin] = rotated.inputs;
  return { fused: { kind: 'norm', first, heads, rope: { cos, sin } }, nodes: [...nodes, rotated.id] };
}
