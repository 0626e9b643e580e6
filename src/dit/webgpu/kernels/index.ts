// The kernels of a Program's operations. Each URL is written out so that bundlers find the file.
import type { Kernel } from '../../../backend/webgpu/wgsl.ts';

export const ditKernels = {
  bfloat: new URL('./bfloat.wgsl', import.meta.url),
  conv: new URL('./conv.wgsl', import.meta.url),
  map: new URL('./map.wgsl', import.meta.url),
  matmul: new URL('./matmul.wgsl', import.meta.url),
  matmulFew: new URL('./matmul.few.wgsl', import.meta.url),
  matmulFinish: new URL('./matmul.finish.wgsl', import.meta.url),
  matmulMatrix: new URL('./matmul.matrix.wgsl', import.meta.url),
  norm: new URL('./norm.wgsl', import.meta.url),
  normalize: new URL('./normalize.wgsl', import.meta.url),
  rope: new URL('./rope.wgsl', import.meta.url),
  softmaxAttention: new URL('./softmax-attention.wgsl', import.meta.url),
};

/** The kernels, read. */
export type DitKernels = Readonly<Record<keyof typeof ditKernels, Kernel>>;
