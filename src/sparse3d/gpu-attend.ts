// The ways to compute attention on a GPU, best first.
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { chooseVariant } from '../backend/webgpu/wgsl.ts';
import {
  type AttendCall,
  type AttendShape,
  type AttendVariant,
  attendHeader,
  dispatchTiles,
  lackingStorage,
  withRows,
} from './gpu-attend-call.ts';
import { matrixVariant } from './gpu-attend-matrix.ts';
import { subgroupsVariant } from './gpu-attend-subgroups.ts';
import type { Sparse3dKernels } from './kernels/index.ts';

const portableVariant: AttendVariant = {
  name: 'portable',
  lacking: lackingStorage,
  dispatch(device, kernels, call) {
    const { constants, ...header } = attendHeader(call);
    // Query rows a thread: as many as the registers hold beside the output. Values of 16 keys are staged at a time, or of 8.
    const [rows, valueKeys] = call.dim > 128 ? [4, 8] : [8, 16];
    const loads = { SCORE_LOADS: rows / 4 + 2, VALUE_LOADS: Math.ceil((valueKeys * call.dim) / 512) };
    const own = { ...constants, ...loads, ROWS: rows, FOURS: rows / 4, PARTS: Math.ceil(call.dim / 64), SLACK: '8.0' };
    dispatchTiles(device, withRows(device, [kernels.attend], kernels, own), { ...header, constants: own }, call, 8 * rows);
  },
};

/** Subgroup matrices, then subgroups, then any WebGPU. */
export const attendVariants: readonly AttendVariant[] = [matrixVariant, subgroupsVariant, portableVariant];

/** The variants in the order in which they are tried: without f16, sums in the type of storage win nothing, and any WebGPU is faster. */
export const attendVariantsFor = ({ dtype }: Pick<AttendShape, 'dtype'>): readonly AttendVariant[] =>
  dtype === 'f16' ? attendVariants : [matrixVariant, portableVariant, subgroupsVariant];

/** Computes one attention with the best variant, or the wanted one. @throws UnsupportedError when it cannot run here. */
export function attendOnGpu(device: GpuDevice, kernels: Sparse3dKernels, call: AttendCall, wanted?: string): void {
  const { variant } = chooseVariant<AttendShape, AttendVariant>(attendVariantsFor(call), device.adapter, call, wanted);
  variant.dispatch(device, kernels, call);
}
