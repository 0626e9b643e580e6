// Kernels compiled ahead of their launch: each once, all side by side, and what fails is said by the launch.
import { afterEach, expect, test, vi } from 'vitest';
import { aheadOf } from '../../src/backend/webgpu/ahead.ts';
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import { type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';
import type { Kernel } from '../../src/backend/webgpu/wgsl.ts';
import { nullGpu } from '../gpu/null.ts';

const opened = nullGpu();
afterEach(() => void vi.restoreAllMocks());

/** Each width is a source of its own. */
const FILL: Kernel = {
  name: 'fill.wgsl',
  body: `@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = 1; }`,
};
const fill = (device: GpuDevice, WIDTH: number, kernel = FILL) =>
  device.dispatch({ kernel, header: { constants: { WIDTH } }, tensors: [device.tensor([64], 'f32')], workgroups: [1] });

/** What a device compiles; `hold` keeps the compilers beside the host back until it is called again. */
function compilers({ device }: GpuDevice) {
  const compile = device.createComputePipelineAsync.bind(device);
  let open: () => void = () => undefined;
  let gate = Promise.resolve();
  const ahead = vi.spyOn(device, 'createComputePipelineAsync').mockImplementation(async (wanted) => {
    await gate;
    return compile(wanted);
  });
  const hold = () => {
    gate = new Promise<void>((resolve) => {
      open = resolve;
    });
  };
  return { ahead, atLaunch: vi.spyOn(device, 'createComputePipeline'), hold, letGo: () => open() };
}

test('what was launched ahead is compiled once and side by side, and not again by the launch', async () => {
  const device = opened();
  const { ahead, atLaunch, hold, letGo } = compilers(device);
  hold();
  const before = aheadOf(device);
  for (const width of [1, 2, 3, 1, 2, 3]) fill(before, width);
  fill(aheadOf(device), 3);
  expect(ahead).toHaveBeenCalledTimes(3);
  letGo();
  await before.idle();
  for (const width of [1, 2, 3]) fill(device, width);
  await device.idle();
  expect(atLaunch).not.toHaveBeenCalled();
  fill(before, 1);
  await before.idle();
  expect(ahead).toHaveBeenCalledTimes(3);
});

test('a launch does not wait for what is being compiled', async () => {
  const device = opened();
  const { atLaunch, hold, letGo } = compilers(device);
  hold();
  const before = aheadOf(device);
  fill(before, 5);
  fill(device, 5);
  await device.idle();
  expect(atLaunch).toHaveBeenCalledTimes(1);
  letGo();
  await before.idle();
  fill(device, 5);
  expect(atLaunch).toHaveBeenCalledTimes(1);
});

test('what does not compile is left to its launch, which names file and line', async () => {
  const device = opened();
  const before = aheadOf(device);
  const bad = { name: 'bad.wgsl', body: '@compute @workgroup_size(WIDTH)\nfn main() {\n  let x = y;\n}' };
  fill(before, 1, bad);
  await before.idle();
  await device.idle();
  device.dispatch({ kernel: bad, header: { constants: { WIDTH: 1 } }, tensors: [], workgroups: [1] });
  await expect(device.idle()).rejects.toThrow(/^bad\.wgsl:3:11: .*'y'/);
});

test('a backend ahead of a device takes handles without numbers, and reads of them never end', async () => {
  const device = opened();
  const before = aheadOf(device);
  const ops = await webgpuBackend(before);
  const { bytes } = device.memory;
  const x = before.tensor([2, 2 ** 20, 64], 'f32');
  const sum = ops.scope(() => ops.combine([x, x], [1, 2]));
  expect(sum.shape).toEqual(x.shape);
  await ops.wait(sum);
  const read = vi.fn();
  ops.read(sum).then(read, read);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(read).not.toHaveBeenCalled();
  expect(device.memory.bytes).toBe(bytes);
  const real = await webgpuBackend(device);
  expect(() => real.cast(x, 'f32')).toThrow('belongs to another WebGPU device');
});

test('a device that is disposed while kernels are compiled keeps nobody waiting', async () => {
  const other = await openWebgpu();
  const { hold } = compilers(other);
  hold();
  const before = aheadOf(other);
  fill(before, 7);
  other.dispose();
  await before.idle();
  expect(() => fill(other, 7)).toThrow('this GPU device was disposed');
});
