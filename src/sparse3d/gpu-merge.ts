// Two attentions over different keys as the one over all of them, on WebGPU.
import type { Attended } from '../backend/backend.ts';
import { type GpuDevice, gpuTensor } from '../backend/webgpu/device.ts';
import { f16Header, gridOfGroups } from './gpu-memory.ts';
import type { Sparse3dKernels } from './kernels/index.ts';
import { checkMerge } from './merge.ts';

/** `Backend.merge`. */
export function mergeTensors(device: GpuDevice, kernels: Sparse3dKernels, a: Attended, b: Attended): Attended {
  checkMerge(a, b);
  const { shape } = a.out;
  const dtype = a.out.dtype as 'f32' | 'f16';
  const [out, lse] = [device.tensor(shape, dtype), device.tensor(a.lse.shape, 'f32')];
  const rows = shape[0] * shape[1];
  device.dispatch({
    kernel: kernels.merge,
    header: { ...f16Header(dtype), alias: { Scalar: dtype } },
    tensors: [...[a.out, a.lse, b.out, b.lse].map((tensor) => gpuTensor(device, tensor)), out, lse],
    uniform: Uint32Array.of(rows, shape[2], 0, 0),
    workgroups: gridOfGroups(Math.ceil(rows / 4)),
  });
  return { out, lse };
}
