// The WebGPU device: order of work, lifetimes, and what is said when something goes wrong.
import { describe, expect, test, vi } from 'vitest';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { type GpuDevice, type GpuTensor, gpuTensor, openWebgpu } from '../../src/backend/webgpu/device.ts';
import type { Header, Kernel } from '../../src/backend/webgpu/wgsl.ts';
import { openedGpu } from '../gpu/device.ts';

const opened = await openedGpu();

/** y = factor * x + y, one launch. */
const AXPY: Kernel = {
  name: 'axpy.wgsl',
  body: `@group(0) @binding(0) var<uniform> factor: f32;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&x)) { y[id.x] = factor * x[id.x] + y[id.x]; }
}`,
};
const header: Header = { constants: { WIDTH: 64 } };

const axpy = (gpu: GpuDevice, factor: number, x: GpuTensor, y: GpuTensor) =>
  gpu.dispatch({ kernel: AXPY, header, tensors: [x, y], uniform: Float32Array.of(factor), workgroups: [Math.ceil(x.shape[0] / 64)] });
const zeros = (gpu: GpuDevice, length: number) => gpu.upload(new Float32Array(length), [length]);
const filled = (gpu: GpuDevice, value: number, length = 100) => gpu.upload(new Float32Array(length).fill(value), [length]);
const bad = (body: string): Kernel => ({ name: 'bad.wgsl', body });

describe.skipIf(!opened)('a WebGPU device', () => {
  const gpu = opened!;

  describe('works in order', () => {
    test('what is uploaded is read, whatever its type and length', async () => {
      for (const numbers of [Float32Array.of(1.5), Int32Array.of(-1, 2 ** 31 - 1, 7), new Float32Array(0)]) {
        expect(await gpu.read(gpu.upload(numbers, [numbers.length]))).toEqual(numbers);
      }
      const shared = new Float32Array(new SharedArrayBuffer(16)).fill(3);
      expect(await gpu.read(gpu.upload(shared, [2, 2]))).toEqual(new Float32Array(4).fill(3));
      const part = new Float32Array([0, 1, 2, 3]).subarray(1, 3);
      expect(await gpu.read(gpu.upload(part, [2]))).toEqual(Float32Array.of(1, 2));
      expect(() => gpu.upload(part, [3])).toThrow('shape [3] needs 3 numbers, got 2');
    });

    test('more launches than a submission has uniforms keep their own', async () => {
      const [one, y] = [filled(gpu, 1), zeros(gpu, 100)];
      const launches = 2500;
      for (let at = 1; at <= launches; at++) axpy(gpu, at, one, y);
      expect(await gpu.read(y)).toEqual(new Float32Array(100).fill((launches * (launches + 1)) / 2));
    });

    test('an upload into freed memory comes after the launches that still read it', async () => {
      const y = zeros(gpu, 100);
      const first = filled(gpu, 1);
      axpy(gpu, 2, first, y);
      gpu.release(first);
      const second = filled(gpu, 10);
      expect(second.lent.buffer).toBe(first.lent.buffer);
      axpy(gpu, 3, second, y);
      expect(await gpu.read(y)).toEqual(new Float32Array(100).fill(32));
    });

    test('reads that are under way together each get their own numbers', async () => {
      const y = zeros(gpu, 100);
      const one = filled(gpu, 1);
      const reads = [1, 2, 3].map((factor) => {
        axpy(gpu, factor, one, y);
        return gpu.read(y);
      });
      expect((await Promise.all(reads)).map(([first]) => first)).toEqual([1, 3, 6]);
    });

    test('bytes are copied between launches', async () => {
      const [one, y] = [filled(gpu, 1, 4), zeros(gpu, 4)];
      axpy(gpu, 5, one, y);
      const target = zeros(gpu, 4);
      gpu.copy(y, 0, target, 8, 8);
      axpy(gpu, 5, one, y);
      expect(await gpu.read(target)).toEqual(Float32Array.of(0, 0, 5, 5));
    });
  });

  describe('frees', () => {
    test('what a scope made, except what it returns and what is kept', async () => {
      let kept!: GpuTensor;
      let inner!: GpuTensor;
      const { deep } = gpu.scope(() => {
        kept = gpu.keep(filled(gpu, 1));
        inner = filled(gpu, 2);
        return { deep: [gpu.scope(() => filled(gpu, 3))] };
      });
      expect((await gpu.read(kept))[0]).toBe(1);
      expect((await gpu.read(deep[0]))[0]).toBe(3);
      await expect(gpu.read(inner)).rejects.toThrow('a tensor of shape [100] was freed');
      expect(() => axpy(gpu, 1, inner, kept)).toThrow('was freed');
      gpu.release(kept);
      gpu.release(kept);
      expect(() => gpu.keep(kept)).toThrow('was freed');
    });

    test('what a failed scope made', () => {
      let made!: GpuTensor;
      expect(() =>
        gpu.scope(() => {
          made = zeros(gpu, 8);
          throw new Error('inside');
        }),
      ).toThrow('inside');
      expect(() => gpu.keep(made)).toThrow('was freed');
    });

    test('memory for the next one of a size, so that a loop needs no more', () => {
      const step = () => gpu.scope(() => axpy(gpu, 1, filled(gpu, 1, 5000), filled(gpu, 2, 5000)));
      step();
      const before = gpu.memory.bytes;
      for (let at = 0; at < 20; at++) step();
      expect(gpu.memory.bytes).toBe(before);
    });

    test('memory for the GPU, when it is told to', async () => {
      const used = filled(gpu, 7, 3000);
      const [one, y] = [filled(gpu, 1, 3000), zeros(gpu, 3000)];
      axpy(gpu, 2, one, y);
      gpu.release(one);
      const before = gpu.memory.bytes;
      gpu.trim();
      expect(gpu.memory.bytes).toBeLessThanOrEqual(before - 12_000);
      expect([(await gpu.read(used))[0], (await gpu.read(y))[0]]).toEqual([7, 2]);
    });

    test('nothing that is cached', async () => {
      const owner = {};
      const make = vi.fn(() => filled(gpu, 4));
      const [first, second] = [0, 1].map(() => gpu.scope(() => void gpu.cached(owner, 'table', make)) ?? gpu.cached(owner, 'table', make));
      expect(first).toBe(second);
      expect(make).toHaveBeenCalledTimes(1);
      expect((await gpu.read(first))[0]).toBe(4);
    });
  });

  describe.skipIf(!opened?.adapter.features.has('timestamp-query'))('profiles', () => {
    test('each launch by its name', async () => {
      const [one, y] = [filled(gpu, 1), zeros(gpu, 100)];
      const times = await gpu.profile(() => {
        for (let at = 0; at < 3; at++) axpy(gpu, 1, one, y);
      });
      expect(times.map(({ kernel }) => kernel)).toEqual(Array(3).fill('axpy.wgsl'));
      for (const { milliseconds } of times) expect(milliseconds).toBeGreaterThanOrEqual(0);
      expect((await gpu.read(y))[0]).toBe(3);
      expect(await gpu.profile(() => undefined)).toEqual([]);
    });

    test('and goes on after a body that fails or launches too much', async () => {
      const [one, y] = [filled(gpu, 1), zeros(gpu, 100)];
      const failing = gpu.profile(() => {
        throw new Error('inside');
      });
      await expect(failing).rejects.toThrow('inside');
      const many = gpu.profile(() => {
        for (let at = 0; at < 2049; at++) axpy(gpu, 1, one, y);
      });
      await expect(many).rejects.toThrow('at most 2048 launches');
      expect((await gpu.read(y))[0]).toBe(2048);
    });
  });

  describe('says', () => {
    test('where a kernel does not compile, each time it is launched, and works on', async () => {
      const kernel = bad('@compute @workgroup_size(1)\nfn main() {\n  let x = y;\n}');
      for (const run of [1, 2]) {
        gpu.dispatch({ kernel, header: { constants: { A: 1, B: 2 } }, tensors: [], workgroups: [run] });
        await expect(gpu.idle()).rejects.toThrow(/^bad\.wgsl:3:11: .*'y'/);
      }
      const headless = { kernel: bad('@compute @workgroup_size(1) fn main() {}'), header: { alias: { Scalar: 'f17' } }, tensors: [] };
      gpu.dispatch({ ...headless, workgroups: [1] });
      await expect(gpu.idle()).rejects.toThrow(/^the header of bad\.wgsl, line 1: .*f17/);
      const shared = [{ name: 'more.wgsl', body: 'fn more() {\n  return 1;\n}\n' }];
      gpu.dispatch({ kernel: { ...bad('@compute @workgroup_size(1) fn main() {}\n'), shared }, header: {}, tensors: [], workgroups: [1] });
      await expect(gpu.idle()).rejects.toThrow(/^more\.wgsl:2:3: /);
      gpu.dispatch({ kernel: bad('fn other() {}'), header: {}, tensors: [], workgroups: [1] });
      await expect(gpu.idle()).rejects.toThrow('bad.wgsl makes no pipeline: ');
      expect((await gpu.read(filled(gpu, 1)))[0]).toBe(1);
    });

    test('that a command was refused', async () => {
      const x = zeros(gpu, 4);
      gpu.copy(x, 0, x, 0, 4);
      await expect(gpu.idle()).rejects.toThrow('the GPU refused a command: ');
      await gpu.idle();
    });

    test('what went wrong to every wait under way, since none has good numbers', async () => {
      gpu.dispatch({ kernel: bad('fn other() {}'), header: {}, tensors: [], workgroups: [1] });
      const reads = [1, 2].map((value) => gpu.read(filled(gpu, value)));
      for (const read of await Promise.allSettled(reads))
        expect(read).toMatchObject({ reason: { message: expect.stringContaining('bad.wgsl makes no pipeline') } });
      expect((await gpu.read(filled(gpu, 3)))[0]).toBe(3);
      gpu.dispatch({ kernel: bad('fn other() {}'), header: {}, tensors: [], workgroups: [1] });
      await expect(gpu.read(filled(gpu, 4), true)).rejects.toThrow('bad.wgsl makes no pipeline');
      await expect(gpu.idle()).rejects.toThrow('bad.wgsl makes no pipeline');
      await gpu.idle();
    });

    test('that a tensor lives elsewhere', async () => {
      const cpu = await openCpu();
      const foreign = cpuBackend(cpu).upload(new Float32Array(4), [4]);
      const other = await openWebgpu();
      expect(() => axpy(gpu, 1, foreign as GpuTensor, zeros(gpu, 4))).toThrow(TypeError);
      expect(() => gpuTensor(gpu, foreign)).toThrow('a tensor of shape [4] belongs to another backend; upload it to this device first');
      expect(() => axpy(gpu, 1, zeros(gpu, 4), zeros(other, 4))).toThrow('belongs to another WebGPU device');
      await expect(gpu.read(zeros(other, 4))).rejects.toThrow(TypeError);
      expect(() => gpu.release(zeros(other, 4))).toThrow(TypeError);
      other.dispose();
      await cpu.dispose();
    });

    test('that a launch is too large', () => {
      const launch = { kernel: bad('@compute @workgroup_size(1) fn main() {}'), header: {}, tensors: [] };
      const most = gpu.adapter.limits.maxComputeWorkgroupsPerDimension;
      expect(() => gpu.dispatch({ ...launch, workgroups: [2, most + 1] })).toThrow(`bad.wgsl would take 2 x ${most + 1} workgroups`);
    });

    test('that a tensor is too large, and that f16 is read by a cast', async () => {
      const largest = Math.min(gpu.adapter.limits.maxStorageBufferBindingSize, gpu.adapter.limits.maxBufferSize);
      const rows = Math.ceil(largest / 4096) + 1;
      const sentence = `a tensor of shape [${rows},1024] needs ${rows * 4096} bytes, but this GPU binds at most ${largest} at once`;
      expect(() => gpu.tensor([rows, 1024], 'f32')).toThrow(sentence);
      await expect(gpu.read(gpu.tensor([4], 'f16'))).rejects.toThrow('cast to f32');
    });

    // SwiftShader offers buffers of 1 GiB and has no memory for one; other adapters are not filled up by a test.
    test.skipIf(!opened?.adapter.software)('how many bytes there was no memory for, and does not keep the buffer', async () => {
      const bytes = gpu.adapter.limits.maxBufferSize;
      for (let run = 0; run < 2; run++) {
        const before = gpu.memory.bytes;
        const tensor = gpu.tensor([bytes / 4], 'f32');
        await expect(gpu.idle()).rejects.toThrow(`out of memory: the GPU has no room for a buffer of ${bytes} bytes`);
        expect(gpu.memory.bytes).toBeLessThanOrEqual(before);
        gpu.release(tensor);
      }
      expect((await gpu.read(filled(gpu, 1)))[0]).toBe(1);
    });

    test.skipIf(!opened?.adapter.software)('when it has no memory for what is cached, which is made again', async () => {
      const [owner, before] = [{}, gpu.memory.bytes];
      const cached = (make: () => GpuTensor) => gpu.cached(owner, 'table', () => ({ small: filled(gpu, 1), table: make() }));
      cached(() => gpu.tensor([gpu.adapter.limits.maxBufferSize / 4], 'f32'));
      await expect(gpu.idle()).rejects.toThrow('out of memory');
      const { table } = cached(() => filled(gpu, 5));
      expect((await gpu.read(table))[0]).toBe(5);
      expect(cached(() => expect.unreachable('made a third time')).table).toBe(table);
      expect(gpu.memory.bytes).toBeLessThanOrEqual(before + 2 * 512);
    });
  });

  test('can do without features, and with what a stock browser offers', async () => {
    const without = await openWebgpu({ without: ['subgroups', 'timestamp-query'] });
    expect(without.adapter.features.has('subgroups')).toBe(false);
    expect(without.adapter.subgroupSizes).toBeUndefined();
    await expect(without.profile(() => undefined)).rejects.toThrow('timestamp-query');
    without.dispose();
    const stock = await openWebgpu({ experimental: false });
    expect(stock.adapter.matrices).toEqual([]);
    stock.dispose();
    const unchecked = await openWebgpu({ checked: false });
    expect(await unchecked.read(filled(unchecked, 3, 2))).toEqual(Float32Array.of(3, 3));
    unchecked.dispose();
  });

  describe('that is lost', () => {
    test('says so once and clearly, and another can be opened', async () => {
      const lost = await openWebgpu();
      const [one, y] = [filled(lost, 1), zeros(lost, 100)];
      axpy(lost, 1, one, y);
      const reading = lost.read(y);
      lost.device.destroy();
      const sentence = /^the GPU device was lost \(destroyed: .*\); open a new one with openWebgpu\(\)$/;
      await expect(reading).rejects.toThrow(sentence);
      await expect(lost.read(y)).rejects.toThrow(sentence);
      await expect(lost.idle()).rejects.toThrow(sentence);
      expect(() => axpy(lost, 1, one, y)).toThrow(sentence);
      expect(() => zeros(lost, 4)).toThrow(sentence);
      lost.release(y);
      const next = await openWebgpu();
      expect((await next.read(filled(next, 2)))[0]).toBe(2);
      next.dispose();
      await expect(next.idle()).rejects.toThrow('this GPU device was disposed');
    });
  });
});
