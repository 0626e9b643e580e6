// Convolutions and vector lengths.
import { gridOf } from '../../sparse3d/gpu-memory.ts';
import { elements } from '../../tensor.ts';
import { linear } from './linear.ts';
import { packed } from './map.ts';
import { type Builder, changesWith, enableFor } from './steps.ts';
import { reshaped, sliced, transposed, type View } from './view.ts';

export interface ConvInputs {
  /** [batch, inputs, (t,) h, w] */
  readonly x: View;
  readonly weight: View;
  readonly bias?: View;
  readonly strides: readonly number[];
  readonly pads: readonly number[];
}

/** A convolution of 2 or 3 axes, in the weight's type. */
export function conv(builder: Builder, inputs: ConvInputs, shape: readonly number[]): View {
  const [, channels, ...kernel] = inputs.weight.shape;
  const apart = elements(kernel) > 1 && `${kernel}` === `${inputs.strides}` && inputs.pads.every((pad) => pad === 0);
  return apart && (channels * elements(kernel)) % 4 === 0 ? patches(builder, inputs, shape) : tiled(builder, inputs, shape);
}

/** Patches that do not overlap are the rows of a linear layer. */
function patches(builder: Builder, { x, weight, bias }: ConvInputs, shape: readonly number[]): View {
  const [outputs, channels, ...kernel] = weight.shape;
  const places = shape.slice(2);
  const axes = places.map((_, axis) => axis);
  const covered = places.reduce((view, size, axis) => sliced(view, axis + 2, 0, size * kernel[axis]), x);
  const cut = reshaped(covered, [shape[0], channels, ...places.flatMap((size, axis) => [size, kernel[axis]])])!;
  const ordered = transposed(cut, [0, ...axes.map((axis) => 2 * axis + 2), 1, ...axes.map((axis) => 2 * axis + 3)]);
  const width = channels * elements(kernel);
  const rows = reshaped(packed(builder, ordered, weight.dtype), [shape[0], ...places, width])!;
  const y = linear(builder, { x: rows, weight: reshaped(packed(builder, weight), [outputs, width])!, ...(bias && { bias }) });
  return transposed(y, [0, places.length + 1, ...axes.map((axis) => axis + 1)]);
}

/** Output channels that a workgroup of conv.wgsl owns, the most first: a wider tile reads each place less often. */
const TILES = [64, 32, 16];

function tiled(builder: Builder, { strides, pads, ...views }: ConvInputs, shape: readonly number[]): View {
  const weight = packed(builder, views.weight);
  const x = packed(builder, views.x, weight.dtype);
  const bias = views.bias && packed(builder, views.bias);
  const y = builder.slot(shape, x.dtype, changesWith([x, weight, bias ?? x].map(({ slot }) => builder.slots[slot])));
  const axes = strides.length;
  // Vectors of three take four words; images have one frame.
  const three = (values: readonly number[], missing: number): number[] => [...new Array(3 - axes).fill(missing), ...values, 0];
  const [batch, outputs, ...out] = shape;
  const [, inputs, ...kernel] = weight.shape;
  const [time, high, wide] = three(kernel, 1);
  const places = elements(out);
  const computed = (tile: number): number => Math.ceil(outputs / tile) * tile;
  const tile = TILES.reduce((best, other) => (computed(other) < computed(best) ? other : best));
  const bound = [x, weight, bias ?? weight, y];
  builder.launch(y.slot, [
    {
      kernel: builder.kernels.dit.conv,
      header: {
        enable: enableFor(...bound.map(({ dtype }) => dtype)),
        alias: { Scalar: x.dtype, Weight: weight.dtype, Bias: bound[2].dtype },
        constants: { BIAS: bias !== undefined, OUTPUTS: tile, PLACES: 8192 / tile, STEP: tile / 4, TIME: time, HIGH: high, WIDE: wide },
      },
      slots: bound.map(({ slot }) => slot),
      uniform: new Uint32Array([
        ...[inputs, outputs, inputs * elements(kernel), places],
        ...[x.shape.slice(2), out, strides].flatMap((sizes) => three(sizes, 1)),
        ...three(pads.slice(0, axes), 0),
      ]),
      workgroups: [Math.ceil(places / (8192 / tile)), Math.ceil(outputs / tile), batch],
    },
  ]);
  return y;
}

/** x divided by its Euclidean norm along an axis. */
export function normalize(builder: Builder, view: View, axis: number): View {
  const x = packed(builder, view);
  const y = builder.slot(x.shape, x.dtype, builder.slots[x.slot].when);
  const [size, inner] = [x.shape[axis], elements(x.shape.slice(axis + 1))];
  const vectors = elements(x.shape) / size;
  builder.launch(y.slot, [
    {
      kernel: builder.kernels.dit.normalize,
      header: { enable: enableFor(x.dtype), alias: { Scalar: x.dtype } },
      slots: [x.slot, y.slot],
      uniform: new Uint32Array([vectors, size, inner, 0]),
      workgroups: gridOf(vectors),
    },
  ]);
  return y;
}
