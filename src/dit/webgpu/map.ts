// Elementwise operations, and copies of views: between types, orders and shapes.
import { UnsupportedError } from '../../errors.ts';
import { gridOf } from '../../sparse3d/gpu-memory.ts';
import type { DType } from '../../tensor.ts';
import type { Activation } from '../graph.ts';
import { type Builder, changesWith, enableFor, type Launch } from './steps.ts';
import { broadcastTo, isPacked, type View, walk } from './view.ts';

/** Operations of map.wgsl, by their number there. */
const OPERATIONS = ['copy', 'add', 'sub', 'mul', 'silu', 'gelu_tanh', 'relu', 'tanh', 'clip'] as const;
export type MapOperation = (typeof OPERATIONS)[number];

const AXES = 8;

/** A launch that writes `f(a, b)` to a view; a and b are broadcast to it. */
export function mapLaunch(
  builder: Builder,
  operation: MapOperation,
  [a, b = a]: readonly View[],
  y: View,
  range: readonly [number, number] = [0, 0],
): Launch {
  const { lanes, axes, offsets, single, count } = walk([broadcastTo(a, y.shape), broadcastTo(b, y.shape), y]);
  if (axes.length > AXES)
    throw new UnsupportedError(`${operation} of shape [${y.shape}] walks ${axes.length} axes; at most ${AXES} are supported`);
  const uniform = new Uint32Array(8 + 4 * AXES);
  uniform.set([count, axes.length, ...offsets]);
  new Float32Array(uniform.buffer).set(range, 5);
  for (const [at, { size, strides }] of axes.entries())
    for (const [row, word] of [size, ...strides].entries()) uniform[8 + row * AXES + at] = word;
  const cell = (dtype: DType, view: number): string => (single[view] ? dtype : `vec4<${dtype}>`);
  const wide = (view: number): string => (single[view] ? 'f32' : 'vec4f');
  return {
    kernel: builder.kernels.dit.map,
    header: {
      enable: enableFor(a.dtype, b.dtype, y.dtype),
      alias: {
        CellA: cell(a.dtype, 0),
        CellB: cell(b.dtype, 1),
        CellY: cell(y.dtype, 2),
        WideA: wide(0),
        WideB: wide(1),
        Wide: lanes === 4 ? 'vec4f' : 'f32',
      },
      constants: { OP: OPERATIONS.indexOf(operation) },
    },
    slots: [a.slot, b.slot, y.slot],
    uniform,
    workgroups: gridOf(count),
  };
}

/** `f(a, b)` in a new slot. */
export function map(
  builder: Builder,
  operation: MapOperation | Activation,
  views: readonly View[],
  shape: readonly number[],
  dtype: DType,
  range?: readonly [number, number],
): View {
  const y = builder.slot(shape, dtype, changesWith(views.map(({ slot }) => builder.slots[slot])));
  builder.launch(y.slot, [mapLaunch(builder, operation, views, y, range)]);
  return y;
}

/** The same numbers as a row-major array of a type from the start of a buffer. */
export function packed(builder: Builder, view: View, dtype: DType = view.dtype): View {
  return isPacked(view) && view.dtype === dtype ? view : map(builder, 'copy', [view], view.shape, dtype);
}
