// Norms and rotary embeddings.

import { unroll } from '../../backend/webgpu/unroll.ts';
import type { Header } from '../../backend/webgpu/wgsl.ts';
import { gridOf } from '../../sparse3d/gpu-memory.ts';
import { elements } from '../../tensor.ts';
import { map, packed } from './map.ts';
import { type Builder, changesWith, enableFor } from './steps.ts';
import { broadcastTo, stretched, type View } from './view.ts';

/** What a norm of a Program is given: over the last axis of x, times weight, plus bias, then times scale, plus shift. */
export interface NormInputs {
  readonly kind: 'layer' | 'rms';
  readonly epsilon: number;
  readonly x: View;
  readonly weight?: View;
  readonly bias?: View;
  /** Broadcast to x [batch, tokens, width]. */
  readonly modulation?: { readonly scale: View; readonly shift: View };
  /** x [batch, tokens, width] comes out cut in heads [batch, heads, tokens, dim], rotated by cos and sin [tokens, dim / 2]; dim in fours. */
  readonly heads?: number;
  readonly rope?: { readonly cos: View; readonly sin: View };
}

/** One norm, stored as activations are. */
export function norm(builder: Builder, { kind, epsilon, modulation, heads, rope, ...views }: NormInputs): View {
  const x = packed(builder, views.x);
  const width = x.shape[x.shape.length - 1];
  const [weight, bias] = [views.weight, views.bias].map((view) => view && packed(builder, view));
  const [scale, shift] = modulation ? [modulation.scale, modulation.shift].map((view) => rowsOf(builder, view, x.shape)) : [];
  const [cos, sin] = rope ? [rope.cos, rope.sin].map((view) => inPairs(builder, view)) : [];
  const lanes = width % 4 === 0 && [scale, shift].every((view) => !view || inFours(view)) ? 4 : 1;
  const size = {
    rows: elements(x.shape) / width,
    cells: width / lanes,
    width,
    epsilon,
    tokens: x.shape.at(-2) ?? 1,
    lanes,
    heads: heads ?? 1,
  };
  const parts = [x, weight, bias, scale, shift, cos, sin];
  const shape = heads === undefined ? x.shape : [x.shape[0], heads, size.tokens, width / heads];
  const y = builder.slot(shape, builder.storage, changesWith(parts.flatMap((view) => (view ? [builder.slots[view.slot]] : []))));
  const bound = [...parts.map((view) => view ?? x), y];
  const constants = { LAYER: kind === 'layer', WEIGHT: weight !== undefined, BIAS: bias !== undefined };
  const header = normHeader(size, bound, { ...constants, MODULATED: modulation !== undefined, ROPE: rope !== undefined });
  const { name, body } = builder.kernels.dit.norm;
  builder.launch(y.slot, [
    {
      kernel: { name, body: unroll(body, header.constants!) },
      header,
      slots: bound.map(({ slot }) => slot),
      uniform: normUniform(size, scale, shift),
      workgroups: [Math.min(size.rows, 65_535), Math.ceil(size.rows / 65_535)],
    },
  ]);
  return y;
}

/** Header lines: the cells of what is bound, in this order, and how a workgroup keeps a row. */
function normHeader({ cells, lanes }: NormSize, bound: readonly View[], constants: Readonly<Record<string, boolean>>): Header {
  const dtypes = bound.map(({ dtype }) => dtype);
  const [CellX, CellW, CellB, CellM, CellS, CellC, , CellY] = dtypes.map((dtype) => (lanes === 4 ? `vec4<${dtype}>` : dtype));
  const threads = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(cells))));
  return {
    enable: enableFor(...dtypes),
    alias: { CellX, CellW, CellB, CellM, CellS, CellC, CellY, Wide: lanes === 4 ? 'vec4f' : 'f32' },
    constants: {
      ...constants,
      THREADS: threads,
      PARTS: Math.ceil(cells / threads),
      ONES: lanes === 4 ? 'vec4f(1.0)' : 'vec4f(0.25)',
      TURN: lanes === 4 ? 'mat4x4f(0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0)' : '1.0',
    },
  };
}

interface NormSize {
  readonly rows: number;
  readonly cells: number;
  readonly width: number;
  readonly tokens: number;
  readonly lanes: number;
  readonly heads: number;
  readonly epsilon: number;
}

function normUniform({ rows, cells, width, tokens, lanes, heads, epsilon }: NormSize, scale?: View, shift?: View): Uint32Array {
  const start = (view?: View): number[] => (view ? [view.offset, view.strides[0], view.strides[1]].map((step) => step / lanes) : [0, 0, 0]);
  const uniform = new Uint32Array([rows, cells, tokens, 0, ...start(scale), 0, ...start(shift), cells / heads]);
  const floats = new Float32Array(uniform.buffer);
  floats[3] = epsilon;
  floats[7] = width;
  return uniform;
}

/** A view broadcast to [batch, tokens, width], whose rows lie together. */
function rowsOf(builder: Builder, view: View, shape: readonly number[]): View {
  const rows = view.shape.at(-1) === shape.at(-1) && (view.strides.at(-1) === 1 || shape.at(-1) === 1) ? view : undefined;
  if (rows) return broadcastTo(rows, shape);
  const whole = [...view.shape.slice(0, -1), shape[shape.length - 1]];
  return broadcastTo(map(builder, 'copy', [view], whole.length === 1 ? [1, ...whole] : whole, view.dtype), shape);
}

/** A table [tokens, pairs] with each number twice in a row: made once, and read by every layer. */
function inPairs(builder: Builder, table: View): View {
  const [tokens, pairs] = table.shape;
  return builder.once(`pairs ${table.slot}`, () =>
    packed(builder, map(builder, 'copy', [stretched(table, [1, 2])], [tokens, 1, pairs, 2], 'f32')),
  );
}

const inFours = ({ offset, strides }: View): boolean => [offset, ...strides.slice(0, -1)].every((step) => step % 4 === 0);

/** Rotary embedding of x [batch, heads, tokens, dim] by cos and sin [tokens, dim / 2]; the result is packed. */
export function rope(builder: Builder, view: View, cosines: View, sines: View): View {
  const [outer, last] = [[view.offset, ...view.strides.slice(0, -1)], view.strides[view.strides.length - 1]];
  const x = last === 1 && outer.every((step) => step % 2 === 0) ? view : packed(builder, view);
  const [cos, sin] = [packed(builder, cosines, 'f32'), packed(builder, sines, 'f32')];
  const [, heads, tokens, dim] = x.shape;
  const y = builder.slot(x.shape, x.dtype, changesWith([x, cos, sin].map(({ slot }) => builder.slots[slot])));
  const count = elements(x.shape) / 2;
  const strides = [...x.strides.slice(0, 3), x.offset].map((step) => step / 2);
  builder.launch(y.slot, [
    {
      kernel: builder.kernels.dit.rope,
      header: { enable: enableFor(x.dtype), alias: { Scalar: x.dtype } },
      slots: [x.slot, cos.slot, sin.slot, y.slot],
      uniform: new Uint32Array([count, heads, tokens, dim / 2, ...strides]),
      workgroups: gridOf(count),
    },
  ]);
  return y;
}
