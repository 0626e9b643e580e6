// The matrix variant of linear layers without tensor cores: subgroup matrices are played by plain loops, so that the rest of the kernel (what is
// staged where, edges, what is written) is tested on any GPU, for tilings of every kind. Real matrices are tested where there are some.
import { describe, expect, test } from 'vitest';
import type { Kernel } from '../../src/backend/webgpu/wgsl.ts';
import type { MatmulCall } from '../../src/dit/webgpu/matmul.ts';
import { matrixVariant, matrixWith, TILING, type Tiling } from '../../src/dit/webgpu/matmul-matrix.ts';
import { openedGpu } from '../gpu/device.ts';
import { halves } from '../gpu/halves.ts';
import { type Case, epilogues, errorOf, matmulKernels } from './webgpu-matmul-cases.ts';

// A lane makes half a row of a sum: it knows where the left and the right matrix lie, offset and stride.
const PLAYED = `
var<private> player: u32;
fn eight(at: u32) -> mat2x4f {
  let words = pairs[at];
  return mat2x4f(vec4f(unpack2x16float(words.x), unpack2x16float(words.y)), vec4f(unpack2x16float(words.z), unpack2x16float(words.w)));
}
fn product(left: vec2u, right: vec2u, sums: array<f32, 8>) -> array<f32, 8> {
  var result = sums;
  for (var half = 0u; half < 2u; half++) {
    let row = eight(left.x + player / 2u * left.y + half);
    for (var at = 0u; at < 8u; at++) {
      let column = eight(right.x + (8u * player + at) % 16u * right.y + half);
      result[at] += dot(row[0], column[0]) + dot(row[1], column[1]);
    }
  }
  return result;
}
fn toPairs(offset: u32, value: array<f32, 8>, stride: u32) {
  for (var four = 0u; four < 2u; four++) {
    let sums = vec4f(value[4u * four], value[4u * four + 1u], value[4u * four + 2u], value[4u * four + 3u]);
    pairs[offset + player / 2u * stride + 2u * (player % 2u) + four] = bitcast<vec4u>(sums);
  }
}
`;

function played({ name, body }: Kernel): Kernel {
  const replaced = body
    .replaceAll(' // unroll', '')
    .replace('subgroup_matrix_left<f16, K, M>', 'vec2u')
    .replace('subgroup_matrix_right<f16, N, K>', 'vec2u')
    .replace('subgroup_matrix_result<f32, N, M>', 'array<f32, 8>')
    .replace(
      /@builtin\(subgroup_id\) subgroup: u32,\s*@builtin\(subgroup_invocation_id\) lane: u32/,
      '@builtin(local_invocation_index) thread: u32',
    )
    .replace('let thread = subgroup * 32 + lane;', 'let subgroup = thread / 32; let lane = thread % 32; player = lane;')
    .replaceAll('Sum(0.0)', 'Sum()')
    .replaceAll(/subgroupMatrixLoad<(?:Left, row|Right, col)_major>\(&pairs, (.*), STRIDE\)/g, 'vec2u($1, STRIDE)')
    .replaceAll('subgroupMatrixMultiplyAccumulate(', 'product(')
    .replaceAll('subgroupMatrixStore<row_major>(&pairs, ', 'toPairs(');
  expect(replaced).not.toMatch(/subgroup[MS]|subgroup_/);
  return { name, body: replaced + PLAYED };
}

const gpu = (await openedGpu())!;

describe.skipIf(!gpu)('matrix variant of linear layers', () => {
  const kernels = { ...matmulKernels, matmulMatrix: played(matmulKernels.matmulMatrix) };
  const upload = (x: Float32Array, shape: readonly number[]) => halves(gpu, x, shape);
  /** It says that it has matrices, and compiles what plays them. */
  function run(tiling: Tiling, call: Omit<MatmulCall, 'dtype'>) {
    const matrices = [{ componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 }];
    const device = { ...gpu, adapter: { ...gpu.adapter, matrices } };
    const owned = Object.fromEntries(
      Object.entries(call).map(([key, value]) => [key, typeof value === 'object' ? { ...value, owner: device } : value]),
    ) as unknown as typeof call;
    const { header, tensors, ...launch } = matrixWith(tiling).launch(device, kernels, { ...owned, dtype: 'f16' });
    const alias = Object.fromEntries(Object.entries(header.alias!).map(([name, type]) => [name, type.replace('f16', 'f32')]));
    gpu.dispatch({
      ...launch,
      tensors: tensors.map((tensor) => ({ ...tensor, owner: gpu })),
      header: { alias, constants: header.constants },
    });
  }

  const SMALL: Tiling = { tile: [64, 64], sides: [2, 2], step: 32, buffers: 1, fold: 1, band: 2 };
  const cases = epilogues([
    [150, 64, 132],
    [64, 40, 64],
    [33, 8, 68],
    [70, 200, 4],
  ]).slice(2, 6);
  const name = ({ rows, inputs, outputs, ...parts }: Case) => `${rows} x ${inputs} x ${outputs} ${JSON.stringify(parts)}`;
  test.each(cases.map((one) => [name(one), one] as const))('%s', async (_, one) => {
    expect(await errorOf(gpu, one, (call) => run(SMALL, call), upload)).toBeLessThan(1e-6);
  });

  const tilings: readonly Tiling[] = [
    TILING,
    { ...SMALL, step: 16, buffers: 2 },
    { ...SMALL, step: 16, fold: 2 },
    { ...SMALL, step: 16, buffers: 2, fold: 2 },
    { ...SMALL, fold: 4 },
    { ...SMALL, tile: [128, 64], sides: [4, 2], fold: 3, buffers: 2 },
    { ...SMALL, tile: [64, 128], sides: [2, 4], buffers: 2, band: 1 },
  ];
  test.each(tilings.map((tiling) => [JSON.stringify(tiling), tiling] as const))('tiling %s', async (_, tiling) => {
    const one: Case = { rows: 260, inputs: 72, outputs: 140, bias: true, gates: 2, residual: 'itself' };
    expect(await errorOf(gpu, one, (call) => run(tiling, call), upload)).toBeLessThan(1e-6);
  });

  test('a tiling whose parts do not fit each other', () => {
    const [x, weight, out] = [gpu.tensor([20, 8], 'f16'), gpu.tensor([4, 8], 'f16'), gpu.tensor([20, 4], 'f32')];
    const call = { rows: 20, inputs: 8, outputs: 4, x, weight, out };
    expect(() => run({ ...SMALL, tile: [64, 40] }, call)).toThrow('a tiling that does not fit products of 16x16x16');
  });
});

test('says what it does not take', () => {
  const capabilities = {
    features: new Set(['chromium-experimental-subgroup-matrix', 'shader-f16', 'subgroup_id']),
    limits: { maxComputeWorkgroupStorageSize: 16_384 },
    subgroupSizes: [32, 32] as const,
    matrices: [],
  };
  const shape = { rows: 20, inputs: 8, outputs: 4, dtype: 'f16' } as const;
  const lacking = (here: object, call: object) => matrixVariant.lacking({ ...capabilities, ...here }, { ...shape, ...call });
  expect(lacking({ features: new Set() }, {})).toMatch('feature chromium-experimental-subgroup-matrix');
  expect(lacking({}, { dtype: 'f32' })).toBe('it takes f16, not f32');
  expect(lacking({}, { inputs: 12 })).toBe('it takes a multiple of 8 inputs, not 12');
  expect(lacking({}, { outputs: 6 })).toBe('it takes a multiple of 4 outputs, not 6');
  expect(lacking({ subgroupSizes: [16, 32] }, {})).toBe('it needs subgroups of 32 lanes, and here they have from 16 to 32');
  expect(lacking({}, {})).toBe('it needs 20480 bytes of workgroup memory, and this GPU gives 16384');
  expect(lacking({ limits: { maxComputeWorkgroupStorageSize: 32_768 } }, {})).toMatch('this GPU lists no f16 product');
});
