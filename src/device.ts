// Where a pipeline runs: its transformer on the CPU or on a GPU, chosen once and said why, opened, and opened again after a GPU was lost.
import { type CpuDevice, openCpu } from './backend/cpu.ts';
import type { RuntimeChoice } from './backend/runtime.ts';
import type { AdapterReport } from './backend/webgpu/adapter.ts';
import { type GpuDevice, openWebgpu } from './backend/webgpu/device.ts';
import type { Executor } from './dit/executor.ts';
import { cpuExecutor } from './dit/onnx/executor.ts';
import { gpuExecutor } from './dit/webgpu/executor.ts';
import { UnsupportedError } from './errors.ts';
import { type DecoderPlace, gpuPlace, runtimePlace } from './vae/place.ts';

const DEVICES = ['cpu', 'webgpu', 'auto'] as const;
const DTYPES = ['f32', 'f16'] as const;

/** Where a pipeline is to run. */
export interface DeviceOptions {
  /** Which ONNX Runtime, for the text encoder, and on the CPU for transformer and decoder; see `loadRuntime` for what `auto` takes. */
  readonly runtime?: RuntimeChoice;
  /** Where transformer and decoder run (default `cpu`); `auto` takes a GPU when there is one that is not software, else the CPU. */
  readonly device?: (typeof DEVICES)[number];
  /** How it stores weights and activations: f32 on the CPU; on a GPU by default f16 where it has f16, else f32. Sums are always f32. */
  readonly dtype?: (typeof DTYPES)[number];
}

/** The device of a pipeline. */
export interface DeviceReport {
  /** Where the transformer runs. */
  readonly name: 'cpu' | 'webgpu';
  /** How it stores weights and activations. */
  readonly dtype: 'f32' | 'f16';
  /** The GPU's name. */
  readonly adapter?: string;
  /** Why this one: a sentence without its full stop. */
  readonly reason: string;
}

/** An opened device. */
export interface OpenedDevice {
  readonly report: DeviceReport;
  /** Where the transformer's Programs run. */
  readonly executor: Executor;
  /** Where the text encoder runs. */
  readonly host: CpuDevice;
  /** Where the decoder runs: on the GPU with the transformer, in f32, else as the text encoder does. */
  readonly decoding: DecoderPlace;
  /** What is known of the GPU; absent on the CPU. */
  readonly gpu?: AdapterReport;
  /** Why the GPU cannot be used any more; undefined while it can. */
  lost(): string | undefined;
  /**
   * Opens a GPU that was lost anew for the same executor, on which Programs must be compiled again. Absent where the host's runtime was on it too.
   * @throws UnsupportedError when there is no GPU any more.
   */
  readonly renew?: () => Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Opens what is asked for.
 * @throws TypeError for a name that is none; UnsupportedError, with the reason, for webgpu where there is no GPU and for f16 where there is none.
 */
export async function openDevice(options: DeviceOptions): Promise<OpenedDevice> {
  const { device = 'cpu', dtype } = options;
  if (!DEVICES.includes(device)) throw new TypeError(`there is no device ${JSON.stringify(device)}; choose ${DEVICES.join(', ')}`);
  if (dtype !== undefined && !DTYPES.includes(dtype))
    throw new TypeError(`there is no dtype ${JSON.stringify(dtype)}; choose ${DTYPES.join(' or ')}`);
  if (device === 'cpu') return onCpu(options, options.device ? 'the CPU was asked for' : 'the CPU is the default');
  if (device === 'webgpu') return onGpu(await openWebgpu(), options, 'webgpu was asked for');
  const found = await openWebgpu().catch((error: Error) => error);
  if (found instanceof Error) return onCpu(options, `auto took the CPU: ${found.message}`);
  if (!found.adapter.software) return onGpu(found, options, 'auto found a GPU');
  found.dispose();
  return onCpu(options, `auto took the CPU: the only GPU, ${nameOf(found.adapter)}, is software and slower`);
}

async function onCpu({ dtype, runtime }: DeviceOptions, reason: string): Promise<OpenedDevice> {
  if (dtype === 'f16') throw new UnsupportedError(`the CPU computes in f32 and has no f16 (${reason}); choose f32, or device webgpu`);
  const host = await openCpu(runtime);
  return {
    report: { name: 'cpu', dtype: 'f32', reason },
    executor: cpuExecutor(host),
    host,
    decoding: runtimePlace(host),
    lost: () => undefined,
    dispose: host.dispose,
  };
}

async function onGpu(gpu: GpuDevice, { dtype: wanted, runtime }: DeviceOptions, reason: string): Promise<OpenedDevice> {
  const dtype = wanted ?? (hasF16(gpu) ? 'f16' : 'f32');
  let current = await bound(gpu, dtype);
  const host = await openCpu(runtime, gpu).catch((error: Error) => {
    gpu.dispose();
    throw error;
  });
  const renew = async (): Promise<void> => {
    current = await bound(await openWebgpu(), dtype);
  };
  return {
    report: { name: 'webgpu', dtype, adapter: nameOf(gpu.adapter), reason },
    executor: {
      get ops() {
        return current.executor.ops;
      },
      get ahead() {
        return current.executor.ahead;
      },
      compile: (program, weights) => current.executor.compile(program, weights),
      bytes: (program) => current.executor.bytes!(program),
    },
    host,
    decoding: gpuPlace(() => current),
    gpu: gpu.adapter,
    lost: () => current.lost(),
    ...(host.runtime.name !== 'onnxruntime-webgpu' && { renew: oneAtATime(renew) }),
    async dispose() {
      await host.dispose();
      current.gpu.dispose();
    },
  };
}

/** Callers that come while a call is under way share it. */
function oneAtATime(work: () => Promise<void>): () => Promise<void> {
  let under: Promise<void> | undefined;
  return () => {
    under ??= work().finally(() => {
      under = undefined;
    });
    return under;
  };
}

interface Bound {
  readonly gpu: GpuDevice;
  readonly executor: Executor;
  /** For what f16 is too coarse. */
  readonly f32: Executor;
  lost(): string | undefined;
}

/** The executors of an opened GPU, which is closed again when it cannot be used. */
async function bound(gpu: GpuDevice, dtype: DeviceReport['dtype']): Promise<Bound> {
  try {
    if (dtype === 'f16' && !hasF16(gpu))
      throw new UnsupportedError(`the GPU ${nameOf(gpu.adapter)} stores no f16 (feature shader-f16 is missing); choose f32`);
    const executor = await gpuExecutor(gpu, { dtype });
    const f32 = dtype === 'f32' ? executor : await gpuExecutor(gpu, { dtype: 'f32' });
    let lost: string | undefined;
    gpu.device.lost.then(({ reason, message }) => {
      lost = [reason, message.trim()].filter(Boolean).join(': ');
    });
    return { gpu, executor, f32, lost: () => lost };
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

const hasF16 = ({ adapter }: GpuDevice): boolean => adapter.features.has('shader-f16');

/** A GPU's name: its model, else what is said of it, else its maker and kind. */
const nameOf = ({ device, description, vendor, architecture }: AdapterReport): string =>
  device || description || [...new Set([vendor, architecture])].filter(Boolean).join(' ') || 'without a name';
