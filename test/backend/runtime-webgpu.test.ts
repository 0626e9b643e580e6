import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, numbersOf, openCpu } from '../../src/backend/cpu.ts';
import { OnnxGraph } from '../../src/backend/onnx.ts';
import { loadRuntime } from '../../src/backend/runtime.ts';
import { trace, type Value } from '../../src/dit/graph.ts';
import { memoryWeights } from '../../src/dit/weights.ts';
import { UnsupportedError } from '../../src/errors.ts';
import { loadTextEncoder } from '../../src/text/encoder.ts';
import { runtimePlace } from '../../src/vae/place.ts';
import { type Stage, type StagedDecoder, streamedDecoder } from '../../src/vae/stream.ts';
import { openedGpu } from '../gpu/device.ts';

const gpu = await openedGpu();

test('a run without a GPU device cannot take onnxruntime-webgpu', async () => {
  await expect(loadRuntime('onnxruntime-webgpu')).rejects.toThrow(UnsupportedError);
});

const waves = (length: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length }, (_, i) => Math.sin(i * 0.7) + Math.cos(i * 0.13));

/** Doubles frames, and looks one frame back by a cache of its own input. */
const growing: Stage = {
  most: 2,
  firstApart: true,
  trace: (shape, first) =>
    trace((g) => {
      const x = g.input('frames', shape);
      const conv = (value: Value) => g.conv(value, g.weight('conv', [4, shape[1], 3, 3]), undefined, { pads: [1, 1, 1, 1] });
      if (first) return { frames: g.activate(conv(x), 'silu'), 'cache.x': x };
      const before = g.slice(g.input('cache.x', shape), 0, shape[0] - 1, shape[0]);
      const past = shape[0] === 1 ? before : g.concat([before, g.slice(x, 0, 0, shape[0] - 1)], 0);
      const pairs = g.concat([conv(x), conv(past)], 1);
      return { frames: g.reshape(pairs, [2 * shape[0], 4, shape[2], shape[3]]), 'cache.x': x };
    }),
};

/** Looks back at what it gave last. */
const ending: Stage = {
  most: 2,
  firstApart: true,
  trace: (shape, first) =>
    trace((g) => {
      const x = g.slice(g.normalize(g.input('frames', shape), 1), 1, 0, 3);
      const last = (value: Value) => g.slice(value, 0, shape[0] - 1, shape[0]);
      if (first) return { frames: x, 'cache.y': last(x) };
      const y = g.add(x, g.mul(g.input('cache.y', [1, 3, shape[2], shape[3]]), g.constant(0.5)));
      return { frames: g.clip(y, -1, 1), 'cache.y': last(y) };
    }),
};

const decoder: StagedDecoder = {
  spatial: 1,
  temporal: 2,
  channels: 2,
  trim: 0,
  strips: (_height, width) => [{ axis: 3, start: 0, end: width, size: width }],
  stages: () => [growing, ending],
};
// A weight in half precision: the GPU runtime takes f32 alone.
const halves = Uint16Array.from({ length: 72 }, (_, i) => 0x3400 + 16 * i);
const weights = memoryWeights({ conv: { dtype: 'F16', shape: [4, 2, 3, 3], data: new Uint8Array(halves.buffer) } });

async function decoded(device: CpuDevice, most = Number.POSITIVE_INFINITY): Promise<number[]> {
  const all: number[] = [];
  for await (const { data } of streamedDecoder(decoder, weights, runtimePlace(device)).decode(waves(2 * 5 * 12), [2, 5, 3, 4])) {
    all.push(...data);
    if (all.length >= most) break;
  }
  return all;
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((most, value, at) => Math.max(most, Math.abs(value - b[at])), a.length === b.length ? 0 : Number.POSITIVE_INFINITY);

describe.skipIf(!gpu)('onnxruntime-webgpu', () => {
  let [device, cpu]: CpuDevice[] = [];
  beforeAll(async () => {
    device = await openCpu('onnxruntime-webgpu', gpu);
    cpu = await openCpu();
  });
  afterAll(async () => {
    await device.dispose();
    await cpu.dispose();
  });

  test('decodes as the CPU does, and gives back all memory that it held', async () => {
    const before = inUse();
    expect(largestDifference(await decoded(device), await decoded(cpu))).toBeLessThan(1e-5);
    await device.idle();
    expect(inUse()).toBe(before);
  });
  test('gives memory back when the frames are not wanted any more', async () => {
    const before = inUse();
    expect((await decoded(device, 60)).length).toBeLessThan(9 * 36);
    await device.idle();
    expect(inUse()).toBe(before);
  });
  test('encodes a text as the CPU does', async () => {
    const folder = fileURLToPath(new URL('../golden/t5/text_encoder', import.meta.url));
    const [own, other] = await Promise.all(
      [device, cpu].map(async (one) => {
        const encoder = await loadTextEncoder(folder, one);
        const hidden = await encoder.encode([5, 9, 20, 1, 0], [1, 1, 1, 1, 0]);
        await encoder.dispose();
        return hidden;
      }),
    );
    expect(largestDifference(own, other)).toBeLessThan(1e-4);
  });
  test('leaves no operation to the CPU: a graph with one that has no GPU form is refused', async () => {
    const graph = new OnnxGraph();
    const [a, b] = ['a', 'b'].map((name) => graph.input(name, 'f32', [4, 4]));
    graph.output(graph.node('FusedMatMul', [a, b], {}, 'com.microsoft', 'c'), 'f32', [4, 4]);
    await expect(device.runtime.session(graph.build())).rejects.toThrow(/CPU/);
  });
  test('holds results where it is told to, and says so where host numbers are wanted', async () => {
    const again = await openCpu('onnxruntime-webgpu', gpu);
    const graph = new OnnxGraph();
    graph.output(graph.node('Add', [graph.input('x', 'f32', [3]), graph.input('y', 'f32', [3])], {}, '', 'sum'), 'f32', [3]);
    const session = await again.runtime.session(graph.build(), { held: true });
    const x = new again.runtime.Tensor('float32', Float32Array.of(1, 2, 3), [3]);
    const [sum] = again.enqueue([{ shape: [3] }], async () => [(await session.run({ x, y: x })).sum]);
    await expect(numbersOf(sum)).rejects.toThrow(/shape \[3\] is held on the GPU/);
    const part = again.rows(sum, 1, 3);
    expect(await again.take(part)).toEqual(Float32Array.of(4, 6));
    expect(await again.read(sum)).toEqual(Float32Array.of(2, 4, 6));
    again.release(sum);
    await session.release();
    await again.dispose();
  });
});

/** Bytes that tensors hold now: free buffers are given back first. */
function inUse(): number {
  gpu!.trim();
  return gpu!.memory.bytes;
}
