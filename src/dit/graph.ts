// A model is written once over this small vocabulary of operations. Tracing it for a shape gives a Program: a list of nodes in execution
// order, with the attention calls as seams where a method may take over. Executors (onnx/, webgpu/) turn Programs into work.
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { type DType, elements } from '../tensor.ts';

/** A value inside a traced model. */
export interface Value {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

export type Activation = 'silu' | 'gelu_tanh' | 'relu' | 'tanh';

/** What a node does; `inputs` of the node are described in order. Shapes are in the methods of `Tracer`. */
export type Operation =
  | { readonly op: 'input'; readonly name: string; readonly constant: boolean }
  | { readonly op: 'weight'; readonly name: string }
  | { readonly op: 'constant'; readonly data: Float32Array }
  | { readonly op: 'linear' } // x, weight [out, in], bias?
  | { readonly op: 'norm'; readonly kind: 'layer' | 'rms'; readonly epsilon: number; readonly affine: boolean } // x, weight?, bias?
  | { readonly op: 'normalize'; readonly axis: number } // x
  | { readonly op: 'activate'; readonly kind: Activation } // x
  | { readonly op: 'add' | 'sub' | 'mul' } // a, b (broadcast)
  | { readonly op: 'clip'; readonly min: number; readonly max: number } // x
  | { readonly op: 'reshape' } // x
  | { readonly op: 'transpose'; readonly order: readonly number[] } // x
  | { readonly op: 'slice'; readonly axis: number; readonly start: number; readonly end: number } // x
  | { readonly op: 'concat'; readonly axis: number } // x...
  | { readonly op: 'repeat'; readonly axis: number; readonly times: number } // x
  | { readonly op: 'conv'; readonly strides: readonly number[]; readonly pads: readonly number[] } // x, weight, bias?
  | { readonly op: 'upsample'; readonly scales: readonly number[] } // x
  | { readonly op: 'gather'; readonly layout: Layout } // x
  | { readonly op: 'scatter'; readonly layout: Layout } // x
  | { readonly op: 'rope' } // x, cos, sin
  | { readonly op: 'softmaxAttention'; readonly scale: number } // q, k, v, bias?
  | { readonly op: 'attention'; readonly layer: number; readonly grid: Grid } // q, k, v
  | { readonly op: 'cut' }; // x

/** One step of a Program; its output has the node's own id. */
export interface Node {
  readonly id: number;
  readonly operation: Operation;
  readonly inputs: readonly number[];
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** A model traced for one shape. Nodes are in execution order; `outputs` maps names to node ids. */
export interface Program {
  readonly nodes: readonly Node[];
  readonly outputs: Readonly<Record<string, number>>;
  /** Attention calls (seams). */
  readonly layers: number;
}

/** Runs `build` once and records what it does. */
export function trace(build: (tracer: Tracer) => Record<string, Value>): Program {
  const tracer = new Tracer();
  const outputs = build(tracer);
  return {
    nodes: tracer.nodes,
    outputs: Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, value.id])),
    layers: tracer.nodes.filter((node) => node.operation.op === 'attention').length,
  };
}

/** Records operations. Shapes in the doc lines: `...` are leading axes; broadcasting is NumPy's. */
export class Tracer {
  readonly nodes: Node[] = [];
  private readonly weights = new Map<string, Value>();
  private layers = 0;

  private push(operation: Operation, inputs: readonly Value[], shape: readonly number[], dtype: DType = 'f32'): Value {
    const node: Node = { id: this.nodes.length, operation, inputs: inputs.map((value) => value.id), shape, dtype };
    this.nodes.push(node);
    return node;
  }

  /** Input of the program. `constant: true` promises that the same handle is passed over many runs (prompt embeddings): what depends on it alone is computed once. */
  input(name: string, shape: readonly number[], options: { dtype?: DType; constant?: boolean } = {}): Value {
    return this.push({ op: 'input', name, constant: options.constant ?? false }, [], shape, options.dtype);
  }
  /** Weight of the checkpoint, by its stored name and shape. */
  weight(name: string, shape: readonly number[]): Value {
    const known = this.weights.get(name);
    if (known) return known;
    const value = this.push({ op: 'weight', name }, [], shape);
    this.weights.set(name, value);
    return value;
  }
  /** Numbers known at trace time: tables, scalars (shape []). */
  constant(data: Float32Array | number, shape: readonly number[] = []): Value {
    return this.push({ op: 'constant', data: typeof data === 'number' ? Float32Array.of(data) : data }, [], shape);
  }
  /** x [..., in] times weight [out, in] transposed, plus bias [out]. */
  linear(x: Value, weight: Value, bias?: Value): Value {
    expect(last(x) === weight.shape[1], `linear: x [${x.shape}] does not fit weight [${weight.shape}]`);
    return this.push({ op: 'linear' }, bias ? [x, weight, bias] : [x, weight], [...x.shape.slice(0, -1), weight.shape[0]]);
  }
  /** Layer or RMS norm over the last axis, times weight, plus bias (layer only). */
  norm(x: Value, kind: 'layer' | 'rms', epsilon: number, weight?: Value, bias?: Value): Value {
    const inputs = [x, ...(weight ? [weight] : []), ...(bias ? [bias] : [])];
    return this.push({ op: 'norm', kind, epsilon, affine: weight !== undefined }, inputs, x.shape);
  }
  /** x divided by its Euclidean norm along one axis. */
  normalize(x: Value, axis: number): Value {
    return this.push({ op: 'normalize', axis }, [x], x.shape);
  }
  activate(x: Value, kind: Activation): Value {
    return this.push({ op: 'activate', kind }, [x], x.shape);
  }
  add(a: Value, b: Value): Value {
    return this.push({ op: 'add' }, [a, b], broadcast(a.shape, b.shape));
  }
  sub(a: Value, b: Value): Value {
    return this.push({ op: 'sub' }, [a, b], broadcast(a.shape, b.shape));
  }
  mul(a: Value, b: Value): Value {
    return this.push({ op: 'mul' }, [a, b], broadcast(a.shape, b.shape));
  }
  clip(x: Value, min: number, max: number): Value {
    return this.push({ op: 'clip', min, max }, [x], x.shape);
  }
  reshape(x: Value, shape: readonly number[]): Value {
    expect(elements(shape) === elements(x.shape), `reshape: [${x.shape}] does not fit [${shape}]`);
    return this.push({ op: 'reshape' }, [x], shape);
  }
  /** Axes in the order given: out.shape[i] = x.shape[order[i]]. */
  transpose(x: Value, order: readonly number[]): Value {
    return this.push(
      { op: 'transpose', order },
      [x],
      order.map((axis) => x.shape[axis]),
    );
  }
  /** x[start..end) along one axis. */
  slice(x: Value, axis: number, start: number, end: number): Value {
    expect(start >= 0 && end <= x.shape[axis] && start < end, `slice: ${start}..${end} of axis ${axis} of [${x.shape}]`);
    return this.push({ op: 'slice', axis, start, end }, [x], withSize(x.shape, axis, end - start));
  }
  concat(parts: readonly Value[], axis: number): Value {
    const size = parts.reduce((sum, part) => sum + part.shape[axis], 0);
    return this.push({ op: 'concat', axis }, parts, withSize(parts[0].shape, axis, size));
  }
  /** Each element `times` times in a row along one axis (repeat_interleave). */
  repeat(x: Value, axis: number, times: number): Value {
    return this.push({ op: 'repeat', axis, times }, [x], withSize(x.shape, axis, x.shape[axis] * times));
  }
  /** 2D or 3D convolution of x [batch, in, (t,) h, w] by weight [out, in, (kt,) kh, kw]; pads = begins then ends, one per spatial axis, of zeros. */
  conv(x: Value, weight: Value, bias: Value | undefined, options: { strides?: readonly number[]; pads?: readonly number[] } = {}): Value {
    const axes = weight.shape.length - 2;
    const strides = options.strides ?? new Array(axes).fill(1);
    const pads = options.pads ?? new Array(2 * axes).fill(0);
    expect(x.shape[1] === weight.shape[1], `conv: x [${x.shape}] does not fit weight [${weight.shape}]`);
    const sizes = strides.map((stride, i) => Math.floor((x.shape[i + 2] + pads[i] + pads[i + axes] - weight.shape[i + 2]) / stride) + 1);
    return this.push({ op: 'conv', strides, pads }, bias ? [x, weight, bias] : [x, weight], [x.shape[0], weight.shape[0], ...sizes]);
  }
  /** Nearest-neighbour enlargement by whole factors, one per axis. */
  upsample(x: Value, scales: readonly number[]): Value {
    return this.push(
      { op: 'upsample', scales },
      [x],
      x.shape.map((size, i) => size * scales[i]),
    );
  }
  /** Tokens in the order of a layout: x [batch, tokens, dim] -> [batch, slots, dim], zero where a slot holds no token. */
  gather(x: Value, layout: Layout): Value {
    const [batch, tokens, dim] = x.shape;
    expect(tokens === tokensOf(layout.grid), `gather: x [${x.shape}] does not fit ${tokensOf(layout.grid)} tokens`);
    return this.push({ op: 'gather', layout }, [x], [batch, layout.order.length, dim]);
  }
  /** The inverse of `gather`. */
  scatter(x: Value, layout: Layout): Value {
    const [batch, slots, dim] = x.shape;
    expect(slots === layout.order.length, `scatter: x [${x.shape}] does not fit ${layout.order.length} slots`);
    return this.push({ op: 'scatter', layout }, [x], [batch, tokensOf(layout.grid), dim]);
  }
  /** Rotary embedding of interleaved pairs: x [batch, heads, tokens, dim], cos and sin [tokens, dim / 2]. */
  rope(x: Value, cos: Value, sin: Value): Value {
    return this.push({ op: 'rope' }, [x, cos, sin], x.shape);
  }
  /** Plain softmax attention inside a dense segment (cross-attention, text encoders): q [batch, heads, tokens, dim], k and v [batch, heads, keys, dim], bias broadcast to the scores. */
  softmaxAttention(q: Value, k: Value, v: Value, scale: number, bias?: Value): Value {
    return this.push({ op: 'softmaxAttention', scale }, bias ? [q, k, v, bias] : [q, k, v], [...q.shape.slice(0, -1), last(v)]);
  }
  /** The seam: self-attention of q, k, v [batch * heads, rows, dim] of the tokens of a grid, left to whoever runs the Program. Layers count from 0 in the order of the calls. */
  attention(q: Value, k: Value, v: Value, grid: Grid): Value {
    return this.push({ op: 'attention', layer: this.layers++, grid }, [q, k, v], q.shape);
  }
  /** A segment ends here: what lies before can be run and released before the rest is loaded. */
  cut(x: Value): Value {
    return this.push({ op: 'cut' }, [x], x.shape, x.dtype);
  }
}

function last(value: Value): number {
  return value.shape[value.shape.length - 1];
}

function withSize(shape: readonly number[], axis: number, size: number): readonly number[] {
  return shape.map((old, i) => (i === axis ? size : old));
}

function broadcast(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    expect(x === y || x === 1 || y === 1, `shapes [${a}] and [${b}] do not broadcast`);
    return Math.max(x, y);
  });
}

function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RangeError(message);
}
