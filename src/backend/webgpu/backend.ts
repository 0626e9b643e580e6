// The WebGPU backend: every operation of a method as WGSL kernels, in the order of one device's queue.
import { checkObject } from '../../checks.ts';
import { searchGpuOps } from '../../search/gpu.ts';
import { algebraGpuOps } from '../../search/gpu-algebra.ts';
import { orderGpuOps } from '../../search/gpu-orders.ts';
import { searchKernels } from '../../search/kernels/index.ts';
import { sparse3dGpuOps } from '../../sparse3d/gpu.ts';
import { sparse3dKernels } from '../../sparse3d/kernels/index.ts';
import type { Backend } from '../backend.ts';
import { overHeads } from '../by-head.ts';
import type { GpuDevice } from './device.ts';
import { loadKernels } from './wgsl.ts';

/** Variants to use by name; the best that can run here where left out. Asking for one that cannot is an UnsupportedError when it is used. */
export interface GpuVariants {
  /** How plans are read: `matrix`, `subgroups` or `portable`. */
  readonly attend?: string;
  /** How block masses and peaks are found: `matrix` or `portable`. */
  readonly score?: string;
}

/** Everything that methods can compute, on a WebGPU device, once its kernels are read. The device stays the caller's to dispose. */
export async function webgpuBackend(device: GpuDevice, variants: GpuVariants = {}): Promise<Backend> {
  checkObject('the device is', device, 'give one that is open, await openWebgpu()');
  const [sparse3d, search] = await Promise.all([loadKernels(sparse3dKernels), loadKernels(searchKernels)]);
  return overHeads({
    ...sparse3dGpuOps(device, sparse3d, variants),
    ...searchGpuOps(device, search, variants),
    ...algebraGpuOps(device, search),
    ...orderGpuOps(device, search),
  });
}
