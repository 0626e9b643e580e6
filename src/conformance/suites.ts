// The suites of a GPU: every storage with the variants that are best here, then every variant by name.
import type { Backend } from '../backend/backend.ts';
import { webgpuBackend } from '../backend/webgpu/backend.ts';
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { massVariants, peakVariants } from '../search/gpu-score.ts';
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

const STORAGES: readonly Storage[] = ['f32', 'f16'];
const scoreVariants = [...new Set([...massVariants, ...peakVariants].map(({ name }) => name))];

/** Everything there is to check on a WebGPU device, of these sizes. A variant that cannot run here is skipped check by check. */
export async function gpuSuites(device: GpuDevice, sizes: readonly Size[]): Promise<readonly Suite[]> {
  const suites: Suite[] = [];
  const add = (name: string, ops: Backend, checks: readonly Check[]) =>
    suites.push({ name, ops, checks: checks.filter(({ size }) => sizes.includes(size)) });
  for (const storage of STORAGES) {
    const attention = [...attentionChecks(storage), ...fullSizeChecks(storage).filter(({ name }) => name.startsWith('attend'))];
    const scores = [...scoreChecks(storage), ...fullSizeChecks(storage).filter(({ name }) => name.startsWith('blockMass'))];
    add(storage, await webgpuBackend(device), conformance(storage, sizes));
    for (const { name } of attendVariants) add(`${storage}, attend ${name}`, await webgpuBackend(device, { attend: name }), attention);
    for (const name of scoreVariants) add(`${storage}, score ${name}`, await webgpuBackend(device, { score: name }), scores);
  }
  return suites.filter(({ checks }) => checks.length > 0);
}
