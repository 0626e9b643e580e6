// A tensor is a handle: shape and dtype are known at once, the numbers live with the backend that made it.

/** Element type of a handle. The CPU computes in f32; f16 is stored on the GPU alone; i32 holds indices and counts. */
export type DType = 'f32' | 'f16' | 'i32';

/** Handle to an array on a backend, row-major. Operations on handles enqueue and return at once; only `Backend.read` waits. */
export interface Tensor {
  /** Sizes of the axes, the last one running fastest. */
  readonly shape: readonly number[];
  /** What its elements are. */
  readonly dtype: DType;
}

/** Host-side numbers of a tensor; those of an f16 tensor are f32. */
export type Numbers = Float32Array | Int32Array;

/** Number of elements of a shape. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
