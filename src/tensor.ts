// A tensor is a handle: shape and dtype are known at once, the numbers live with the backend that made it.

/** Element type of a handle. Attention and models compute in f32 on the CPU; i32 holds indices and counts. */
export type DType = 'f32' | 'i32';

/** Handle to an array on a backend, row-major. Operations on handles enqueue and return at once; only `Backend.read` waits. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** Host-side numbers of a tensor. */
export type Numbers = Float32Array | Int32Array;

/** Number of elements of a shape. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
