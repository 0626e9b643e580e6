// Where the attention of a cut graph is computed, and how results of a session get there and back.
import type * as ort from 'onnxruntime-common';
import { createAttention, type StepStatistics } from '../attention.ts';
import { openCpu } from '../backend/cpu.ts';
import { cpuBackend } from '../backend/cpu-backend.ts';
import { loadRuntime, type Runtime, type RuntimeChoice } from '../backend/runtime.ts';
import { webgpuBackend } from '../backend/webgpu/backend.ts';
import { type GpuDevice, type GpuTensor, openWebgpu } from '../backend/webgpu/device.ts';
import type { Method, Site } from '../method.ts';
import { elements } from '../tensor.ts';

export interface Place {
  readonly runtime: Runtime;
  /** true: results between the parts of a graph stay on the GPU. */
  readonly onGpu: boolean;
  /** The GPU, where it computes nothing in f16. */
  readonly withoutF16?: string;
  /** Softmax attention of f32 results [..., tokens, dim], on a GPU in f16 if they are no finer; what is given stays the caller's. */
  attend(q: ort.Tensor, k: ort.Tensor, v: ort.Tensor, site: Site, dtype?: 'f32' | 'f16'): Promise<ort.Tensor>;
  take(): Promise<StepStatistics>;
  dispose(): Promise<void>;
}

export async function onCpu(method: Method, choice: RuntimeChoice | undefined): Promise<Place> {
  const device = await openCpu(choice);
  const { attention, take, reset } = createAttention(cpuBackend(device), method);
  return {
    runtime: device.runtime,
    onGpu: false,
    async attend(q, k, v, site) {
      const out = attention(...operands(q, k, v, (tensor, shape) => device.upload(tensor.data as Float32Array, shape)), site);
      const numbers = await device.take(out);
      return new device.runtime.Tensor('float32', numbers as Float32Array, resultShape(q, v));
    },
    take,
    async dispose() {
      reset();
      await device.dispose();
    },
  };
}

/** On one GPU device, which runs the sessions too: what goes from one to the other stays in its buffers. */
export async function onWebgpu(method: Method): Promise<Place> {
  const gpu = await openWebgpu();
  try {
    return await onDevice(method, gpu);
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

/** On a device, which is the place's to dispose. */
export async function onDevice(method: Method, gpu: GpuDevice): Promise<Place> {
  const runtime = await loadRuntime('onnxruntime-webgpu', gpu);
  const ops = await webgpuBackend(gpu);
  const { attention, take, reset } = createAttention(ops, method);
  const { features, description } = gpu.adapter;
  return {
    runtime,
    onGpu: true,
    ...(!features.has('shader-f16') && { withoutF16: description }),
    async attend(q, k, v, site, dtype = 'f32') {
      const out = ops.scope(() => {
        const given = operands(q, k, v, (tensor, shape) => ops.cast(lentTo(gpu, tensor, shape), dtype));
        return ops.cast(attention(...given, site), 'f32');
      }) as GpuTensor;
      // What was given may be freed, and what is given read, by work that ONNX Runtime submits.
      gpu.flush();
      return runtime.Tensor.fromGpuBuffer(out.lent.buffer, {
        dataType: 'float32',
        dims: resultShape(q, v),
        dispose: () => gpu.release(out),
      });
    },
    take,
    async dispose() {
      reset();
      await runtime.dispose?.();
      gpu.dispose();
    },
  };
}

/** A result of a session as a tensor of the device; its buffer stays the session's. */
const lentTo = (owner: GpuDevice, { gpuBuffer }: ort.Tensor, shape: readonly number[]): GpuTensor => ({
  ...{ owner, shape, dtype: 'f32' },
  lent: { buffer: gpuBuffer as unknown as GPUBuffer, bytes: 4 * elements(shape) },
});

type Three<T> = [T, T, T];

/** q, k, v as [batch * heads, tokens, dim]. @throws RangeError when they do not have the same batch and heads. */
function operands<T>(q: ort.Tensor, k: ort.Tensor, v: ort.Tensor, make: (tensor: ort.Tensor, shape: readonly number[]) => T): Three<T> {
  const [rows] = [q, k, v].map(({ dims }) => dims.slice(0, -2).join());
  for (const { dims } of [k, v])
    if (dims.slice(0, -2).join() !== rows)
      throw new RangeError(
        `queries [${q.dims}] and keys or values [${dims}] have not the same batch and heads; export the model with one key head for each query head`,
      );
  return [q, k, v].map((tensor) => make(tensor, folded(tensor.dims))) as Three<T>;
}

const folded = (dims: readonly number[]): readonly number[] => [elements(dims.slice(0, -2)), ...dims.slice(-2)];
const resultShape = (q: ort.Tensor, v: ort.Tensor): number[] => [...q.dims.slice(0, -1), v.dims[v.dims.length - 1]];
