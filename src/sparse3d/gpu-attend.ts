// The ways to compute attention on a GPU, best first.
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { unroll } from '../backend/webgpu/unroll.ts';
import { type Capabilities, chooseVariant, type Kernel } from '../backend/webgpu/wgsl.ts';
import { type AttendCall, type AttendShape, type AttendVariant, attendHeader, dispatchTiles, withPlan } from './gpu-attend-call.ts';
import { matrixVariant } from './gpu-attend-matrix.ts';
import type { Sparse3dKernels } from './kernels/index.ts';

const subgroupsVariant: AttendVariant = {
  name: 'subgroups',
  lacking: lackingSubgroups,
  dispatch(device, kernels, call) {
    const { enable = [], constants, ...header } = attendHeader(call);
    const counts = { ROWS: 8, FOURS: 2, PARTS: Math.ceil(call.dim / 64), SCORE_LOADS: 3, VALUE_LOADS: 2 };
    const own = { ...constants, ...counts, SUBGROUP: device.adapter.subgroupSizes![0], SLACK: '0.0' };
    const whole = { ...header, enable: [...enable, 'subgroups'], off: ['subgroup_uniformity'], constants: own };
    dispatchTiles(device, withRows(device, kernels.attendSubgroups, kernels, own), whole, call, 64);
  },
};

const portableVariant: AttendVariant = {
  name: 'portable',
  lacking: lackingStorage,
  dispatch(device, kernels, call) {
    const { constants, ...header } = attendHeader(call);
    // Query rows a thread: as many as the registers hold beside the output. Values of 16 keys are staged at a time, or of 8.
    const [rows, valueKeys] = call.dim > 128 ? [4, 8] : [8, 16];
    const loads = { SCORE_LOADS: rows / 4 + 2, VALUE_LOADS: Math.ceil((valueKeys * call.dim) / 512) };
    const own = { ...constants, ...loads, ROWS: rows, FOURS: rows / 4, PARTS: Math.ceil(call.dim / 64), SLACK: '8.0' };
    dispatchTiles(device, withRows(device, kernels.attend, kernels, own), { ...header, constants: own }, call, 8 * rows);
  },
};

type Constants = Parameters<typeof unroll>[1];

/** A kernel with what the variants without matrices share behind it. A software adapter compiles loops faster, and has no registers to lose. */
function withRows(device: GpuDevice, { name, body }: Kernel, kernels: Sparse3dKernels, constants: Constants): Kernel {
  const text = (part: string) => (device.adapter.software ? part : unroll(part, constants));
  return device.cached(kernels, JSON.stringify([name, constants]), () =>
    withPlan({ name, body: text(body) + text(kernels.attendRows.body) }, kernels),
  );
}

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
  const bytes = shape.dtype === 'f16' ? 20_736 : 27_136;
  const most = limits.maxComputeWorkgroupStorageSize;
  if (most < bytes) return `it needs ${bytes} bytes of workgroup memory, and this GPU gives ${most}`;
  if (shape.dim > 128) return `it takes a head dimension up to 128, not ${shape.dim}`;
  return lackingStorage(capabilities, shape);
}
