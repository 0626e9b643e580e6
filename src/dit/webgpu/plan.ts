// From a Program to steps: each node becomes a view of a slot, and where numbers must be made, a step that makes them.
import type { GpuDevice, GpuTensor } from '../../backend/webgpu/device.ts';
import { UnsupportedError } from '../../errors.ts';
import { orderTable, permute, slotTable } from '../../sparse3d/gpu-memory.ts';
import type { DType } from '../../tensor.ts';
import type { Node, Operation, Program } from '../graph.ts';
import { type Variability, variabilityOf } from '../onnx/segments.ts';
import { softmaxAttention } from './attention.ts';
import { conv, normalize } from './conv.ts';
import { type FusedConv, type FusedLinear, type FusedNorm, fusion } from './fuse.ts';
import { linear } from './linear.ts';
import { map, mapLaunch, packed } from './map.ts';
import { norm, rope } from './norm.ts';
import { type Builder, builder, changesWith, type ProgramKernels, type Slot, type Step, type Storage } from './steps.ts';
import { broadcastTo, isPacked, reshaped, sliced, stretched, transposed, type View } from './view.ts';

/** A Program as steps over slots. */
export interface Plan {
  readonly slots: readonly Slot[];
  readonly steps: readonly Step[];
  /** Inputs, weights and constants that some step reads, with their slots. */
  readonly sources: readonly { readonly node: Node; readonly slot: number }[];
  /** Slots of the outputs, each made by a step at every run, by name. */
  readonly outputs: Readonly<Record<string, number>>;
}

// As in the reference, these parts of a model stay f32 when the rest is f16; vectors do too.
const PRECISE = /time_embedder|time_proj|scale_shift_table|norm/;

/** How a weight is stored. */
export const weightType = (name: string, shape: readonly number[], dtype: Storage): Storage =>
  dtype === 'f16' && shape.length > 1 && !PRECISE.test(name) ? 'f16' : 'f32';

/** @throws UnsupportedError for an operation that has no kernel, by name. */
export function planProgram(program: Program, kernels: ProgramKernels, dtype: Storage): Plan {
  const own = builder(kernels, dtype);
  const when: Variability[] = [];
  for (const node of program.nodes) when.push(variabilityOf(node, when));
  const { chains, absorbed, carried } = fusion(program, when);
  const views = new Map<number, View>();
  const sources: { node: Node; slot: number }[] = [];
  const viewOf = (id: number): View => views.get(id)!;
  for (const node of program.nodes) {
    if (absorbed.has(node.id)) continue;
    const { operation } = node;
    const chain = chains.get(node.id);
    let view: View;
    if (operation.op === 'input' || operation.op === 'weight' || operation.op === 'constant') {
      view = own.slot(node.shape, operation.op === 'weight' ? weightType(operation.name, node.shape, dtype) : node.dtype, when[node.id]);
      sources.push({ node, slot: view.slot });
    } else if (chain?.kind === 'linear') view = linearOf(own, chain, viewOf, carried.has(node.id));
    else if (chain) view = chain.kind === 'conv' ? convOf(own, chain, node.shape, viewOf) : normOf(own, chain, viewOf);
    else view = convert(own, node, node.inputs.map(viewOf));
    views.set(node.id, view);
  }
  const outputs = Object.fromEntries(Object.entries(program.outputs).map(([name, id]) => [name, outputOf(own, viewOf(id))]));
  const read = new Set(own.steps.flatMap(({ reads }) => reads));
  return {
    slots: own.slots,
    steps: own.steps,
    sources: sources.filter(({ slot, node }) => read.has(slot) || node.operation.op === 'input'),
    outputs,
  };
}

type ViewOf = (id: number) => View;

function linearOf(own: Builder, { first, activation, gate, residual }: FusedLinear, viewOf: ViewOf, carried: boolean): View {
  const [x, weight, bias] = first.inputs.map(viewOf);
  const optional = {
    ...(bias && { bias }),
    ...(activation && { activation }),
    ...(gate !== undefined && { gate: viewOf(gate) }),
    ...(residual !== undefined && { residual: viewOf(residual) }),
  };
  return linear(own, { x, weight, ...optional }, carried ? 'f32' : weight.dtype);
}

function convOf(own: Builder, { first, residual, relu }: FusedConv, shape: readonly number[], viewOf: ViewOf): View {
  const { operation } = first;
  if (operation.op !== 'conv') throw new TypeError(`a chain of a convolution starts with ${operation.op}`);
  const [x, weight, bias] = first.inputs.map(viewOf);
  const { strides, pads } = operation;
  return conv(
    own,
    { x, weight, strides, pads, relu, ...(bias && { bias }), ...(residual !== undefined && { residual: viewOf(residual) }) },
    shape,
  );
}

function normOf(own: Builder, { first, modulation, heads, rope }: FusedNorm, viewOf: ViewOf): View {
  const { operation } = first;
  if (operation.op !== 'norm') throw new TypeError(`a chain of a norm starts with ${operation.op}`);
  const [x, weight, bias] = first.inputs.map(viewOf);
  return norm(own, {
    ...{ kind: operation.kind, epsilon: operation.epsilon, x, weight, bias },
    ...(modulation && { modulation: { scale: viewOf(modulation.scale), shift: viewOf(modulation.shift) } }),
    ...(heads !== undefined && { heads }),
    ...(rope && { rope: { cos: viewOf(rope.cos), sin: viewOf(rope.sin) } }),
  });
}

/** A result of a run lies in a slot of its own: packed, f32, with the output's shape. */
function outputOf(own: Builder, view: View): number {
  const slot = map(own, 'copy', [view], view.shape, 'f32').slot;
  own.slots[slot] = { ...own.slots[slot], when: 'dynamic' };
  return slot;
}

type Computed = Exclude<Operation['op'], 'input' | 'weight' | 'constant' | 'linear' | 'conv'>;
type Convert<K extends Computed> = (own: Builder, inputs: readonly View[], operation: Extract<Operation, { op: K }>, node: Node) => View;

/** f32 where an input of the result's size is, or none is f16. */
function mixedType(views: readonly View[], shape: readonly number[]): DType {
  const whole = views.filter((view) => `${view.shape}` === `${shape}`);
  return whole.some(({ dtype }) => dtype === 'f32') || views.every(({ dtype }) => dtype === 'f32') ? 'f32' : 'f16';
}

const binary =
  (op: 'add' | 'sub' | 'mul') =>
  (own: Builder, inputs: readonly View[], _operation: Operation, { shape }: Node): View =>
    map(own, op, inputs, shape, mixedType(inputs, shape));

const reshape = (own: Builder, view: View, shape: readonly number[]): View => reshaped(view, shape) ?? reshaped(packed(own, view), shape)!;

const CONVERT: { readonly [K in Computed]: Convert<K> } = {
  norm: (own, [x, weight, bias], { kind, epsilon }) => norm(own, { kind, epsilon, x, weight, bias }),
  normalize: (own, [x], { axis }) => normalize(own, x, axis),
  activate: (own, [x], { kind }) => map(own, kind, [x], x.shape, x.dtype),
  add: binary('add'),
  sub: binary('sub'),
  mul: binary('mul'),
  clip: (own, [x], { min, max }) => map(own, 'clip', [x], x.shape, x.dtype, [min, max]),
  reshape: (own, [x], _operation, { shape }) => reshape(own, x, shape),
  transpose: (_own, [x], { order }) => transposed(x, order),
  slice: (_own, [x], { axis, start, end }) => sliced(x, axis, start, end),
  concat: (own, parts, { axis }, { shape }) => concat(own, parts, axis, shape),
  repeat: (own, [x], { axis, times }, { shape }) =>
    stretch(
      own,
      x,
      x.shape.map((_, at) => (at === axis ? times : 1)),
      shape,
    ),
  upsample: (own, [x], { scales }, { shape }) => stretch(own, x, scales, shape),
  gather: (own, [x], { layout }, { shape }) => permuted(own, x, shape, (device) => orderTable(device, layout)),
  scatter: (own, [x], { layout }, { shape }) => permuted(own, x, shape, (device) => slotTable(device, layout)),
  rope: (own, [x, cos, sin]) => rope(own, x, cos, sin),
  softmaxAttention: (own, [q, k, v, bias], { scale }) => softmaxAttention(own, { q, k, v, scale, bias }),
  attention: (own, inputs, { layer, grid }, { shape }) => seam(own, inputs, { layer, grid }, shape),
  cut: (_own, [x]) => x,
};

/** @throws UnsupportedError for an operation that is not among the above. */
function convert(own: Builder, node: Node, inputs: readonly View[]): View {
  const { op } = node.operation;
  const make = CONVERT[op as Computed] as Convert<Computed> | undefined;
  if (!make) throw new UnsupportedError(`operation ${op} has no WebGPU kernel; run this model on the CPU`);
  return make(own, inputs, node.operation as Extract<Operation, { op: Computed }>, node);
}

function stretch(own: Builder, x: View, times: readonly number[], shape: readonly number[]): View {
  return reshape(own, stretched(x, times), shape);
}

function concat(own: Builder, parts: readonly View[], axis: number, shape: readonly number[]): View {
  const dtype = parts.every((part) => part.dtype === 'f16') ? 'f16' : 'f32';
  const whole = own.slot(shape, dtype, changesWith(parts.map(({ slot }) => own.slots[slot])));
  let at = 0;
  const launches = parts.map((part) => {
    const start = at;
    at += part.shape[axis];
    return mapLaunch(own, 'copy', [part], sliced(whole, axis, start, at));
  });
  own.launch(whole.slot, launches);
  return whole;
}

/** Rows of each batch item in the order of a table, which the device keeps with the layout. */
function permuted(own: Builder, view: View, shape: readonly number[], table: (device: GpuDevice) => GpuTensor): View {
  const x = packed(own, view);
  const y = own.slot(shape, x.dtype, own.slots[x.slot].when);
  own.step([x.slot], y.slot, (tensors, device) => permute(device, own.kernels.sparse3d, tensors[x.slot], table(device), tensors[y.slot]));
  return y;
}

/** An attention call left to the caller: its handles have the shapes of the call. */
function seam(own: Builder, inputs: readonly View[], site: NonNullable<Step['seam']>, shape: readonly number[]): View {
  const made = new Set(own.steps.map(({ writes }) => writes));
  const handles = inputs.map((view) => {
    const dtype = inputs[0].dtype;
    const slot = own.slots[view.slot];
    const ready = isPacked(view) && view.dtype === dtype && `${slot.shape}` === `${view.shape}`;
    if (ready) return view;
    const rest = isPacked(view) && view.dtype === dtype && made.has(view.slot) && slot.shape.length > view.shape.length;
    if (!rest) return map(own, 'copy', [broadcastTo(view, view.shape)], view.shape, dtype);
    own.slots[view.slot] = { ...slot, shape: view.shape };
    return view;
  });
  const y = own.slot(shape, inputs[0].dtype, 'dynamic');
  own.steps.push({ reads: handles.map(({ slot }) => slot), writes: y.slot, seam: site, run: () => undefined });
  return y;
}
