// The suites of a GPU: every storage with the variants that are best here, then every variant by name.
import type { Backend } from '../backend/backend.ts';
import { type GpuVariants, webgpuBackend } from '../backend/webgpu/backend.ts';
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { massVariants, peakVariants } from '../search/gpu-product.ts';
import { attendVariants } from '../sparse3d/gpu-attend.ts';
import type { Check, Size } from './check.ts';
import { conformance } from './index.ts';
import type { Storage } from './inputs.ts';

/** Checks that run on one backend. */
export interface Suite {
  readonly name: string;
  readonly ops: Backend;
  readonly checks: readonly Check[];
}

const STORAGES: readonly Storage[] = ['f16', 'f32'];

/** The checks of each storage; suites share them, so that each f64 result is computed once. */
type Checks = Readonly<Record<Storage, readonly Check[]>>;
const checksOf = (sizes: readonly Size[]): Checks => ({ f16: conformance('f16', sizes), f32: conformance('f32', sizes) });

/** Everything there is to check on a WebGPU device, of these sizes. */
export async function gpuSuites(device: GpuDevice, sizes: readonly Size[]): Promise<readonly Suite[]> {
  const ops = await webgpuBackend(device);
  const checks = checksOf(sizes);
  return [...STORAGES.map((storage) => ({ name: storage, ops, checks: checks[storage] })), ...(await suitesOfVariants(device, checks))];
}

/** The checks of kernels that there are several of, for each by its name. One that cannot run here is skipped check by check. */
export const variantSuites = (device: GpuDevice, sizes: readonly Size[]): Promise<readonly Suite[]> =>
  suitesOfVariants(device, checksOf(sizes));

async function suitesOfVariants(device: GpuDevice, checks: Checks): Promise<readonly Suite[]> {
  const scores = new Set([...massVariants, ...peakVariants].map(({ name }) => name));
  const of = (kernel: keyof GpuVariants, name: string, concerns: RegExp) =>
    STORAGES.map(async (storage) => ({
      name: `${kernel} ${name}, ${storage}`,
      ops: await webgpuBackend(device, { [kernel]: name }),
      checks: checks[storage].filter((check) => concerns.test(check.name)),
    }));
  return Promise.all([
    ...attendVariants.flatMap(({ name }) => of('attend', name, /^attend/)),
    ...[...scores].flatMap((name) => of('score', name, /^(blockMass|blockPeaks|sampledScores)/)),
  ]);
}
