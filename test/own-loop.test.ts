// Methods in a loop of one's own: the same numbers whatever form they come in, runs that begin anew, and refusals.
import { afterAll, expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import { openCpu } from '../src/backend/cpu.ts';
import { cpuBackend } from '../src/backend/cpu-backend.ts';
import type { GpuDevice } from '../src/backend/webgpu/device.ts';
import { adaSpa } from '../src/methods.ts';
import { attention, type OwnLoop, type OwnLoopOptions } from '../src/own-loop.ts';
import { raster } from '../src/sparse3d/layout.ts';
import { openedGpu } from './gpu/device.ts';
import { numbers, relativeError } from './sparse3d/cases.ts';

const cpu = await openCpu('onnxruntime-web');
afterAll(() => cpu.dispose());
const ops = cpuBackend(cpu);
const gpu = await openedGpu();

const grid = { frames: 2, height: 5, width: 8, text: 3 };
const shape = [2, 83, 16];
const method = { ...adaSpa({ sparsity: 0.6 }), layout: raster(16) };
const options: OwnLoopOptions = { grid, layers: 2, steps: 5, heads: 2, runtime: 'onnxruntime-web' };
const inputs = (step: number, layer: number): [Float32Array, Float32Array, Float32Array] =>
  [1, 2, 3].map((at) => numbers(2 * 83 * 16, 100 * step + 10 * layer + at, 2)) as [Float32Array, Float32Array, Float32Array];

type Step = (q: Float32Array, k: Float32Array, v: Float32Array, place: { step: number; layer: number }) => Promise<Float32Array>;

/** The last results of a run. */
async function lastOf(attend: Step): Promise<Float32Array[]> {
  const last: Float32Array[] = [];
  for (let step = 0; step < 5; step++) for (const layer of [0, 1]) last[layer] = await attend(...inputs(step, layer), { step, layer });
  return last;
}

/** What a model's seam would give. */
async function expected(): Promise<Float32Array[]> {
  const bound = createAttention(ops, method);
  return lastOf(async (q, k, v, place) => {
    const [a, b, c] = [q, k, v].map((x) => ops.upload(x, shape));
    return (await ops.read(bound.attention(a, b, c, { grid, layers: 2, steps: 5, branches: [0], ...place }))) as Float32Array;
  });
}

function buffersOf({ device }: GpuDevice, ...all: readonly Float32Array[]): GPUBuffer[] {
  return all.map((x) => {
    const buffer = device.createBuffer({
      size: x.byteLength,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
    device.queue.writeBuffer(buffer, 0, x as Float32Array<ArrayBuffer>);
    return buffer;
  });
}

async function numbersIn({ device }: GpuDevice, buffer: GPUBuffer): Promise<Float32Array> {
  const staging = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const numbers = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return numbers;
}

test('plain numbers and handles give what a seam of a model gives, run after run', async () => {
  const wanted = await expected();
  const plain = attention(method, options);
  expect(await lastOf(plain)).toEqual(wanted);
  expect((await plain.statistics()).calls.map(({ phase }) => phase[0]).join('')).toBe('ddssrrssrr');
  expect(await lastOf(plain)).toEqual(wanted);
  expect((await plain.statistics()).calls.length).toBe(10);
  plain.reset();
  expect((await plain.statistics()).calls).toEqual([]);
  await plain.dispose();
  const handles = attention(method, { grid, layers: 2, steps: 5, ops });
  const read = async (...[q, k, v, place]: Parameters<Step>) => {
    const [a, b, c] = [q, k, v].map((x) => ops.upload(x, shape));
    return (await ops.read(handles(a, b, c, place))) as Float32Array;
  };
  expect(await lastOf(read)).toEqual(wanted);
});

test('a run of one step begins anew with each call of a layer', async () => {
  const attend = attention(method, { ...options, steps: 1 });
  for (let run = 0; run < 3; run++) for (const layer of [0, 1]) await attend(...inputs(run, layer), { step: 0, layer });
  expect((await attend.statistics()).calls.map(({ layer }) => layer)).toEqual([0, 1]);
  await attend.dispose();
});

test('what could not be opened is not in the way of dispose', async () => {
  const attend = attention(method, { ...options, runtime: 'onnxruntime-webgpu' });
  await expect(attend(...inputs(0, 0), { step: 0, layer: 0 })).rejects.toThrow();
  await attend.dispose();
});

test('branches have plans of their own', async () => {
  const attend = attention(method, options);
  for (const step of [1, 2]) for (const branch of [0, 1]) await attend(...inputs(step, branch), { step, layer: 0, branch });
  expect((await attend.statistics()).calls.map(({ phase, branch }) => `${phase} ${branch}`)).toEqual([
    'search 0',
    'search 1',
    'reuse 0',
    'reuse 1',
  ]);
  await attend.dispose();
});

test.skipIf(!gpu)('numbers and buffers of a GPU give the same, and what they take is given back', async () => {
  const wanted = await expected();
  const device = gpu!;
  const attend = attention(method, { ...options, device });
  const ofNumbers = await lastOf(attend);
  attend.reset();
  const all: GPUBuffer[] = [];
  const ofBuffers = await lastOf(async (q, k, v, place) => {
    const [a, b, c, out] = buffersOf(device, q, k, v, new Float32Array(q.length));
    all.push(a, b, c, out);
    await attend(a, b, c, { ...place, out });
    // What is written afterwards comes too late.
    device.device.queue.writeBuffer(a, 0, new Float32Array(q.length));
    return numbersIn(device, out);
  });
  for (const layer of [0, 1]) {
    expect(relativeError(ofNumbers[layer], [...wanted[layer]])).toBeLessThan(1e-5);
    expect(ofBuffers[layer]).toEqual(ofNumbers[layer]);
  }
  for (const buffer of all) buffer.destroy();
  const held = () => {
    attend.reset();
    device.trim();
    return device.memory.bytes;
  };
  const before = held();
  await lastOf(attend);
  expect(held()).toBe(before);
  const score = () => {
    throw new Error('there are no scores');
  };
  const failing = attention({ ...method, score }, { ...options, device });
  await expect(failing(...inputs(1, 0), { step: 1, layer: 0 })).rejects.toThrow('there are no scores');
  expect(held()).toBeLessThanOrEqual(before);
  await attend.dispose();
});

const refusing = (place: object, given: Partial<OwnLoopOptions> = {}, q: unknown = new Float32Array(83 * 2)) => {
  const attend = attention(method, { ...options, ...given }) as OwnLoop & ((...all: unknown[]) => Promise<unknown>);
  return attend(q, q, q, place);
};

test('a grid without text has none', async () => {
  const attend = attention(method, { ...options, grid: { frames: 2, height: 5, width: 8 } });
  const x = numbers(2 * 80 * 16, 1);
  expect((await attend(x, x, x, { step: 0, layer: 0 })).length).toBe(x.length);
  await attend.dispose();
});

test.each<[unknown[], string]>([
  [[], 'there is no method: it is undefined; give a preset such as adaSpa()'],
  [[adaSpa, options], 'it is a preset that was not called'],
  [[method], 'the options of attention are undefined; give an object, { grid, layers, steps, heads }'],
  [[method, { layers: 2, steps: 5 }], 'the grid is undefined; give { frames, height, width } in tokens'],
  [[method, { ...options, steps: undefined }], 'steps is undefined; give a whole number above 0'],
  [[method, { ...options, layer: 3 }], 'attention has no option layer; it takes grid, layers'],
  [[method, { ...options, dtype: 'f64' }], 'dtype is "f64"; choose'],
  [[method, { ...options, device: 'webgpu' }], 'device is "webgpu"; give one that is open'],
  [[method, { ...options, ops: {} }], 'there is no backend: it is an object with nothing in it'],
])('attention(%o) is refused', (given, message) => {
  expect(() => (attention as (...all: unknown[]) => unknown)(...given)).toThrow(message);
});

test.each<[unknown[], string]>([
  [[], 'q is undefined; give a tensor'],
  [[{ shape }, { shape }, { shape }], 'the site of a call is undefined; give { step, steps'],
  [[{ shape }, { shape }, { shape }, { step: 0 }], 'the grid of a call is undefined'],
  [[{ shape }, { shape }, { shape }, { grid }], 'for no batch items'],
])('a call of a bound method with %o is refused', (given, message) => {
  const { attention: bound } = createAttention(ops, method);
  const site = given.length === 0 ? { grid } : given[3];
  expect(() => (bound as (...all: unknown[]) => unknown)(given[0], given[1], given[2], site)).toThrow(message);
});

test.each<[object, Partial<OwnLoopOptions>, unknown, string]>([
  [{ step: 5, layer: 0 }, {}, undefined, 'step is 5; give a whole number from 0 to 4'],
  [{ step: 0, layer: -1 }, {}, undefined, 'layer is -1'],
  [{ step: 0, layer: 0, branch: 0.5 }, {}, undefined, 'branch is 0.5'],
  [{ step: 0, layer: 0 }, { heads: 0 }, undefined, 'heads is 0; give a whole number above 0'],
  [{ step: 0, layer: 0 }, { grid: { ...grid, text: -1 } }, undefined, 'text is -1'],
  [{ step: 0, layer: 0 }, { heads: undefined }, undefined, 'the number of heads is missing'],
  [
    { step: 0, layer: 0 },
    {},
    new Float32Array(100),
    'q, k, v have 100, 100, 100 numbers; give as many each, a multiple of 2 heads x 83 tokens',
  ],
  [{ step: 0, layer: 0 }, {}, [1, 2], 'neither three Float32Arrays nor three GPUBuffers'],
  [{ step: 0, layer: 0 }, { ops }, undefined, 'q, k and v are no handles'],
  [{ layer: 0 }, {}, undefined, 'step is undefined; give a whole number from 0 to 4'],
  [7 as unknown as object, {}, undefined, 'the place of a call is 7; give { step, layer }'],
])('%o with %o is refused', async (place, given, q, message) => {
  await expect(async () => refusing(place, given, q)).rejects.toThrow(message);
});
