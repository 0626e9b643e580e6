// Where attention is measured: a GPU device or an ONNX Runtime on the CPU, opened, with the clock that it has.
import type { Backend } from '../../backend/backend.ts';
import { type CpuDevice, openCpu } from '../../backend/cpu.ts';
import { cpuBackend } from '../../backend/cpu-backend.ts';
import type { RuntimeChoice } from '../../backend/runtime.ts';
import { webgpuBackend } from '../../backend/webgpu/backend.ts';
import { type GpuDevice, openWebgpu } from '../../backend/webgpu/device.ts';
import type { Tensor } from '../../tensor.ts';

export interface PlaceOptions {
  readonly device: 'cpu' | 'webgpu';
  /** Which ONNX Runtime, for the CPU (default auto). */
  readonly runtime?: RuntimeChoice;
  /** false: no validation and no bounds checks on the GPU. */
  readonly checked?: boolean;
  /** false: no GPU feature that browsers have behind flags. */
  readonly experimental?: boolean;
}

export interface Place {
  /** As ids name it: `webgpu`, `onnxruntime-node`. */
  readonly name: string;
  readonly ops: Backend;
  readonly gpu?: GpuDevice;
  readonly cpu?: CpuDevice;
  readonly dtypes: readonly ('f16' | 'f32')[];
  readonly clock: 'GPU timestamps' | 'wall';
  /** Versions of what computes. */
  readonly software: string;
  /** Milliseconds of what `body` computes. */
  time(ops: Backend, body: () => Tensor): Promise<number>;
  dispose(): Promise<void>;
}

/** @throws UnsupportedError when there is no such device or runtime. */
export const openPlace = (options: PlaceOptions): Promise<Place> => (options.device === 'cpu' ? onCpu(options) : onGpu(options));

async function onCpu({ runtime }: PlaceOptions): Promise<Place> {
  const cpu = await openCpu(runtime);
  const { name, version } = cpu.runtime;
  return {
    ...{ name, ops: cpuBackend(cpu), cpu, dtypes: ['f32'], clock: 'wall', software: `${name} ${version}`, time: byWall },
    dispose: () => cpu.dispose(),
  };
}

async function onGpu({ checked = true, experimental = true }: PlaceOptions): Promise<Place> {
  const gpu = await openWebgpu({ checked, experimental });
  const { features, description } = gpu.adapter;
  const stamped = features.has('timestamp-query');
  return {
    ...{ name: 'webgpu', ops: await webgpuBackend(gpu), gpu },
    ...{ dtypes: features.has('shader-f16') ? ['f16', 'f32'] : ['f32'], software: `WebGPU, ${description}` },
    clock: stamped ? 'GPU timestamps' : 'wall',
    time: stamped ? (ops, body) => byStamps(gpu, ops, body) : byWall,
    dispose: async () => gpu.dispose(),
  };
}

async function byWall(ops: Backend, body: () => Tensor): Promise<number> {
  const start = performance.now();
  const out = ops.scope(body);
  await ops.wait(out);
  const milliseconds = performance.now() - start;
  ops.release(out);
  return milliseconds;
}

async function byStamps(gpu: GpuDevice, ops: Backend, body: () => Tensor): Promise<number> {
  const times = await gpu.profile(() => ops.scope(() => void body()));
  return times.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
}
