// What a Program takes on a GPU is known before it runs, and one that is too large is refused with its bytes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesOf, type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { randomWeights } from '../../src/bench/random.ts';
import type { Executor } from '../../src/dit/executor.ts';
import { trace } from '../../src/dit/graph.ts';
import { wanTransformer } from '../../src/dit/wan.ts';
import { gpuExecutor } from '../../src/dit/webgpu/executor.ts';
import { ditKernels } from '../../src/dit/webgpu/kernels/index.ts';
import { loadWeights } from '../../src/dit/webgpu/weights.ts';
import { memoryWeights } from '../../src/dit/weights.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import { elements, type Tensor } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';

const opened = await openedGpu();

const wan = {
  patch: [1, 2, 2] as const,
  ...{ heads: 2, headDim: 32, inChannels: 4, outChannels: 4, textDim: 64, freqDim: 16, ffnDim: 256, layers: 3 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
};

describe.skipIf(!opened)('memory of Programs', () => {
  let gpu: GpuDevice;
  let executor: Executor;
  beforeAll(async () => {
    // Of its own, whose pool holds nothing else.
    gpu = await openWebgpu();
    executor = await gpuExecutor(gpu);
  });
  afterAll(() => gpu.dispose());

  test('is what was said beforehand, and is given back', async () => {
    const program = wanTransformer(wan, { batch: 1, frames: 2, height: 24, width: 16, textTokens: 64 });
    const { weights, kept, values } = executor.bytes!(program);
    const executable = await executor.compile(program, randomWeights(program));
    const upload = (name: string): Tensor => {
      const { shape } = program.nodes.find(({ operation }) => operation.op === 'input' && operation.name === name)!;
      return executor.ops.upload(new Float32Array(elements(shape)).fill(0.1), shape);
    };
    const inputs = { hidden_states: upload('hidden_states'), time: upload('time') };
    const prompts = [upload('encoder_hidden_states'), upload('encoder_hidden_states')];
    for (const text of prompts) executor.ops.release(executable.run({ ...inputs, encoder_hidden_states: text }, (q) => q).sample);
    await gpu.idle();
    // Buffers are whole multiples of 256 bytes, and the second prompt was not counted.
    const said = weights + kept + values;
    expect(gpu.memory.bytes).toBeGreaterThan(0.95 * said);
    expect(gpu.memory.bytes).toBeLessThan(1.25 * said);
    await executable.dispose();
    for (const tensor of [...prompts, ...Object.values(inputs)]) executor.ops.release(tensor);
    gpu.trim();
    // A table without a plan lives as long as the device.
    expect(gpu.memory.bytes).toBeLessThanOrEqual(256);
  });

  test('weights are copied as they are stored, and bf16 is widened: odd in size, and larger than a piece', async () => {
    const sizes = { odd: 9, large: 2 ** 23 + 3 };
    const bits = Object.entries(sizes).map(
      ([name, size]) => [name, Uint16Array.from({ length: size }, (_, i) => (i * 7) % 32_641)] as const,
    );
    const kernels = { dit: await loadKernels(ditKernels), sparse3d: await loadKernels(sparse3dKernels) };
    const load = (stored: 'F16' | 'BF16', dtype: 'f16' | 'f32') =>
      loadWeights(
        bits.map(([name, data]) => ({ name, shape: [data.length], dtype })),
        memoryWeights(Object.fromEntries(bits.map(([name, data]) => [name, { dtype: stored, shape: [data.length], data }]))),
        ...([gpu, kernels] as const),
      );
    const [halves, floats] = [await load('F16', 'f16'), await load('BF16', 'f32')];
    for (const [name, data] of bits) {
      const words = gpu.tensor([Math.ceil(data.length / 2)], 'i32');
      gpu.copy(halves.get(name), 0, words, 0, bytesOf(words));
      expect(Buffer.compare(Buffer.from((await gpu.read(words)).buffer, 0, data.byteLength), Buffer.from(data.buffer))).toBe(0);
      gpu.release(words);
      const widened = new Uint32Array((await gpu.read(floats.get(name))).buffer);
      expect(widened.every((number, i) => number === data[i] << 16)).toBe(true);
    }
    await halves.release();
    await floats.release();
  });

  // SwiftShader offers buffers of 1 GiB and has no memory for one; other adapters are not filled up by a test.
  test.skipIf(!opened?.adapter.software)('that is not there is said with all that is needed, before a run', async () => {
    const most = gpu.adapter.limits.maxBufferSize;
    const large = (rows: number) => trace((g) => ({ y: g.slice(g.activate(g.repeat(g.input('x', [1, 1024]), 0, rows), 'silu'), 0, 0, 1) }));
    await expect(executor.compile(large(most / 4096), memoryWeights({}))).rejects.toThrow(
      new RegExp(
        `^out of memory: this model needs ${most + 8192} bytes on the GPU, 0 of them for weights, and the GPU has no room for a buffer of ${most} bytes beside the [0-9]+ in use .*; choose a smaller size, f16 or the CPU$`,
      ),
    );
    const small = await executor.compile(large(4), memoryWeights({}));
    const { y } = small.run({ x: executor.ops.upload(new Float32Array(1024).fill(1), [1, 1024]) });
    expect((await executor.ops.read(y))[0]).toBeCloseTo(1 / (1 + Math.exp(-1)), 5);
    await small.dispose();
  });
});
