// Convolutions and vector lengths.
import { unroll } from '../../backend/webgpu/unroll.ts';
import { gridOf } from '../../sparse3d/gpu-memory.ts';
import { elements } from '../../tensor.ts';
import { linear } from './linear.ts';
import { map, packed } from './map.ts';
import { type Builder, changesWith, enableFor } from './steps.ts';
import { reshaped, sliced, transposed, type View } from './view.ts';

export interface ConvInputs {
  /** [batch, inputs, (t,) h, w] */
  readonly x: View;
  readonly weight: View;
  readonly bias?: View;
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  /** Added to the result, whose shape it has. */
  readonly residual?: View;
  /** Whether what is below zero becomes zero at the end. */
  readonly relu?: boolean;
}

/** A convolution of 2 or 3 axes, in the weight's type. */
export function conv(builder: Builder, inputs: ConvInputs, shape: readonly number[]): View {
  const { weight, strides, pads, residual, relu } = inputs;
  const [, channels, ...kernel] = weight.shape;
  const apart = elements(kernel) > 1 && `${kernel}` === `${strides}` && pads.every((pad) => pad === 0);
  if (!apart || (channels * elements(kernel)) % 4 !== 0) return tiled(builder, inputs, shape);
  const y = patches(builder, inputs, shape);
  const sum = residual ? map(builder, 'add', [y, residual], shape, y.dtype) : y;
  return relu ? map(builder, 'relu', [sum], shape, y.dtype) : sum;
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

function tiled(builder: Builder, inputs: ConvInputs, shape: readonly number[]): View {
  const weight = packed(builder, inputs.weight);
  const x = packed(builder, inputs.x, weight.dtype);
  const [bias, residual] = [inputs.bias && packed(builder, inputs.bias), inputs.residual && packed(builder, inputs.residual, x.dtype)];
  const reads = [x, weight, bias ?? weight, residual ?? x];
  const y = builder.slot(shape, x.dtype, changesWith(reads.map(({ slot }) => builder.slots[slot])));
  const [batch, outputs, ...out] = shape;
  const computed = (tile: number): number => Math.ceil(outputs / tile) * tile;
  const tile = TILES.reduce((best, other) => (computed(other) < computed(best) ? other : best));
  const [time, high, wide] = triple(weight.shape.slice(2), 1);
  const counts = { OUTPUTS: tile, PLACES: 8192 / tile, STEP: tile / 4, TIME: time, HIGH: high, WIDE: wide };
  const { name, body, shared } = builder.kernels.dit.conv;
  builder.launch(y.slot, [
    {
      kernel: { name, body: unroll(body, counts), ...(shared && { shared }) },
      header: {
        enable: enableFor(x.dtype, weight.dtype, reads[2].dtype),
        alias: { Scalar: x.dtype, Weight: weight.dtype, Bias: reads[2].dtype },
        constants: { ...counts, BIAS: bias !== undefined, ADDED: residual !== undefined, RELU: inputs.relu === true },
      },
      slots: [...reads, y].map(({ slot }) => slot),
      uniform: uniformOf(x.shape, weight.shape, shape, inputs),
      workgroups: [Math.ceil(elements(out) / counts.PLACES), Math.ceil(outputs / tile), batch],
    },
  ]);
  return y;
}

/** Sizes of time, height and width, in the four words that a vector of three takes; images have one frame. */
const triple = (sizes: readonly number[], missing: number): number[] => [...new Array(3 - sizes.length).fill(missing), ...sizes, 0];

function uniformOf(
  x: readonly number[],
  weight: readonly number[],
  [, outputs, ...out]: readonly number[],
  { strides, pads }: ConvInputs,
): Uint32Array {
  const sizes = [x.slice(2), out, strides].flatMap((axes) => triple(axes, 1));
  return new Uint32Array([x[1], outputs, elements(weight.slice(1)), elements(out), ...sizes, ...triple(pads.slice(0, out.length), 0)]);
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
