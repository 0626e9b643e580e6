// Linear layers with subgroup matrices: which product is used, and how the work is split.
import { lackingMatrices, MATRIX_HEADER, productOf } from '../../backend/webgpu/matrices.ts';
import { unroll } from '../../backend/webgpu/unroll.ts';
import type { Capabilities, Kernel } from '../../backend/webgpu/wgsl.ts';
import { type MatmulKernels, type MatmulShape, type MatmulVariant, matmulLaunch } from './matmul-call.ts';

/** How a workgroup's work is split; matmul.matrix.wgsl explains it. */
export interface Tiling {
  /** Rows and outputs of a workgroup. */
  readonly tile: readonly [rows: number, outputs: number];
  /** Subgroups that share the rows, and that share the outputs. */
  readonly sides: readonly [rows: number, outputs: number];
  /** Inputs staged at a time. */
  readonly step: number;
  readonly buffers: 1 | 2;
  /** Parts of the staged rows that lie side by side. */
  readonly fold: number;
  /** Tiles of rows that go through the outputs together. */
  readonly band: number;
}

/** For large layers: two workgroups a core on an H100, 128 threads each. */
export const TILING: Tiling = { tile: [128, 128], sides: [2, 2], step: 32, buffers: 1, fold: 1, band: 16 };
/** For layers with so few of those tiles that cores would be idle. */
const SMALL_TILING: Tiling = { ...TILING, tile: [64, 64] };
const FEW_TILES = 256;

const [large, small] = [matrixWith(TILING), matrixWith(SMALL_TILING)];

/** Tensor cores through subgroup matrices. */
export const matrixVariant: MatmulVariant = {
  ...large,
  launch(device, kernels, call) {
    const tiles = Math.ceil(call.rows / TILING.tile[0]) * Math.ceil(call.outputs / TILING.tile[1]);
    return (tiles < FEW_TILES ? small : large).launch(device, kernels, call);
  },
};

/** The matrix variant with a tiling. */
export function matrixWith(tiling: Tiling): MatmulVariant {
  return {
    name: 'matrix',
    lacking: (capabilities, shape) => lacking(capabilities, shape, tiling),
    launch(device, kernels, call) {
      const { header, ...launch } = matmulLaunch(device, call, { cells: 'vec4u', wide: 8, lanes: 4 });
      const { constants, key } = device.cached(kernels, JSON.stringify(tiling), () => split(device.adapter, tiling));
      const whole = { ...header.constants, ...constants, RAGGED: call.inputs % tiling.step !== 0 };
      return {
        ...launch,
        kernel: device.cached(kernels, key, () => unrolled(kernels, constants)),
        header: {
          ...header,
          ...MATRIX_HEADER,
          constants: whole,
        },
        workgroups: [Math.ceil(call.outputs / tiling.tile[1]), Math.ceil(call.rows / tiling.tile[0])],
      };
    },
  };
}

type Constants = Readonly<Record<string, number>>;

function unrolled({ matmulMatrix: { name, body }, matmulFinish }: MatmulKernels, constants: Constants): Kernel {
  return { name, body: unroll(body, constants), shared: [matmulFinish] };
}

/** The header's constants of a tiling, and their text. @throws RangeError when parts of it do not fit each other. */
function split(capabilities: Capabilities, tiling: Tiling): { readonly constants: Constants; readonly key: string } {
  const { tile, sides, step, buffers, fold, band } = tiling;
  const { M, N, K } = productOf(capabilities)!;
  const [rowTiles, outputTiles] = [tile[0] / sides[0] / M, tile[1] / sides[1] / N];
  const parts = step / 8;
  const leap = (32 * sides[0] * sides[1]) / parts;
  const lines = (tile[0] + tile[1]) / fold;
  const whole = [rowTiles, outputTiles, step / K, 8 / parts, leap / 8, tile[0] / leap, tile[1] / leap, lines / leap];
  // A subgroup's rows and outputs lie in one part each.
  if (fold > 1) whole.push(lines / (rowTiles * M), lines / (outputTiles * N), tile[0] / (outputTiles * N));
  if (!whole.every(Number.isInteger))
    throw new RangeError(`a tiling that does not fit products of ${M}x${N}x${K}: ${JSON.stringify(tiling)}`);
  // As many sums side by side as there is room for where rows and weights were.
  const room = buffers * lines * (fold * parts + 1);
  const fits = (spread: number) => outputTiles % spread === 0 && sides[0] * sides[1] * M * ((spread * N) / 4 + 1) <= room;
  const spread = Array.from({ length: outputTiles }, (_, at) => outputTiles - at).find(fits) ?? 1;
  const constants = {
    ...{ M, N, K, TILE_ROWS: tile[0], TILE_OUTPUTS: tile[1], ROW_SIDES: sides[0], OUTPUT_SIDES: sides[1] },
    ...{ STEP: step, BUFFERS: buffers, FOLD: fold, BAND: band, ROW_TILES: rowTiles, OUTPUT_TILES: outputTiles },
    ...{ SUMS: rowTiles * outputTiles, DEPTH: step / K, ROW_LOADS: tile[0] / leap, LOADS: (tile[0] + tile[1]) / leap },
    ...{ SPREAD: spread, SPREADS: outputTiles / spread },
  };
  return { constants, key: JSON.stringify(constants) };
}

/** Bytes of workgroup memory of a tiling. */
export const bytesOfTiling = ({ tile, step, buffers, fold }: Tiling): number =>
  buffers * ((tile[0] + tile[1]) / fold) * ((fold * step) / 8 + 1) * 16;

function lacking(capabilities: Capabilities, { inputs, outputs, dtype }: MatmulShape, tiling: Tiling): string | undefined {
  return lackingMatrices(capabilities, dtype, bytesOfTiling(tiling), lackingSizes(inputs, outputs));
}

function lackingSizes(inputs: number, outputs: number): string | undefined {
  if (inputs % 8 !== 0) return `it takes a multiple of 8 inputs, not ${inputs}`;
  if (outputs % 4 !== 0) return `it takes a multiple of 4 outputs, not ${outputs}`;
  return undefined;
}
