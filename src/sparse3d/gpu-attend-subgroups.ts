// Attention with subgroups: how a workgroup's work is split among its threads, and what that takes of a GPU.
import type { GpuDevice } from '../backend/webgpu/device.ts';
import type { Capabilities } from '../backend/webgpu/wgsl.ts';
import {
  type AttendCall,
  type AttendShape,
  type AttendVariant,
  attendHeader,
  dispatchTiles,
  lackingStorage,
  withRows,
} from './gpu-attend-call.ts';
import type { Sparse3dKernels } from './kernels/index.ts';

/** How the work is split: query rows of a workgroup and of a thread, and whether queries and keys are staged as they are stored or as f32. */
export interface SubgroupsTile {
  readonly queries: number;
  readonly rows: number;
  readonly staged: 'stored' | 'f32';
}

const KEYS = 128;

export const subgroupsVariant = subgroupsVariantOf({ queries: 64, rows: 8, staged: 'f32' });

/** The variant with another tile, for measurements. */
export function subgroupsVariantOf(tile: SubgroupsTile): AttendVariant {
  return {
    name: 'subgroups',
    lacking: (capabilities, shape) => lacking(capabilities, shape, tile),
    dispatch: (device, kernels, call) => dispatch(device, kernels, call, tile),
  };
}

function dispatch(device: GpuDevice, kernels: Sparse3dKernels, call: AttendCall, tile: SubgroupsTile): void {
  const { enable = [], constants, alias, ...header } = attendHeader(call);
  const { queries, rows } = tile;
  const half = isHalf(call, tile);
  const threads = threadsOf(tile);
  const step = half ? 4 : 2;
  const own = {
    ...constants,
    ...{ QUERIES: queries, ROWS: rows, FOURS: rows / 4, PARTS: partsOf(call), STEP: step, LINE: half ? 16 : 8 },
    ...{ SCORE_LOADS: Math.ceil((step * (queries + KEYS)) / threads), VALUE_LOADS: Math.ceil(256 / threads) },
    ...{ SUBGROUP: device.adapter.subgroupSizes![0], SLACK: '0.0' },
  };
  const whole = { ...header, alias: { ...alias, Staged: half ? 'vec4<f16>' : 'vec4f' }, enable: [...enable, 'subgroups'] };
  const kernel = withRows(device, [kernels.attendSubgroups, kernels.attendSubgroupsRows, kernels.subgroupOf], kernels, own);
  dispatchTiles(device, kernel, { ...whole, off: ['subgroup_uniformity'], constants: own }, call, queries);
}

const isHalf = ({ dtype }: AttendShape, { staged }: SubgroupsTile): boolean => dtype === 'f16' && staged === 'stored';
const threadsOf = ({ queries, rows }: SubgroupsTile): number => (16 * queries) / rows;
const partsOf = ({ dim }: AttendShape): number => Math.ceil(dim / 64);

function lacking(capabilities: Capabilities, shape: AttendShape, tile: SubgroupsTile): string | undefined {
  const { features, limits, subgroupSizes: [smallest, largest] = [0, 0] } = capabilities;
  if (!features.has('subgroups')) return 'this GPU has no subgroups (feature subgroups)';
  if (smallest === 0 || smallest !== largest)
    return `it needs subgroups of one size, and here they have from ${smallest} to ${largest} lanes`;
  const [bytes, most] = [bytesOf(shape, tile), limits.maxComputeWorkgroupStorageSize];
  if (most < bytes) return `it needs ${bytes} bytes of workgroup memory, and this GPU gives ${most}`;
  if (shape.dim > 128) return `it takes a head dimension up to 128, not ${shape.dim}`;
  return lackingStorage(capabilities, shape);
}

/** Workgroup memory: two buffers of staged queries and keys, weights and values of 16 keys, rows and biases of two tiles of keys, two words. */
function bytesOf(shape: AttendShape, { queries, rows }: SubgroupsTile): number {
  const vector = shape.dtype === 'f16' ? 8 : 16;
  return 64 * (queries + KEYS) + 16 * vector * ((queries / rows + 1) * (rows / 4) + 16 * partsOf(shape)) + 16 * KEYS + 32;
}
