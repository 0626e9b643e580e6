// The kernels of tokens and blocks. Each URL is written out so that bundlers find the file.
import type { Kernel } from '../../backend/webgpu/wgsl.ts';

export const sparse3dKernels = {
  attend: new URL('./attend.wgsl', import.meta.url),
  attendSubgroups: new URL('./attend.subgroups.wgsl', import.meta.url),
  attendSubgroupsRows: new URL('./attend.subgroups.rows.wgsl', import.meta.url),
  attendMatrix: new URL('./attend.matrix.wgsl', import.meta.url),
  attendMatrixWide: new URL('./attend.matrix.wide.wgsl', import.meta.url),
  attendMatrixRows: new URL('./attend.matrix.rows.wgsl', import.meta.url),
  attendRows: new URL('./attend.rows.wgsl', import.meta.url),
  attendPlan: new URL('./attend.plan.wgsl', import.meta.url),
  cast: new URL('./cast.wgsl', import.meta.url),
  combine: new URL('./combine.wgsl', import.meta.url),
  merge: new URL('./merge.wgsl', import.meta.url),
  permute: new URL('./permute.wgsl', import.meta.url),
  pyramid: new URL('./pyramid.wgsl', import.meta.url),
  subgroupOf: new URL('../../backend/webgpu/kernels/subgroup-of.wgsl', import.meta.url),
};

/** The kernels, read. */
export type Sparse3dKernels = Readonly<Record<keyof typeof sparse3dKernels, Kernel>>;
