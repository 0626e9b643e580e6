// The suites of a GPU: every storage with the variants that are best here, then every variant by name.
import type { Backend } from '../backend/backend.ts';
import { type GpuVariants, webgpuBackend } from '../backend/webgpu/backend.ts';
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { massVariants, peakVariants } from '../search/gpu-product.ts';
import { attendVariants } from '../sparse3d/gpu-attend.ts';
import { attentionChecks } from './attention.ts';
import type { Check, Size } from './check.ts';
import { fullSizeChecks } from './full-size.ts';
import { conformance } from './index.ts';
import type { Storage } from './inputs.ts';
import { scoreChecks } from './search.ts';

/** Checks that run on one backend. */
export interface Suite {
  readonly name: string;
  readonly ops: Backend;
  readonly checks: readonly Check[];
}

const STORAGES: readonly Storage[] = ['f16', 'f32'];

/** Everything there is to check on a WebGPU device, of these sizes. */
export async function gpuSuites(device: GpuDevice, sizes: readonly Size[]): Promise<readonly Suite[]> {
  const ops = await webgpuBackend(device);
  const best = STORAGES.map((storage) => ({ name: storage, ops, checks: conformance(storage, sizes) }));
  return [...best, ...(await variantSuites(device, sizes))];
}

/** The checks of kernels that there are several of, for each by its name. One that cannot run here is skipped check by check. */
export async function variantSuites(device: GpuDevice, sizes: readonly Size[]): Promise<readonly Suite[]> {
  const scores = [...new Set([...massVariants, ...peakVariants].map(({ name }) => name))];
  const of = (kernel: keyof GpuVariants, name: string, checks: (storage: Storage) => readonly Check[]) =>
    STORAGES.map(async (storage) => ({
      name: `${kernel} ${name}, ${storage}`,
      ops: await webgpuBackend(device, { [kernel]: name }),
      checks: [...checks(storage), ...fullSizeChecks(storage)].filter((check) => sizes.includes(check.size) && concerns(kernel, check)),
    }));
  return Promise.all([
    ...attendVariants.flatMap(({ name }) => of('attend', name, attentionChecks)),
    ...scores.flatMap((name) => of('score', name, scoreChecks)),
  ]);
}

const concerns = (kernel: keyof GpuVariants, { name }: Check): boolean =>
  (kernel === 'attend' ? /^attend/ : /^(blockMass|sampled)/).test(name);
