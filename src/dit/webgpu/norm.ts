// Norms and rotary embeddings.
import { gridOf } from '../../sparse3d/gpu-memory.ts';
import { type DType, elements } from '../../tensor.ts';
import { map, packed } from './map.ts';
import { type Builder, changesWith, enableFor } from './steps.ts';
import { broadcastTo, type View } from './view.ts';

/** What a norm of a Program is given: over the last axis of x, times weight, plus bias, then times scale, plus shift. */
export interface NormInputs {
  readonly kind: 'layer' | 'rms';
  readonly epsilon: number;
  readonly x: View;
  readonly weight?: View;
  readonly bias?: View;
  /** Broadcast to x [batch, tokens, width]. */
  readonly modulation?: { readonly scale: View; readonly shift: View };
}

/** One norm, stored as activations are. */
export function norm(builder: Builder, { kind, epsilon, modulation, ...views }: NormInputs): View {
  const x = packed(builder, views.x);
  const width = x.shape[x.shape.length - 1];
  const weight = views.weight && packed(builder, views.weight);
  const bias = views.bias && packed(builder, views.bias);
  const [scale, shift] = modulation ? [modulation.scale, modulation.shift].map((view) => rowsOf(builder, view, x.shape)) : [];
  const lanes = width % 4 === 0 && [scale, shift].every((view) => !view || inFours(view)) ? 4 : 1;
  const cells = width / lanes;
  const threads = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(cells))));
  const rows = elements(x.shape) / width;
  const y = builder.slot(
    x.shape,
    builder.storage,
    changesWith([x, weight, bias, scale, shift].flatMap((view) => (view ? [builder.slots[view.slot]] : []))),
  );
  const bound = [x, weight ?? x, bias ?? x, scale ?? x, shift ?? x, y];
  const cell = (dtype: DType): string => (lanes === 4 ? `vec4<${dtype}>` : dtype);
  const [CellX, CellW, CellB, CellM, CellS, CellY] = bound.map(({ dtype }) => cell(dtype));
  builder.launch(y.slot, [
    {
      kernel: builder.kernels.dit.norm,
      header: {
        enable: enableFor(...bound.map(({ dtype }) => dtype)),
        alias: { CellX, CellW, CellB, CellM, CellS, CellY, Wide: lanes === 4 ? 'vec4f' : 'f32' },
        constants: {
          THREADS: threads,
          PARTS: Math.ceil(cells / threads),
          LAYER: kind === 'layer',
          WEIGHT: weight !== undefined,
          BIAS: bias !== undefined,
          MODULATED: modulation !== undefined,
          ONES: lanes === 4 ? 'vec4f(1.0)' : 'vec4f(0.25)',
        },
      },
      slots: bound.map(({ slot }) => slot),
      uniform: normUniform({ rows, cells, width, epsilon, tokens: x.shape.at(-2) ?? 1, lanes }, scale, shift),
      workgroups: [Math.min(rows, 65_535), Math.ceil(rows / 65_535)],
    },
  ]);
  return y;
}

interface NormSize {
  readonly rows: number;
  readonly cells: number;
  readonly width: number;
  readonly tokens: number;
  readonly lanes: number;
  readonly epsilon: number;
}

function normUniform({ rows, cells, width, tokens, lanes, epsilon }: NormSize, scale?: View, shift?: View): Uint32Array {
  const start = (view?: View): number[] => (view ? [view.offset, view.strides[0], view.strides[1]].map((step) => step / lanes) : [0, 0, 0]);
  const uniform = new Uint32Array([rows, cells, tokens, 0, ...start(scale), 0, ...start(shift), 0]);
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
