// Tilings of the matrix kernel of linear layers that are worth a run on a GPU, by name: tile, subgroups, step, buffers, fold.
import { TILING, type Tiling } from '../src/dit/webgpu/matmul-matrix.ts';

const tiling = (name: string): Tiling => {
  const [tile, sides, step, buffers, fold] = name.split(' ').map((part) => part.replace(/^\D/, '').split('x').map(Number));
  return {
    ...TILING,
    tile: tile as [number, number],
    sides: sides as [number, number],
    step: step[0],
    buffers: buffers[0] as 1 | 2,
    fold: fold[0],
  };
};

const NAMES = [
  '128x128 2x2 k32 b1 f1', // 20 KiB, two workgroups a core
  '128x128 2x2 k32 b1 f2', // 18 KiB
  '128x128 2x2 k16 b2 f1', // 24 KiB, one barrier a step
  '128x128 2x2 k16 b2 f2', // 20 KiB
  '128x128 2x2 k16 b1 f2', // 10 KiB: as many workgroups as registers allow
  '128x128 2x4 k32 b1 f1', // twice the warps, half the sums
  '128x128 4x2 k32 b1 f1',
  '128x128 2x4 k16 b2 f2',
  '128x128 2x2 k64 b1 f1', // 36 KiB, one workgroup a core
  '128x128 2x4 k64 b1 f1',
  '128x128 2x4 k32 b2 f2', // 36 KiB, one workgroup of eight warps, one barrier a step
  '128x64 2x1 k32 b1 f1', // 15 KiB, three workgroups a core
  '128x64 2x2 k32 b1 f1',
  '128x64 2x1 k16 b2 f1', // 18 KiB
  '256x128 4x2 k32 b1 f1', // 30 KiB, one workgroup of eight warps
  '128x256 2x4 k32 b1 f1',
  '256x128 4x2 k16 b2 f3', // 28 KiB
  '128x256 2x4 k16 b2 f3',
  '64x128 2x2 k32 b1 f1', // for few rows or outputs
  '64x64 2x2 k32 b1 f1',
  '64x64 2x2 k64 b1 f1',
  '128x192 2x2 k16 b1 f1', // 15 KiB, 192 registers of sums
  '128x256 4x4 k32 b1 f1', // sixteen warps
];

/** Those, and other bands of the first. */
export const tilings: ReadonlyMap<string, Tiling> = new Map<string, Tiling>([
  ...NAMES.map((name) => [name, tiling(name)] as const),
  ...[1, 4, 16, 32].map((band) => [`${NAMES[0]} band ${band}`, { ...tiling(NAMES[0]), band }] as const),
]);
