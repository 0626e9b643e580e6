// The ways to compute attention on a GPU, best first.
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { type Capabilities, chooseVariant, type Kernel } from '../backend/webgpu/wgsl.ts';
import { type AttendCall, type AttendShape, type AttendVariant, attendHeader, dispatchTiles, withPlan } from './gpu-attend-call.ts';
import { matrixVariant } from './gpu-attend-matrix.ts';
import type { Sparse3dKernels } from './kernels/index.ts';

const subgroupsVariant: AttendVariant = {
  name: 'subgroups',
  lacking: lackingSubgroups,
  dispatch(device, kernels, call) {
    const { enable = [], constants, ...header } = attendHeader(call);
    // What is staged at a time; f32 takes twice the memory.
    const [step, valueKeys] = call.dtype === 'f16' ? [4, 32] : [2, 16];
    const own = { SUBGROUP: device.adapter.subgroupSizes![0], STEP: step, VALUE_KEYS: valueKeys, SLACK: '0.0' };
    const whole = { ...header, enable: [...enable, 'subgroups'], off: ['subgroup_uniformity'], constants: { ...constants, ...own } };
    dispatchTiles(device, withRows(kernels.attendSubgroups, kernels), whole, call, 64);
  },
};

const portableVariant: AttendVariant = {
  name: 'portable',
  lacking: lackingStorage,
  dispatch(device, kernels, call) {
    const { constants, ...header } = attendHeader(call);
    // Query rows a thread: as many as the registers hold beside the output.
    const rows = call.dim > 128 ? 4 : 8;
    dispatchTiles(
      device,
      withRows(kernels.attend, kernels),
      { ...header, constants: { ...constants, ROWS: rows, SLACK: '8.0' } },
      call,
      8 * rows,
    );
  },
};

/** A kernel with what the variants without matrices share behind it. */
const withRows = ({ name, body }: Kernel, kernels: Sparse3dKernels): Kernel =>
  withPlan({ name, body: body + kernels.attendRows.body }, kernels);

/** Subgroup matrices, then subgroups, then any WebGPU. */
export const attendVariants: readonly AttendVariant[] = [matrixVariant, subgroupsVariant, portableVariant];

/** Computes one attention with the best variant, or the wanted one. @throws UnsupportedError when it cannot run here. */
export function attendOnGpu(device: GpuDevice, kernels: Sparse3dKernels, call: AttendCall, wanted?: string): void {
  chooseVariant<AttendShape, AttendVariant>(attendVariants, device.adapter, call, wanted).variant.dispatch(device, kernels, call);
}

function lackingStorage({ features }: Capabilities, { dim, dtype }: AttendShape): string | undefined {
  if (dim % 8 !== 0 || dim < 8 || dim > 256) return `it takes a head dimension that is a multiple of 8 from 8 to 256, not ${dim}`;
  if (dtype === 'f16' && !features.has('shader-f16')) return 'this GPU has no f16 (feature shader-f16)';
  return undefined;
}

function lackingSubgroups(capabilities: Capabilities, shape: AttendShape): string | undefined {
  const { features, limits, subgroupSizes: [smallest, largest] = [0, 0] } = capabilities;
  if (!features.has('subgroups')) return 'this GPU has no subgroups (feature subgroups)';
  if (smallest === 0 || smallest !== largest)
    return `it needs subgroups of one size, and here they have from ${smallest} to ${largest} lanes`;
  const bytes = shape.dtype === 'f16' ? 39_424 : 27_136;
  const most = limits.maxComputeWorkgroupStorageSize;
  if (most < bytes) return `it needs ${bytes} bytes of workgroup memory, and this GPU gives ${most}`;
  if (shape.dim > 128) return `it takes a head dimension up to 128, not ${shape.dim}`;
  return lackingStorage(capabilities, shape);
}
