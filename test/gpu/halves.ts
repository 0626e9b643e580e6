// f16 numbers on a GPU that has no f16, for kernels that read them as words.
import { bytesOf, type GpuDevice, type GpuTensor } from '../../src/backend/webgpu/device.ts';

/** A tensor of numbers that are exact in f16. */
export function halves(gpu: GpuDevice, x: Float32Array, shape: readonly number[]): GpuTensor {
  const tensor = gpu.tensor(shape, 'f16');
  const bits = Uint16Array.from(x, half);
  gpu.copy(gpu.upload(new Int32Array(bits.buffer), [bits.length / 2]), 0, tensor, 0, bytesOf(tensor));
  return tensor;
}

function half(x: number): number {
  if (x === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  return (x < 0 ? 0x8000 : 0) + ((exponent + 15) << 10) + (Math.abs(x) / 2 ** exponent - 1) * 1024;
}
