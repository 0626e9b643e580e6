// The matrix variants of the search without tensor cores: subgroup matrices are played by plain loops, so that the rest of the kernels (tiles,
// padding, sums, what is written where) is tested on any GPU. What real matrices do is tested where there are some, in gpu-score.test.ts.
import { describe, expect, test } from 'vitest';
import type { GpuDevice, GpuTensor } from '../../src/backend/webgpu/device.ts';
import { type Header, type Kernel, loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { searchGpuOps } from '../../src/search/gpu.ts';
import { searchKernels } from '../../src/search/kernels/index.ts';
import { sampledScoresReference } from '../../src/search/reference.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { toBlocked } from '../../src/sparse3d/permute.ts';
import { type Grid, type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, blockMassReference, rowsOf } from '../../src/sparse3d/reference.ts';
import { openedGpu } from '../gpu/device.ts';
import { halves } from '../gpu/halves.ts';
import { numbers } from '../sparse3d/cases.ts';

// A left or right matrix is where it lies, offset and stride; a lane keeps 8 elements of a result.
const PLAYED = `
var<private> lane: u32;
fn half(word: u32, odd: u32) -> f32 { let pair = unpack2x16float(word); return select(pair.x, pair.y, odd == 1u); }
fn product(left: vec2u, right: vec2u, sums: array<f32, 8>) -> array<f32, 8> {
  var result = sums;
  for (var at = 0u; at < 8u; at++) {
    let row = left.x + (8u * lane + at) / 16u * left.y;
    let key = right.x + (8u * lane + at) % 16u * right.y;
    for (var i = 0u; i < 16u; i++) {
      result[at] += half(q[(row + i) / 2u], (row + i) % 2u) * half(keys[key + i / 8u][i % 8u / 2u], i % 2u);
    }
  }
  return result;
}
fn store(offset: u32, value: array<f32, 8>, stride: u32) {
  var result = value;
  for (var at = 0u; at < 8u; at++) {
    let element = 8u * lane + at;
    scratch[offset + element / 16u * stride + element % 16u / 4u][element % 4u] = result[at];
  }
}
var<workgroup> lanes: array<f32, 128>;
fn sumOfLanes(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  lanes[thread] = value;
  workgroupBarrier();
  var sum = 0.0;
  for (var at = 0u; at < 32u; at++) { sum += lanes[thread / 32u * 32u + at]; }
  return sum;
}
`;

const played = ({ name, body }: Kernel): Kernel => ({
  name,
  body:
    body
      .replaceAll(' // unroll', '')
      .replace(/subgroup_matrix_(left|right)<f16, \w, \w>/g, 'vec2u')
      .replace('subgroup_matrix_result<f32, N, M>', 'array<f32, 8>')
      .replace('q: array<f16>', 'q: array<u32>')
      .replace(
        /@builtin\(subgroup_id\) part: u32,\s*@builtin\(subgroup_invocation_id\) lane: u32,\s*\) {/,
        ') { let part = thread / 32u; lane = thread % 32u;',
      )
      .replaceAll('Sum(0.0)', 'Sum()')
      .replaceAll('subgroupMatrixLoad<Left, row_major>(&q, ', 'vec2u(')
      .replaceAll('subgroupMatrixLoad<Right, col_major>(&keys, ', 'vec2u(')
      .replaceAll('subgroupMatrixMultiplyAccumulate(', 'product(')
      .replaceAll('subgroupMatrixStore<row_major>(&scratch, ', 'store(')
      .replaceAll('subgroupAdd(sum)', 'sumOfLanes(thread, sum)') + PLAYED,
});

/** A device that says it has matrices and f16, and plays what the kernels of the search do with them. */
function pretending(gpu: GpuDevice): GpuDevice {
  const { dispatch, adapter } = gpu;
  const listed = { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 };
  const features = new Set([...adapter.features, 'shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix', 'subgroup_id']);
  const plain = ({ constants }: Header): Header => ({ constants });
  return Object.assign(gpu, {
    adapter: { ...adapter, features, subgroupSizes: [32, 32], matrices: [listed] },
    dispatch: (launch: Parameters<GpuDevice['dispatch']>[0]) => dispatch({ ...launch, header: plain(launch.header) }),
  });
}

const small: Grid = { frames: 3, height: 5, width: 7, text: 0 };
const joint: Grid = { ...small, text: 13 };
const cases: readonly { readonly q: Layout; readonly k: Layout }[] = [
  ...[raster(64)(joint), tiles(4, 4, 2)(small)].map((layout) => ({ q: layout, k: layout })),
  { q: curve(64)(joint), k: raster(96)(joint) },
];

const opened = await openedGpu();

describe.skipIf(!opened)('matrix variants of the search', async () => {
  if (!opened) return;
  const gpu = pretending(opened);
  const { draw, ...files } = await loadKernels(searchKernels);
  const copied: Kernel = { ...draw, body: draw.body.replaceAll('vec4<Scalar>', 'vec2u') };
  const kernels = {
    ...files,
    draw: copied,
    blockMassMatrix: played(files.blockMassMatrix),
    blockPeakMatrix: played(files.blockPeakMatrix),
  };
  const ops = searchGpuOps(gpu, kernels, { score: 'matrix' });

  const [heads, dim] = [2, 32];
  const blocked = (raw: Float32Array, layout: Layout) => halves(gpu, toBlocked(raw, heads, dim, layout), [heads, layout.order.length, dim]);

  test.each(cases)('twins: $q.name by $k.name', async (layout) => {
    const tokens = tokensOf(layout.q.grid);
    const raw = [1, 2].map((seed) => numbers(heads * tokens * dim, seed).map((x) => Math.round(x * 32) / 32));
    const [qRows, kRows] = raw.map((x) => rowsOf(x, heads, dim));
    const [q, k] = [blocked(raw[0], layout.q), blocked(raw[1], layout.k)];
    const lse = qRows.map((rows, head) => attendAllReference(rows, kRows[head], kRows[head]).lse);
    const rowLse = gpu.upload(toBlocked(Float32Array.from(lse.flat()), heads, 1, layout.q), [heads, layout.q.order.length]);
    const mass = await gpu.read(gpuOf(ops.blockMass(q, k, rowLse, layout)));
    const twin = qRows.flatMap((rows, head) => blockMassReference(rows, kRows[head], lse[head], layout).flat());
    for (const [at, expected] of twin.entries()) expect(Math.abs(mass[at] - expected)).toBeLessThan(2e-5 * (1 + expected));
    for (const [by, sampling] of [
      [ops, { queries: 1 / 4, keys: 1 / 4, seed: 7 }],
      [searchGpuOps(gpu, kernels, { score: 'matrix', tableBytes: 4000 }), { queries: 0.3, keys: 1, seed: 8 }],
    ] as const) {
      const scores = await gpu.read(gpuOf(by.sampledScores(q, k, layout, sampling)));
      const sampled = qRows.flatMap((rows, head) => sampledScoresReference(rows, kRows[head], layout, sampling, head).flat());
      for (const [at, expected] of sampled.entries()) expect(Math.abs(scores[at] - expected)).toBeLessThan(1e-5);
    }
  });
});

const gpuOf = (tensor: unknown): GpuTensor => tensor as GpuTensor;
