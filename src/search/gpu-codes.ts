// Numbers in few bits on WebGPU: rounded rows, and on which side of a head's quartiles each number lies.
import { gpuTensor } from '../backend/webgpu/device.ts';
import { f16Header, gridOf } from '../sparse3d/gpu-memory.ts';
import { elements } from '../tensor.ts';
import { type CodeOps, checkBits, signShape } from './cpu-codes.ts';
import type { Parts } from './gpu-score.ts';

/** `Backend`'s codes on a WebGPU device. */
export const codeGpuOps = ({ device, kernels }: Parts): CodeOps => ({
  quantize(x, bits) {
    checkBits(bits);
    const from = gpuTensor(device, x);
    const to = device.tensor(x.shape, x.dtype);
    const dim = x.shape[x.shape.length - 1];
    const rows = elements(x.shape) / dim;
    device.dispatch({
      kernel: kernels.quantize,
      header: { ...f16Header(x.dtype), alias: { Scalar: x.dtype }, constants: { DIM: dim, STEPS: 2 ** (bits - 1) - 1 } },
      tensors: [from, to],
      uniform: Uint32Array.of(rows, 0, 0, 0),
      workgroups: gridOf(rows),
    });
    return to;
  },
  quartileSigns(x) {
    const shape = signShape(x);
    const signs = device.tensor(shape, 'f32');
    device.dispatch({
      kernel: kernels.quartileSigns,
      header: {},
      tensors: [gpuTensor(device, x), signs],
      uniform: Uint32Array.of(elements(x.shape) / shape[0], 0, 0, 0),
      workgroups: [shape[0]],
    });
    return signs;
  },
});
