// Views: a value of a Program as strides over a buffer, so that reshapes, transposes and slices cost nothing.
import { type DType, elements } from '../../tensor.ts';

/** Numbers of a slot, element `sum(index * stride) + offset` for an index. A stride of 0 repeats. */
export interface View {
  readonly slot: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** Strides of a row-major array. */
export function packedStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
}

/** Whether a view is a row-major array from its buffer's start. */
export function isPacked({ shape, strides, offset }: View): boolean {
  const packed = packedStrides(shape);
  return offset === 0 && shape.every((size, axis) => size === 1 || strides[axis] === packed[axis]);
}

/** out.shape[i] = shape[order[i]]. */
export function transposed(view: View, order: readonly number[]): View {
  return { ...view, shape: order.map((axis) => view.shape[axis]), strides: order.map((axis) => view.strides[axis]) };
}

export function sliced(view: View, axis: number, start: number, end: number): View {
  const shape = view.shape.map((size, at) => (at === axis ? end - start : size));
  return { ...view, shape, offset: view.offset + start * view.strides[axis] };
}

/** Repeated along leading and single axes, as NumPy broadcasts. */
export function broadcastTo(view: View, shape: readonly number[]): View {
  const lead = shape.length - view.shape.length;
  const strides = shape.map((_, axis) => (axis < lead || view.shape[axis - lead] === 1 ? 0 : view.strides[axis - lead]));
  return { ...view, shape, strides };
}

/** Each element `times` times in a row along each axis, of shape [s0, times0, s1, times1, ...]. */
export function stretched(view: View, times: readonly number[]): View {
  const shape = view.shape.flatMap((size, axis) => [size, times[axis]]);
  return { ...view, shape, strides: view.strides.flatMap((stride) => [stride, 0]) };
}

/** The same numbers in another shape; undefined when no strides do that. */
export function reshaped(view: View, shape: readonly number[]): View | undefined {
  const axes = merged(view.shape, [view.strides]);
  const strides = new Array<number>(shape.length).fill(0);
  let at = 0;
  for (const {
    size,
    strides: [stride],
  } of axes) {
    let filled = 1;
    const first = at;
    while (filled < size) filled *= shape[at++];
    if (filled !== size) return undefined;
    let step = stride;
    for (let axis = at - 1; axis >= first; axis--) {
      strides[axis] = step;
      step *= shape[axis];
    }
  }
  return { ...view, shape, strides };
}

/** An axis of several views at once. */
export interface Axis {
  readonly size: number;
  readonly strides: readonly number[];
}

/** The fewest axes that walk all of these strides: axes of one element are dropped, neighbours joined. */
export function merged(shape: readonly number[], strides: readonly (readonly number[])[]): Axis[] {
  const axes: Axis[] = [];
  for (const [at, size] of shape.entries()) {
    if (size === 1) continue;
    const own = strides.map((all) => all[at]);
    const last = axes.at(-1);
    if (last?.strides.every((stride, view) => stride === own[view] * size))
      axes[axes.length - 1] = { size: last.size * size, strides: own };
    else axes.push({ size, strides: own });
  }
  return axes;
}

/** How launches read and write views: by 4 numbers where all of them allow it. The last stride of a view read by 4 counts cells. */
export interface Walk {
  readonly lanes: 1 | 4;
  readonly axes: readonly Axis[];
  readonly offsets: readonly number[];
  /** Views whose cells are single numbers, repeated over the lanes. */
  readonly single: readonly boolean[];
  /** Cells of the whole walk. */
  readonly count: number;
}

/** The walk over views of one shape; the last of them is written. */
export function walk(views: readonly View[]): Walk {
  const { shape } = views[0];
  const axes = merged(
    shape,
    views.map(({ strides }) => strides),
  );
  const single = views.map((_, view) => axes.at(-1)?.strides[view] === 0);
  const fits = ({ offset }: View, view: number): boolean =>
    single[view] ||
    (offset % 4 === 0 && axes.every(({ strides }, at) => (at === axes.length - 1 ? strides[view] === 1 : strides[view] % 4 === 0)));
  const count = elements(shape);
  const offsets = views.map(({ offset }) => offset);
  const last = axes.at(-1);
  if (!last || last.size % 4 !== 0 || single.at(-1) || !views.every(fits))
    return { lanes: 1, axes, offsets, single: views.map(() => true), count };
  const whole = axes.map(({ size, strides }, at) =>
    at === axes.length - 1
      ? { size: size / 4, strides }
      : { size, strides: strides.map((stride, view) => (single[view] ? stride : stride / 4)) },
  );
  return { lanes: 4, axes: whole, offsets: offsets.map((offset, view) => (single[view] ? offset : offset / 4)), single, count: count / 4 };
}
