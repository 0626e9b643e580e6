// Tensors of the naive twins: f64 numbers on the host.
import type { TableShape } from '../search/cpu-select.ts';
import { type Layout, PAD, tokensOf } from '../sparse3d/plan.ts';
import { type Rows, rowsOf } from '../sparse3d/reference.ts';
import type { DType, Tensor } from '../tensor.ts';

export interface HostTensor extends Tensor {
  readonly values: readonly number[];
}

/** The numbers of a tensor of the naive twins. */
export const valuesOf = (tensor: Tensor): readonly number[] => (tensor as HostTensor).values;
export const floats = (tensor: Tensor): Float32Array => Float32Array.from(valuesOf(tensor));
export const integers = (tensor: Tensor): Int32Array => Int32Array.from(valuesOf(tensor));
export const make = (shape: readonly number[], values: Iterable<number>, dtype: DType = 'f32'): HostTensor => ({
  shape,
  dtype,
  values: [...values],
});

/** Rows of each head of a tensor [heads, rows, dim]. */
export const headsOf = ({ shape: [heads, , dim], values }: HostTensor): Rows[] => rowsOf(values, heads, dim);
export const tableOf = ({ shape }: Tensor): TableShape => [shape[0], shape[1], shape[2]];

/** Blocked -> raster. */
export function raster(x: Tensor, { order, grid }: Layout): HostTensor {
  const slots = new Array<number>(tokensOf(grid));
  for (const [slot, token] of order.entries()) if (token !== PAD) slots[token] = slot;
  return moved(x, order.length, slots);
}

/** Rows of a head moved: row r of the result is row `from[r]` of x, or zero for PAD. */
export function moved(x: Tensor, rows: number, from: ArrayLike<number>): HostTensor {
  const [heads, , dim = 1] = x.shape;
  const values: number[] = new Array(heads * from.length * dim).fill(0);
  for (let head = 0; head < heads; head++)
    for (let to = 0; to < from.length; to++)
      for (let at = 0; at < dim && from[to] !== PAD; at++)
        values[(head * from.length + to) * dim + at] = valuesOf(x)[(head * rows + from[to]) * dim + at];
  return make([heads, from.length, ...x.shape.slice(2)], values, x.dtype);
}
