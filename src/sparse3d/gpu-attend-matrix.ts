// Attention with subgroup matrices: which product is used, and how a workgroup's work is split in products.
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { lackingMatrices, MATRIX_HEADER, productOf } from '../backend/webgpu/matrices.ts';
import { unroll } from '../backend/webgpu/unroll.ts';
import type { Capabilities, Kernel } from '../backend/webgpu/wgsl.ts';
import { type AttendCall, type AttendShape, type AttendVariant, attendHeader, dispatchTiles } from './gpu-attend-call.ts';
import type { Sparse3dKernels } from './kernels/index.ts';

/** Keys at a time. */
const KEYS = 32;
/** Pairs of subgroups, with 32 query rows each, of a workgroup: of attend.matrix.wgsl, and of attend.matrix.wide.wgsl. */
const SIDES = 2;
const WIDE_SIDES = 4;
/** With fewer wide workgroups, cores of a large GPU would be idle. */
const FEW_TILES = 128;
const MEMORY = 32 * 1024;

/** Tensor cores through subgroup matrices. */
export const matrixVariant: AttendVariant = {
  name: 'matrix',
  lacking,
  dispatch(device, kernels, call) {
    const wide = fitsWide(device.adapter, call, WIDE_SIDES);
    (wide ? dispatchWide(WIDE_SIDES) : dispatchNarrow)(device, kernels, call);
  },
};

const dispatchNarrow: AttendVariant['dispatch'] = (device, kernels, call) =>
  launch(device, kernels.attendMatrix, kernels, call, split(device.adapter, call, SIDES), 32 * SIDES);

/** The wide kernel with so many pairs of subgroups. */
export const dispatchWide =
  (sides: number): AttendVariant['dispatch'] =>
  (device, kernels, call) =>
    launch(device, kernels.attendMatrixWide, kernels, call, { ...split(device.adapter, call, sides), ROW_SIDES: sides }, 32 * sides);

function launch(device: GpuDevice, main: Kernel, kernels: Sparse3dKernels, call: AttendCall, constants: Constants, rows: number): void {
  const header = attendHeader(call);
  const all = { ...header.constants, ...constants };
  const kernel = device.cached(main, JSON.stringify(all), () => {
    const [body, behind] = [main, kernels.attendMatrixRows].map((file) => ({ name: file.name, body: unroll(file.body, all) }));
    return { ...body, shared: [behind, kernels.attendPlan] };
  });
  dispatchTiles(device, kernel, { ...MATRIX_HEADER, alias: { ...header.alias, Cell: 'vec4u' }, constants: all }, call, rows);
}

type Constants = Readonly<Record<string, number>>;

/** How many products a subgroup has of each kind: two of them share the keys (of scores) or the dimensions (of the output) of 32 rows. */
function split(capabilities: Capabilities, { dim }: AttendCall, sides: number): Constants {
  const { M, N, K } = productOf(capabilities)!;
  const dims = wholeDims(dim);
  const [queryTiles, dimTiles] = [32 / M, dims / 2 / N];
  return {
    ...{ M, N, K, DIMS: dims, QUERY_TILES: queryTiles, DIM_TILES: dimTiles, OUTPUTS: queryTiles * dimTiles },
    ...{ DEPTH: dims / K, KEY_TILES: KEYS / 2 / N, KEYS_DEEP: KEYS / K, LOADS: (KEYS * dims) / 8 / (64 * sides) },
  };
}

const wholeDims = (dim: number): number => Math.ceil(dim / 32) * 32;

/**
 * Whether the wide kernel should serve a call: its rows are of one plan row, there is work for many cores, its threads share a tile's keys
 * evenly, and there is memory for it.
 */
function fitsWide({ limits }: Capabilities, { dim, heads, rows: { q }, plan, block }: AttendCall, sides: number): boolean {
  const [rows, threads, dims] = [32 * sides, 64 * sides, wholeDims(dim)];
  const staged = 2 * KEYS * (dims / 8 + 1);
  const perRow = KEYS / 4 + 1 + KEYS / 8 + 1;
  const bytes = 16 * (staged + rows * perRow) + 8 * 8 * KEYS + 4 * rows + 64;
  return (
    (!plan || block.q % rows === 0) &&
    heads * Math.ceil(q / rows) >= FEW_TILES &&
    ((KEYS * dims) / 8) % threads === 0 &&
    bytes <= limits.maxComputeWorkgroupStorageSize &&
    threads <= limits.maxComputeInvocationsPerWorkgroup
  );
}

function lacking(capabilities: Capabilities, { dim, dtype }: AttendShape): string | undefined {
  const fits = dim % 8 === 0 && dim >= 8 && dim <= 256;
  const own = fits ? undefined : `it takes a head dimension that is a multiple of 8 from 8 to 256, not ${dim}`;
  return lackingMatrices(capabilities, dtype, MEMORY, own);
}
