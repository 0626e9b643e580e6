// Where a decoder's Programs run: on ONNX Runtime, or on a GPU's own executor.
import { type CpuDevice, contentOf } from '../backend/cpu.ts';
import { type GpuDevice, gpuTensor } from '../backend/webgpu/device.ts';
import type { Executable, Executor } from '../dit/executor.ts';
import type { Program } from '../dit/graph.ts';
import { compile } from '../dit/onnx/executor.ts';
import type { Weights } from '../dit/weights.ts';
import { elements, type Tensor } from '../tensor.ts';

/** What streaming frames through Programs takes. Handles live until `take` or `release`. */
export interface DecoderPlace {
  /** What a host's memory is scarce in, and a GPU's is not. */
  readonly name: 'cpu' | 'webgpu';
  compile(program: Program, weights: Weights): Promise<Executable>;
  /** Compiles the kernels of a Program alone, beforehand; absent where there are none. */
  compileKernels?(program: Program): Promise<void>;
  /** A handle of host numbers; the array is not to be written afterwards. */
  upload(numbers: Float32Array, shape: readonly number[]): Tensor;
  /** A copy of rows [start, end) along the first axis. */
  rows(x: Tensor, start: number, end: number): Tensor;
  /** Waits for the numbers of a handle that is not used again: they are the caller's. */
  take(x: Tensor): Promise<Float32Array>;
  /** Waits for a result as far as its memory or its errors need it. */
  settled(x: Tensor): Promise<void>;
  release(x: Tensor): void;
  /** Waits for what was enqueued, well or not. */
  idle(): Promise<void>;
}

/** ONNX Runtime's device. Its results stay where it computes them. */
export function runtimePlace(device: CpuDevice): DecoderPlace {
  return {
    name: device.runtime.held ? 'webgpu' : 'cpu',
    compile: (program, weights) => compile(program, weights, device, { arena: false, held: true }),
    upload: device.upload,
    rows: device.rows,
    take: (x) => device.take(x) as Promise<Float32Array>,
    async settled(x) {
      await contentOf(x);
    },
    release: device.release,
    idle: device.idle,
  };
}

/** A GPU, opened anew where it was lost, and its f32 executor. */
export function gpuPlace(current: () => { readonly gpu: GpuDevice; readonly f32: Executor }): DecoderPlace {
  return {
    name: 'webgpu',
    compile: (program, weights) => current().f32.compile(program, weights),
    compileKernels: (program) => current().f32.ahead!.compile(program),
    upload: (numbers, shape) => current().gpu.upload(numbers, shape),
    rows(x, start, end) {
      const { gpu } = current();
      const [from, row] = [gpuTensor(gpu, x), x.shape.slice(1)];
      const to = gpu.tensor([end - start, ...row], 'f32');
      const bytes = 4 * elements(row);
      gpu.copy(from, start * bytes, to, 0, (end - start) * bytes);
      return to;
    },
    async take(x) {
      const { gpu } = current();
      const numbers = (await gpu.read(gpuTensor(gpu, x))) as Float32Array;
      gpu.release(gpuTensor(gpu, x));
      return numbers;
    },
    settled: async () => undefined,
    release: (x) => current().gpu.release(gpuTensor(current().gpu, x)),
    idle: () => current().gpu.idle(),
  };
}
