// The matrix variant of attention without tensor cores: subgroup matrices are played by plain loops, so that the rest of the kernel (which keys
// a tile reads, padding, softmax, what is rescaled and written) is tested on any GPU. Real matrices are tested where there are some, in gpu.test.ts.
import { describe, expect, test } from 'vitest';
import type { Dispatch, GpuTensor } from '../../src/backend/webgpu/device.ts';
import { type Kernel, loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import type { AttendCall } from '../../src/sparse3d/gpu-attend-call.ts';
import { dispatchWide, matrixVariant } from '../../src/sparse3d/gpu-attend-matrix.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { toBlocked, toRaster } from '../../src/sparse3d/permute.ts';
import { type Grid, type Layout, tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, attendReference, planRows, rowsOf } from '../../src/sparse3d/reference.ts';
import { openedGpu } from '../gpu/device.ts';
import { halves } from '../gpu/halves.ts';
import { numbers, randomPlan, relativeError } from './cases.ts';

// A lane makes half a row of a sum, so it keeps that row of a left matrix; of a right matrix it knows offset, stride and whether columns lie in rows.
const PLAYED = `
var<private> player: u32;
fn number(words: vec4u, at: u32) -> f32 { let pair = unpack2x16float(words[at / 2u]); return select(pair.x, pair.y, at % 2u == 1u); }
`;
/** What loads and multiplies the matrices of one variable. */
const loaded = (name: string) => `
fn leftOf_${name}(offset: u32, stride: u32) -> array<f32, 16> {
  var result: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { result[i] = number(${name}[offset + player / 2u * stride + i / 8u], i % 8u); }
  return result;
}
fn productWith_${name}(left: array<f32, 16>, right: vec3u, sums: array<f32, 8>) -> array<f32, 8> {
  var row = left;
  var result = sums;
  for (var at = 0u; at < 8u; at++) {
    let column = (8u * player + at) % 16u;
    for (var i = 0u; i < 16u; i++) {
      let cell = right.x * 8u + select(i * right.y * 8u + column, column * right.y * 8u + i, right.z == 1u);
      result[at] += row[i] * number(${name}[cell / 8u], cell % 8u);
    }
  }
  return result;
}
`;
/** What stores sums in a variable and loads them again. */
const summed = (name: string, bits: boolean) => `
fn storeTo_${name}(offset: u32, value: array<f32, 8>, stride: u32) {
  var result = value;
  for (var at = 0u; at < 8u; at++) {
    let element = 8u * player + at;
    ${name}[offset + element / 16u * stride + element % 16u / 4u][element % 4u] = ${bits ? 'bitcast<u32>(result[at])' : 'result[at]'};
  }
}
fn sumOf_${name}(offset: u32, stride: u32) -> array<f32, 8> {
  var result: array<f32, 8>;
  for (var at = 0u; at < 8u; at++) {
    let element = 8u * player + at;
    result[at] = bitcast<f32>(${name}[offset + element / 16u * stride + element % 16u / 4u][element % 4u]);
  }
  return result;
}
`;
const LANES = `
var<workgroup> lanes: array<f32, 128>;
fn neighbour(value: f32) -> f32 {
  workgroupBarrier();
  lanes[playing] = value;
  workgroupBarrier();
  return lanes[playing ^ 1u];
}
var<private> playing: u32;
`;

function played({ name, body }: Kernel): Kernel {
  const replaced = body
    .replaceAll(' // unroll', '')
    .replace('subgroup_matrix_left<f16, K, M>', 'array<f32, 16>')
    .replace('subgroup_matrix_right<f16, N, K>', 'vec3u')
    .replace('subgroup_matrix_result<f32, N, M>', 'array<f32, 8>')
    .replace(
      /@builtin\(subgroup_id\) subgroup: u32,\s*@builtin\(subgroup_invocation_id\) lane: u32/,
      '@builtin(local_invocation_index) thread: u32',
    )
    .replace('let thread = subgroup * 32 + lane;', 'let subgroup = thread / 32; let lane = thread % 32; player = lane; playing = thread;')
    .replaceAll('Sum(0.0)', 'Sum()')
    .replaceAll(/subgroupMatrixLoad<Left, row_major>\(&(\w+), /g, 'leftOf_$1(')
    .replaceAll(/subgroupMatrixLoad<Sum, row_major>\(&(\w+), /g, 'sumOf_$1(')
    .replaceAll(
      /let right = subgroupMatrixLoad<Right, (col|row)_major>\(&(\w+), (.*), STRIDE\)([\s\S]*?)subgroupMatrixMultiplyAccumulate\(/g,
      (_, way, name, offset, between) => `let right = vec3u(${offset}, STRIDE, ${way === 'col' ? 1 : 0})${between}productWith_${name}(`,
    )
    .replaceAll(/subgroupMatrixStore<row_major>\(&(\w+), /g, 'storeTo_$1(')
    .replaceAll(/subgroupShuffleXor\(([\w.]+), 1\)/g, 'neighbour($1)')
    .replaceAll('vec4h(', 'vec4f(');
  expect(replaced).not.toMatch(/subgroup[MS]|subgroup_/);
  return { name, body: replaced };
}

/** A kernel with what plays the matrices of its variables: those of f16 numbers, and those of sums (whether these are bits in words). */
function withPlayers(kernel: Kernel, pairs: readonly string[], sums: Readonly<Record<string, boolean>>): Kernel {
  const { name, body } = played(kernel);
  const players = [...pairs.map(loaded), ...Object.entries(sums).map(([variable, bits]) => summed(variable, bits))];
  return { name, body: body + PLAYED + players.join('') + LANES };
}

const opened = await openedGpu();
const files = await loadKernels(sparse3dKernels);

describe.skipIf(!opened)('matrix variant of attention', () => {
  const gpu = opened!;
  const kernels = {
    ...files,
    attendMatrix: withPlayers(files.attendMatrix, ['pairs', 'scores'], { pairs: true, scores: true, scratch: false }),
    attendMatrixWide: withPlayers(files.attendMatrixWide, ['keyRows', 'valueRows', 'weightRows'], { scores: true }),
    attendMatrixRows: played(files.attendMatrixRows),
  };
  // It says that it has matrices, and compiles what plays them.
  const { adapter, dispatch } = gpu ?? {};
  Object.assign(gpu ?? {}, {
    adapter: { ...adapter, matrices: [{ componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 }] },
    dispatch: (launch: Dispatch) =>
      dispatch!({ ...launch, header: { alias: { Scalar: 'f32', Cell: 'vec4u' }, constants: launch.header.constants } }),
  });

  /** Numbers that f16 holds. */
  const rounded = (length: number, seed: number) => numbers(length, seed).map((x) => Math.round(x * 32) / 32);
  /** Twice the rows attend to rows whose keys grow along the sequence, so that outputs are rescaled again and again. */
  const growing = (x: Float32Array, dim: number, tokens: number) =>
    x.map((value, at) => value * (1 + Math.floor((6 * (Math.floor(at / dim) % tokens)) / tokens)));

  const ways = { narrow: matrixVariant.dispatch, wide: dispatchWide(2) }; // as wide as a software GPU has memory for
  async function attend(call: Omit<AttendCall, 'out' | 'lse' | 'dtype'>, way: keyof typeof ways) {
    const [out, lse] = [gpu.tensor([call.heads, call.rows.q, call.dim], 'f32'), gpu.tensor([call.heads, call.rows.q], 'f32')];
    ways[way](gpu, kernels, { ...call, dtype: 'f16', out, lse });
    return { out: (await gpu.read(out)) as Float32Array, lse: (await gpu.read(lse)) as Float32Array };
  }

  const close = (actual: { out: Float32Array; lse: Float32Array }, expected: { out: number[]; lse: number[] }) => {
    expect(relativeError(actual.lse, expected.lse)).toBeLessThan(2e-5);
    expect(relativeError(actual.out, expected.out)).toBeLessThan(2e-3); // weights are f16
  };

  test.each([
    ['narrow', 2, 70, 130, 24, false],
    ['narrow', 1, 5, 600, 32, true],
    ['wide', 2, 70, 130, 24, false],
    ['wide', 1, 5, 600, 32, true],
  ] as const)('dense, %s: %i heads, %i queries, %i keys, dim %i', async (way, heads, queries, keys, dim, grows) => {
    const [q, raw, v] = [rounded(heads * queries * dim, 1), rounded(heads * keys * dim, 2), rounded(heads * keys * dim, 3)];
    const k = grows ? growing(raw, dim, keys) : raw;
    const rows = { q: queries, k: keys };
    const actual = await attend(
      {
        ...{ heads, dim, rows, block: { q: 1, k: 1 }, blocks: rows, levels: [{ pool: 1, base: 0 }] },
        ...{ q: halves(gpu, q, [heads, queries, dim]), k: halves(gpu, k, [heads, keys, dim]), v: halves(gpu, v, [heads, keys, dim]) },
      },
      way,
    );
    const [qs, ks, vs] = [q, k, v].map((x) => rowsOf(x, heads, dim));
    const twins = qs.map((rows, head) => attendAllReference(rows, ks[head], vs[head]));
    close(actual, { out: twins.flatMap(({ out }) => out.flat()), lse: twins.flatMap(({ lse }) => lse) });
  });

  test.each(['narrow', 'wide'] as const)('dense, %s: rows without a token are not read, and zero in the result', async (way) => {
    const [heads, dim, rows, real] = [2, 24, 140, 130];
    const given = [1, 2, 3].map((seed) => rounded(heads * rows * dim, seed));
    const [q, k, v] = given.map((x) => halves(gpu, x, [heads, rows, dim]));
    const sizes = { rows: { q: rows, k: rows }, block: { q: 1, k: 1 }, blocks: { q: real, k: real } };
    const actual = await attend({ heads, dim, ...sizes, levels: [{ pool: 1, base: 0 }], q, k, v }, way);
    const [qs, ks, vs] = given.map((x) => rowsOf(x, heads, dim).map((all) => all.slice(0, real)));
    const twins = qs.map((own, head) => attendAllReference(own, ks[head], vs[head]));
    const filled = (x: number[], size: number) => [...x, ...new Array<number>((rows - real) * size).fill(0)];
    close(actual, { out: twins.flatMap(({ out }) => filled(out.flat(), dim)), lse: twins.flatMap(({ lse }) => filled(lse, 1)) });
  });

  const grid: Grid = { frames: 5, height: 7, width: 9, text: 21 };
  const cases: readonly { readonly way: keyof typeof ways; readonly q: Layout; readonly k: Layout }[] = [
    ...[raster(64)(grid), tiles(4, 4, 4)(grid), curve(16)(grid)].map((layout) => ({ way: 'narrow' as const, q: layout, k: layout })),
    { way: 'narrow', q: curve(128)(grid), k: raster(24)(grid) },
    { way: 'wide', q: curve(128)(grid), k: raster(24)(grid) },
  ];
  test.each(cases)('by a plan, $way: $q.name on $k.name', async ({ way, ...layout }) => {
    const [heads, dim] = [2, 40];
    const tokens = tokensOf(grid);
    const [q, k, v] = [1, 2, 3].map((seed) => rounded(heads * tokens * dim, seed));
    const plan = randomPlan(gpu.upload, heads, layout.q.blocks, layout.k.blocks, [1], 5);
    const blocked = (x: Float32Array, of: Layout) => halves(gpu, toBlocked(x, heads, dim, of), [heads, of.order.length, dim]);
    const counts = Int32Array.of(...layout.q.counts, ...layout.k.counts);
    const tables = { counts: plan.counts as GpuTensor, blocks: plan.blocks as GpuTensor, width: layout.k.blocks };
    const actual = await attend(
      {
        ...{ heads, dim, rows: { q: layout.q.order.length, k: layout.k.order.length }, levels: [{ pool: 1, base: 0 }] },
        ...{ block: { q: layout.q.block, k: layout.k.block }, blocks: { q: layout.q.blocks, k: layout.k.blocks } },
        ...{ q: blocked(q, layout.q), k: blocked(k, layout.k), v: blocked(v, layout.k) },
        plan: { ...tables, tokens: gpu.upload(counts, [counts.length]) },
      },
      way,
    );
    const [qs, ks, vs] = [q, k, v].map((x) => rowsOf(x, heads, dim));
    const twins = qs.map((rows, head) => {
      const read = planRows(plan.host.counts, plan.host.blocks, plan.levels, head, layout.q.blocks, layout.k.blocks);
      return attendReference(rows, ks[head], vs[head], read, layout);
    });
    const raster3d = { out: toRaster(actual.out, heads, dim, layout.q), lse: toRaster(actual.lse, heads, 1, layout.q) };
    close(raster3d, { out: twins.flatMap(({ out }) => out.flat()), lse: twins.flatMap(({ lse }) => lse) });
    for (const [slot, token] of layout.q.order.entries()) if (token < 0) expect(actual.lse[slot]).toBe(0);
  });
});
