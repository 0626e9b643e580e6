// Moving tokens on the GPU, and what is refused at its border.
import { describe, expect, test } from 'vitest';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import { openWebgpu } from '../../src/backend/webgpu/device.ts';
import { curve, raster, tiles } from '../../src/sparse3d/layout.ts';
import { PAD, tokensOf } from '../../src/sparse3d/plan.ts';
import { openedGpu } from '../gpu/device.ts';
import { evenPlan, numbers, randomPlan } from './cases.ts';

const opened = await openedGpu();
const grid = { frames: 3, height: 5, width: 7, text: 11 };
const tokens = tokensOf(grid);

describe.skipIf(!opened)('the WebGPU backend', async () => {
  const gpu = opened!;
  const ops = gpu && (await webgpuBackend(gpu));
  const half = gpu?.adapter.features.has('shader-f16');

  test.each([
    ['rows', [2, tokens, 24], curve(16)],
    ['rows of an odd size', [2, tokens, 5], tiles(2, 2, 4)],
    ['a number a token', [3, tokens], raster(64)],
  ] as const)('gathers %s by a layout and scatters them back', async (_, shape, make) => {
    const layout = make(grid);
    const [heads, , dim = 1] = shape;
    const x = numbers(heads * tokens * dim, 3);
    const blocked = ops.gather(ops.upload(x, shape), layout);
    expect(blocked.shape).toEqual([heads, layout.order.length, ...shape.slice(2)]);
    const expected = Array.from({ length: heads }, (_, head) =>
      [...layout.order].flatMap((token) =>
        token === PAD ? Array(dim).fill(0) : [...x.subarray((head * tokens + token) * dim, (head * tokens + token + 1) * dim)],
      ),
    );
    expect([...(await ops.read(blocked))]).toEqual(expected.flat());
    expect(await ops.read(ops.scatter(blocked, layout))).toEqual(x);
  });

  test('splits and joins along the first axis', async () => {
    const x = numbers(6 * 3 * 5, 1);
    const parts = ops.split(ops.upload(x, [6, 3, 5]), 3);
    expect(parts.map(({ shape }) => shape)).toEqual([
      [2, 3, 5],
      [2, 3, 5],
      [2, 3, 5],
    ]);
    expect(await ops.read(parts[1])).toEqual(x.subarray(30, 60));
    expect(await ops.read(ops.concat(parts))).toEqual(x);
    expect(() => ops.split(parts[0], 3)).toThrow('does not split in 3 equal parts');
    expect(() => ops.concat([parts[0], ops.upload(x, [6, 15])])).toThrow('concat takes parts alike');
  });

  test('casts to f32 at no cost, and to f16 or not at all', async () => {
    const x = Float32Array.of(1, -2.5, 1 / 3, 60_000, 1e-7);
    const tensor = ops.upload(x, [5]);
    expect(ops.cast(tensor, 'f32')).toBe(tensor);
    if (!half) {
      expect(() => ops.cast(tensor, 'f16')).toThrow('stores no f16');
      return;
    }
    const short = ops.cast(tensor, 'f16');
    expect(short.dtype).toBe('f16');
    const read = await ops.read(short);
    for (const [at, value] of x.entries()) expect(Math.abs(read[at] - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -11 + 2 ** -25);
  });

  test('the density of a plan counts pooled blocks by their share, in rows of any width', async () => {
    const plan = evenPlan(ops.upload, 2, 3, 8, 2, 4);
    expect(await ops.density(plan)).toBe(2 / 4 / 8);
    const narrow = { ...plan, blocks: ops.upload(new Int32Array(2 * 3 * 2), [2, 3, 2]), keyBlocks: 8 };
    expect(await ops.density(narrow)).toBe(2 / 4 / 8);
  });

  test('what a scope makes is freed but for what it returns', async () => {
    const layout = curve(16)(grid);
    const x = ops.upload(numbers(tokens * 8, 2), [1, tokens, 8]);
    let inside = x;
    const back = ops.scope(() => {
      inside = ops.gather(x, layout);
      return ops.scatter(inside, layout);
    });
    expect(await ops.read(back)).toEqual(await ops.read(x));
    await expect(async () => ops.read(inside)).rejects.toThrow('was freed');
  });

  test('attention by a plan equals that of the CPU', async () => {
    const cpu = await openCpu('onnxruntime-web');
    const layout = { q: tiles(2, 2, 4)(grid), k: curve(16)(grid) };
    const [q, k, v] = [1, 2, 3].map((seed) => numbers(2 * tokens * 24, seed));
    const results = [];
    for (const backend of [ops, cpuBackend(cpu)]) {
      const plan = randomPlan(backend.upload, 2, layout.q.blocks, layout.k.blocks, [1, 2, 16], 7);
      const up = (x: Float32Array, of: typeof layout.q) => backend.gather(backend.upload(x, [2, tokens, 24]), of);
      const { out, lse } = backend.attend(up(q, layout.q), up(k, layout.k), up(v, layout.k), plan, layout);
      results.push([...(await backend.read(out)), ...(await backend.read(lse))]);
    }
    cpu.dispose();
    for (const [at, value] of results[1].entries()) expect(results[0][at]).toBeCloseTo(value, 4);
  });

  describe('refuses, with the reason,', () => {
    const raw = (...shape: number[]) => ops.upload(new Float32Array(shape.reduce((a, b) => a * b)), shape);
    const layout = { q: raster(16)(grid), k: raster(16)(grid) };

    test('shapes that do not belong together', () => {
      expect(() => ops.attendAll(raw(1, 4, 20), raw(1, 4, 20), raw(1, 4, 20))).toThrow('dim a multiple of 8');
      expect(() => ops.attendAll(raw(1, 4, 8), raw(2, 4, 8), raw(1, 4, 8))).toThrow('attendAll needs k as f32 [1,4,8]');
      const whole = ops.upload(new Int32Array(32), [1, 4, 8]);
      expect(() => ops.attendAll(whole, whole, whole)).toThrow('q of f32 or f16, got i32 [1,4,8]');
      expect(() => ops.gather(raw(1, 4, 8), layout.q)).toThrow('gather takes [heads, 116, dim]');
      expect(() => ops.scatter(raw(1, 4, 8), layout.q)).toThrow('scatter takes [heads, 128, dim]');
    });

    test('a plan for other layouts, or of a pool that does not divide the block', () => {
      const x = raw(1, layout.q.order.length, 8);
      const plan = evenPlan(ops.upload, 1, layout.q.blocks + 1, layout.k.blocks);
      expect(() => ops.attend(x, x, x, plan, layout)).toThrow('a plan for 1 heads on these layouts has counts [1,8,1]');
      const odd = evenPlan(ops.upload, 1, layout.q.blocks, layout.k.blocks, 2, 5);
      expect(() => ops.attend(x, x, x, odd, layout)).toThrow('a level of pool 5 does not divide the block of 16 keys');
    });

    test('tensors of another device or backend', async () => {
      const [other, cpu] = [await openWebgpu(), await openCpu('onnxruntime-web')];
      const x = raw(1, 4, 8);
      expect(() => ops.attendAll(x, other.upload(new Float32Array(32), [1, 4, 8]), x)).toThrow('belongs to another WebGPU device');
      expect(() => ops.attendAll(x, x, cpu.upload(new Float32Array(32), [1, 4, 8]))).toThrow('belongs to another backend');
      other.dispose();
      cpu.dispose();
    });

    test('a head dimension or a variant that no kernel can serve', async () => {
      expect(() => ops.attendAll(raw(1, 4, 264), raw(1, 4, 264), raw(1, 4, 264))).toThrow('from 8 to 256, not 264');
      const named = await webgpuBackend(gpu, { attend: 'abacus' });
      expect(() => named.attendAll(raw(1, 4, 8), raw(1, 4, 8), raw(1, 4, 8))).toThrow('there is no variant abacus');
    });
  });
});
