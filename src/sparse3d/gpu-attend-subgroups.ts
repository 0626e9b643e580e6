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

/** Query rows of a workgroup and of a thread, and keys at a time. */
const [QUERIES, ROWS, KEYS] = [64, 8, 128];
const THREADS = (16 * QUERIES) / ROWS;

/** Row maxima from subgroups, and sums in the type of storage. */
export const subgroupsVariant: AttendVariant = { name: 'subgroups', lacking, dispatch };

function dispatch(device: GpuDevice, kernels: Sparse3dKernels, call: AttendCall): void {
  const { enable = [], constants, alias, ...header } = attendHeader(call);
  // Vectors of a row of queries or keys that are staged at a time: as many bytes in f16 as in f32.
  const step = call.dtype === 'f16' ? 4 : 2;
  const own = {
    ...constants,
    ...{ QUERIES, ROWS, FOURS: ROWS / 4, PARTS: partsOf(call), STEP: step, LINE: 4 * step },
    ...{ SCORE_LOADS: Math.ceil((step * (QUERIES + KEYS)) / THREADS), VALUE_LOADS: Math.ceil(256 / THREADS) },
    ...{ SUBGROUP: device.adapter.subgroupSizes![0], SLACK: '0.0' },
  };
  const kernel = withRows(device, [kernels.attendSubgroups, kernels.attendSubgroupsRows, kernels.subgroupOf], kernels, own);
  const whole = { ...header, alias: { ...alias, Staged: `vec4<${call.dtype}>` }, enable: [...enable, 'subgroups'] };
  dispatchTiles(device, kernel, { ...whole, off: ['subgroup_uniformity'], constants: own }, call, QUERIES);
}

const partsOf = ({ dim }: AttendShape): number => Math.ceil(dim / 64);

function lacking(capabilities: Capabilities, shape: AttendShape): string | undefined {
  const { features, limits, subgroupSizes: [smallest, largest] = [0, 0] } = capabilities;
  if (!features.has('subgroups')) return 'this GPU has no subgroups (feature subgroups)';
  if (smallest === 0 || smallest !== largest)
    return `it needs subgroups of one size, and here they have from ${smallest} to ${largest} lanes`;
  const [bytes, most] = [bytesOf(shape), limits.maxComputeWorkgroupStorageSize];
  if (most < bytes) return `it needs ${bytes} bytes of workgroup memory, and this GPU gives ${most}`;
  if (shape.dim > 128) return `it takes a head dimension up to 128, not ${shape.dim}`;
  return lackingStorage(capabilities, shape);
}

/** Workgroup memory: two buffers of staged queries and keys, weights and values of 16 keys, rows and biases of two tiles of keys, two words. */
function bytesOf(shape: AttendShape): number {
  const vector = shape.dtype === 'f16' ? 8 : 16;
  return 64 * (QUERIES + KEYS) + 16 * vector * ((QUERIES / ROWS + 1) * (ROWS / 4) + 16 * partsOf(shape)) + 16 * KEYS + 32;
}
