// What fixtures run on: transformers, samplers and VAEs on the CPU or a GPU; tokenizers and text encoders on the host either way.
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import type { RuntimeChoice } from '../../src/backend/runtime.ts';
import { type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';
import type { Executor } from '../../src/dit/executor.ts';
import { cpuExecutor } from '../../src/dit/onnx/executor.ts';
import { gpuExecutor } from '../../src/dit/webgpu/executor.ts';
import type { Storage } from '../../src/dit/webgpu/steps.ts';
import { UnsupportedError } from '../../src/errors.ts';
import { type DecoderPlace, gpuPlace, runtimePlace } from '../../src/vae/place.ts';
import { TOLERANCE } from './fixture.ts';

export interface Target {
  /** For a heading, e.g. "webgpu f16 (nvidia ampere)". */
  readonly name: string;
  readonly executor: Executor;
  /** Where decoders run: in f32. */
  readonly decoding: DecoderPlace;
  /** Largest differences that one forward and a loop over forwards may have, as shares of the largest output. */
  readonly tolerance: { readonly forward: number; readonly loop: number };
  /** ONNX Runtime, opened when something first needs it. */
  cpu(): Promise<CpuDevice>;
  dispose(): Promise<void>;
}

/** Everything on ONNX Runtime. */
export async function cpuTarget(choice?: RuntimeChoice): Promise<Target> {
  const device = await openCpu(choice);
  const { name, version } = device.runtime;
  return {
    name: `${name} ${version}`,
    executor: cpuExecutor(device),
    decoding: runtimePlace(device),
    tolerance: TOLERANCE,
    cpu: async () => device,
    dispose: () => device.dispose(),
  };
}

/** Sums of a GPU come in another order than the reference's; f16 keeps 11 bits of each stored number. */
const SHARE: Readonly<Record<Storage, number>> = { f32: 1e-4, f16: 1e-2 };

/** Transformers, samplers and decoders on a GPU, which stays the caller's to dispose. @throws UnsupportedError for f16 where the GPU has none. */
export async function gpuTarget(gpu: GpuDevice, dtype: Storage, choice?: RuntimeChoice): Promise<Target> {
  const adapter = adapterOf(gpu);
  if (dtype === 'f16' && !gpu.adapter.features.has('shader-f16'))
    throw new UnsupportedError(`${adapter} stores no f16 (feature shader-f16 is missing); ask for --dtype f32`);
  let opened: Promise<CpuDevice> | undefined;
  const own = { gpu, f32: await gpuExecutor(gpu, { dtype: 'f32' }) };
  return {
    name: `webgpu ${dtype} (${adapter})`,
    executor: await gpuExecutor(gpu, { dtype }),
    decoding: gpuPlace(() => own),
    tolerance: { forward: SHARE[dtype], loop: SHARE[dtype] },
    cpu: () => (opened ??= openCpu(choice)),
    // One that could not be opened has been told of, and leaves nothing.
    dispose: async () => (await opened?.catch(() => undefined))?.dispose(),
  };
}

/** What opens a GPU as a target: in the storage asked for, or in each that it has. @throws UnsupportedError where there is no GPU. */
export async function gpuTargets(dtype: Storage | undefined, choice?: RuntimeChoice): Promise<(() => Promise<Target>)[]> {
  const found = await openWebgpu();
  const all: readonly Storage[] = found.adapter.features.has('shader-f16') ? ['f32', 'f16'] : ['f32'];
  found.dispose();
  return (dtype ? [dtype] : all).map((one) => () => openGpuTarget(one, choice));
}

async function openGpuTarget(dtype: Storage, choice?: RuntimeChoice): Promise<Target> {
  const gpu = await openWebgpu();
  try {
    const target = await gpuTarget(gpu, dtype, choice);
    return { ...target, dispose: () => target.dispose().finally(() => gpu.dispose()) };
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

function adapterOf({ adapter: { vendor, architecture, description, software } }: GpuDevice): string {
  return [vendor, architecture, description, software && 'software'].filter(Boolean).join(' ');
}
