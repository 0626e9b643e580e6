// Programs on the GPU: each operation against the CPU's, fused chains, how long things live, and whole transformers.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { readJson } from '../../src/dit/config.ts';
import type { Seam } from '../../src/dit/executor.ts';
import { type Program, type Tracer, trace, type Value } from '../../src/dit/graph.ts';
import { compile } from '../../src/dit/onnx/executor.ts';
import { wanConfig } from '../../src/dit/transformer.ts';
import { timestepEmbedding, wanTransformer } from '../../src/dit/wan.ts';
import { compileOnGpu } from '../../src/dit/webgpu/executor.ts';
import { ditKernels } from '../../src/dit/webgpu/kernels/index.ts';
import { memoryWeights, openWeights, type Weights } from '../../src/dit/weights.ts';
import { embeddedModel } from '../../src/embedded-model.ts';
import { sparse3dGpuOps } from '../../src/sparse3d/gpu.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import type { Tensor } from '../../src/tensor.ts';
import { t5Encoder } from '../../src/text/encoder.ts';
import { openedGpu } from '../gpu/device.ts';
import { relativeError as apart, numbers } from '../sparse3d/cases.ts';
import { type Inputs, randomInputs, randomWeights, uploaded } from './programs.ts';

const opened = await openedGpu();
const kernels = { dit: await loadKernels(ditKernels), sparse3d: await loadKernels(sparse3dKernels) };

const relativeError = (got: ArrayLike<number>, want: ArrayLike<number>): number => apart(got, Array.from(want));

describe.skipIf(!opened)('on a GPU', () => {
  const gpu = opened!;
  let cpu: CpuDevice;
  beforeAll(async () => {
    cpu = await openCpu();
  });
  afterAll(() => cpu?.dispose());
  const ops = gpu && sparse3dGpuOps(gpu, kernels.sparse3d);
  const gpuSeam: Seam = (q, k, v) => ops.attendAll(q, k, v).out;

  async function onCpu(program: Program, weights: Weights, inputs: Inputs): Promise<Record<string, ArrayLike<number>>> {
    const executable = await compile(program, weights, cpu);
    const backend = cpuBackend(cpu);
    const outputs = executable.run(uploaded(program, inputs, cpu.upload), (q, k, v) => backend.attendAll(q, k, v).out);
    const read = await Promise.all(Object.entries(outputs).map(async ([name, tensor]) => [name, await cpu.read(tensor)] as const));
    await executable.dispose();
    return Object.fromEntries(read);
  }

  async function onGpu(program: Program, weights: Weights, inputs: Inputs): Promise<Record<string, ArrayLike<number>>> {
    const executable = await compileOnGpu(program, weights, gpu, kernels);
    const given = uploaded(program, inputs, gpu.upload);
    const outputs = executable.run(given, gpuSeam);
    const read = await Promise.all(Object.entries(outputs).map(async ([name, tensor]) => [name, await ops.read(tensor)] as const));
    for (const [name, tensor] of Object.entries(outputs)) expect(tensor.shape, name).toEqual(program.nodes[program.outputs[name]].shape);
    for (const tensor of [...Object.values(given), ...Object.values(outputs)]) ops.release(tensor);
    await executable.dispose();
    return Object.fromEntries(read);
  }

  async function expectAlike(build: (g: Tracer) => Record<string, Value>, tolerance = 2e-6): Promise<void> {
    const program = trace(build);
    const [weights, inputs] = [randomWeights(program), randomInputs(program)];
    const want = await onCpu(program, weights, inputs);
    const got = await onGpu(program, weights, inputs);
    for (const name of Object.keys(want)) expect(relativeError(got[name], want[name]), name).toBeLessThan(tolerance);
  }

  test('elementwise operations broadcast, over views too', () =>
    expectAlike((g) => {
      const [x, y, row, column] = [
        g.input('x', [2, 3, 5, 8]),
        g.input('y', [3, 1, 8]),
        g.input('row', [8]),
        g.input('column', [2, 1, 5, 1]),
      ];
      return {
        add: g.add(x, y),
        sub: g.sub(row, x),
        mul: g.mul(x, column),
        scalar: g.add(g.constant(1), x),
        outer: g.mul(column, row),
        silu: g.activate(x, 'silu'),
        gelu: g.activate(g.mul(x, g.constant(40)), 'gelu_tanh'),
        relu: g.activate(x, 'relu'),
        tanh: g.activate(g.mul(x, g.constant(30)), 'tanh'),
        clip: g.clip(x, -0.5, 0.25),
        views: g.add(g.transpose(x, [3, 1, 2, 0]), g.slice(g.transpose(g.slice(x, 2, 1, 4), [3, 1, 2, 0]), 2, 1, 2)),
      };
    }));

  test('shapes and orders', () =>
    expectAlike((g) => {
      const x = g.input('x', [2, 4, 6, 8]);
      const turned = g.transpose(x, [0, 2, 1, 3]);
      return {
        transpose: g.transpose(x, [3, 0, 2, 1]),
        joined: g.reshape(turned, [2, 6, 32]),
        slice: g.slice(g.slice(x, 2, 1, 6), 3, 3, 7),
        repeat: g.repeat(x, 2, 3),
        upsample: g.upsample(x, [1, 1, 2, 2]),
        concat: g.concat(
          [x, g.slice(turned, 2, 0, 4), g.upsample(g.slice(x, 2, 0, 1), [1, 1, 6, 1])].slice(0, 1).concat(g.slice(x, 2, 1, 4)),
          2,
        ),
        across: g.concat([g.slice(x, 3, 0, 3), g.slice(x, 3, 2, 8)], 3),
        patches: g.transpose(g.reshape(x, [1, 2, 4, 3, 2, 4, 2]), [1, 3, 5, 2, 0, 4, 6]),
        same: x,
      };
    }));

  test('norms, lengths and rotary embeddings', () =>
    expectAlike((g) => {
      const x = g.input('x', [2, 7, 48]);
      const wide = g.input('wide', [1, 2, 1540]);
      const odd = g.input('odd', [3, 2, 7]);
      const heads = g.transpose(g.reshape(x, [2, 7, 6, 8]), [0, 2, 1, 3]);
      const modulation = g.input('modulation', [2, 1, 2, 48]);
      const perToken = g.input('perToken', [2, 7, 48]);
      const vector = (i: number) => g.reshape(g.slice(modulation, 2, i, i + 1), [2, 1, 48]);
      const tables = [g.input('cos', [7, 4]), g.input('sin', [7, 4])] as const;
      return {
        layer: g.norm(x, 'layer', 1e-6, g.weight('w', [48]), g.weight('b', [48])),
        plain: g.norm(x, 'layer', 1e-6),
        rms: g.norm(wide, 'rms', 1e-5, g.weight('wide', [1540])),
        odd: g.norm(odd, 'layer', 1e-6, g.weight('odd', [7])),
        modulated: g.add(g.mul(g.norm(x, 'layer', 1e-6), g.add(vector(0), g.constant(1))), vector(1)),
        perToken: g.add(g.mul(perToken, g.norm(x, 'rms', 1e-6)), vector(1)),
        normalize: g.normalize(g.input('image', [2, 5, 3, 4]), 1),
        rope: g.rope(heads, ...tables),
        heads: g.rope(g.transpose(g.reshape(g.norm(x, 'rms', 1e-6, g.weight('q', [48])), [2, 7, 6, 8]), [0, 2, 1, 3]), ...tables),
        still: g.transpose(g.reshape(g.norm(x, 'rms', 1e-6, g.weight('k', [48])), [2, 7, 1, 48]), [0, 2, 1, 3]),
      };
    }, 5e-6));

  test('linear layers with what follows them', () =>
    expectAlike((g) => {
      const x = g.input('x', [2, 9, 20]);
      const weight = g.weight('w', [28, 20]);
      const bias = g.weight('b', [28]);
      const residual = g.input('residual', [2, 9, 28]);
      const gates = g.input('gates', [2, 3, 28]);
      const gate = g.slice(gates, 1, 1, 2);
      const shared = g.linear(x, weight, bias);
      return {
        plain: g.linear(x, weight),
        activated: g.activate(g.linear(x, weight, bias), 'gelu_tanh'),
        gated: g.add(residual, g.mul(g.linear(x, weight, bias), gate)),
        each: g.mul(g.linear(x, weight, bias), residual),
        added: g.add(g.linear(x, weight), residual),
        twice: g.add(shared, g.activate(shared, 'silu')),
        twin: g.add(g.linear(x, weight), g.linear(x, weight, bias)),
        view: g.linear(g.transpose(g.input('turned', [20, 9]), [1, 0]), weight, bias),
        vector: g.linear(g.input('vector', [20]), weight, bias),
      };
    }, 5e-6));

  test('convolutions of 2 and 3 axes', () =>
    expectAlike((g) => {
      const image = g.input('image', [2, 3, 6, 7]);
      const video = g.input('video', [1, 3, 4, 5, 6]);
      return {
        plain: g.conv(image, g.weight('w', [4, 3, 3, 3]), g.weight('b', [4]), { pads: [1, 0, 1, 2] }),
        strided: g.conv(image, g.weight('s', [5, 3, 2, 3]), undefined, { strides: [2, 3] }),
        patches: g.conv(image, g.weight('p', [5, 3, 2, 2]), g.weight('q', [5]), { strides: [2, 2] }),
        blocks: g.conv(video, g.weight('r', [4, 3, 2, 2, 3]), undefined, { strides: [2, 2, 3] }),
        causal: g.conv(video, g.weight('v', [2, 3, 3, 3, 3]), g.weight('c', [2]), { pads: [2, 1, 1, 0, 1, 1], strides: [1, 2, 1] }),
      };
    }, 5e-6));

  test('convolutions of many tiles with what follows them', () =>
    expectAlike((g) => {
      const x = g.input('x', [2, 9, 13, 41]);
      const weights = (outputs: number) => g.weight(`w${outputs}`, [outputs, 9, 3, 3]);
      const same = g.conv(x, weights(9), g.weight('b', [9]), { pads: [1, 1, 1, 1] });
      const cut = (y: Value) => g.conv(y, g.weight('p', [9, 9, 2, 2]), undefined, { strides: [2, 2] });
      return {
        wide: g.activate(g.conv(x, weights(70), undefined, { pads: [1, 1, 1, 1] }), 'relu'),
        middle: g.conv(x, weights(33), undefined, { pads: [1, 1, 1, 1] }),
        pointwise: g.activate(g.conv(x, g.weight('o', [5, 9, 1, 1]), g.weight('c', [5])), 'tanh'),
        added: g.activate(g.add(same, x), 'relu'),
        patched: g.activate(g.add(cut(x), g.input('half', [2, 9, 6, 20])), 'relu'),
      };
    }, 5e-6));

  test('plain attention of any scale, width and bias', () =>
    expectAlike((g) => {
      const [q, k, v] = [g.input('q', [2, 3, 5, 16]), g.input('k', [2, 3, 70, 16]), g.input('v', [2, 3, 70, 16])];
      const bias = g.add(g.input('distance', [1, 3, 5, 70]), g.input('mask', [1, 1, 1, 70]));
      const narrow = g.input('narrow', [1, 70, 20]);
      return {
        plain: g.softmaxAttention(q, k, v, 0.25),
        scaled: g.softmaxAttention(q, k, v, 1),
        biased: g.softmaxAttention(q, k, v, 1, bias),
        narrow: g.softmaxAttention(narrow, narrow, g.slice(narrow, 2, 0, 6), 0.3),
      };
    }, 5e-6));

  test('an operation without a kernel is named', async () => {
    const program = trace((g) => ({ y: g.add(g.input('x', [4]), g.constant(1)) }));
    const odd = {
      ...program,
      nodes: program.nodes.map((node) => ({ ...node, ...(node.id === 2 && { operation: { op: 'fft' } as never }) })),
    };
    await expect(compileOnGpu(odd, memoryWeights({}), gpu, kernels)).rejects.toThrow('operation fft has no WebGPU kernel');
  });

  test('a missing weight, and a storage that the GPU has not, are said at once', async () => {
    const program = trace((g) => ({ y: g.linear(g.input('x', [1, 4]), g.weight('w', [2, 4])) }));
    await expect(compileOnGpu(program, memoryWeights({}), gpu, kernels)).rejects.toThrow('memory has no tensor "w"');
    if (!gpu.adapter.features.has('shader-f16'))
      await expect(compileOnGpu(program, randomWeights(program), gpu, kernels, { dtype: 'f16' })).rejects.toThrow('this GPU stores no f16');
  });

  const wan = {
    patch: [1, 2, 2] as const,
    ...{ heads: 2, headDim: 16, inChannels: 4, outChannels: 4, textDim: 12, freqDim: 16, ffnDim: 48, layers: 2 },
    ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
  };

  test.each([{ batch: 2 }, { batch: 1, perToken: true }])('a small Wan transformer, %o', async (shape) => {
    const program = wanTransformer(wan, { frames: 2, height: 4, width: 6, textTokens: 5, ...shape });
    const [weights, inputs] = [randomWeights(program), randomInputs(program)];
    const [want, got] = [await onCpu(program, weights, inputs), await onGpu(program, weights, inputs)];
    expect(relativeError(got.sample, want.sample)).toBeLessThan(2e-5);
  });

  test('a small T5 encoder', () => {
    const config = { biasInEveryBlock: true, vocabulary: 1, width: 16, heads: 2, headDim: 8, hidden: 24, layers: 2 };
    const program = t5Encoder({ ...config, buckets: 8, maxDistance: 16, epsilon: 1e-6 }, 7);
    const [weights, inputs] = [randomWeights(program), randomInputs(program)];
    return Promise.all([onCpu(program, weights, inputs), onGpu(program, weights, inputs)]).then(([want, got]) =>
      expect(relativeError(got.hidden, want.hidden)).toBeLessThan(2e-5),
    );
  });

  test('what depends on the prompt alone is computed once for each; memory is given back', async () => {
    const program = wanTransformer(wan, { batch: 1, frames: 1, height: 4, width: 4, textTokens: 5 });
    const [weights, inputs] = [randomWeights(program), randomInputs(program)];
    const executable = await compileOnGpu(program, weights, gpu, kernels);
    const given = uploaded(program, inputs, gpu.upload);
    const others = Array.from({ length: 5 }, (_, i) => gpu.upload(numbers(60, 50 + i), [1, 5, 12]));
    const run = async (text: Tensor) => {
      const { sample } = executable.run({ ...given, encoder_hidden_states: text }, gpuSeam);
      const read = await ops.read(sample);
      ops.release(sample);
      return read;
    };
    const first = await run(given.encoder_hidden_states);
    for (const text of others) expect(relativeError(await run(text), first)).toBeGreaterThan(1e-6);
    const { bytes } = gpu.memory;
    for (let time = 0; time < 2; time++) for (const text of others) await run(text);
    expect(relativeError(await run(given.encoder_hidden_states), first)).toBe(0);
    expect(gpu.memory.bytes).toBe(bytes);
    const { sample } = executable.run(given, (q) => q);
    expect((await ops.read(sample)).every(Number.isFinite)).toBe(true);
    expect(() => executable.run(given)).toThrow('pass an attention function');
    expect(() => executable.run({ time: given.time })).toThrow('input hidden_states [1,4,1,4,4] is missing');
    const held = gpu.memory.bytes;
    const again = await compileOnGpu(program, weights, gpu, kernels);
    expect(gpu.memory.bytes - held, 'weights are shared').toBeLessThan(3e4);
    await again.dispose();
    await executable.dispose();
  });

  test('the reference transformer, to 1e-4 of its largest value', async () => {
    const folder = fileURLToPath(new URL('../golden/wan-transformer-b/', import.meta.url));
    const config = wanConfig(await readJson(join(folder, 'transformer', 'config.json')));
    const weights = await openWeights(join(folder, 'transformer'));
    for (const suffix of ['', '.batch2', '.fractional', '.pertoken']) {
      const [inputs, outputs] = [
        await openWeights(join(folder, `inputs${suffix}.safetensors`)),
        await openWeights(join(folder, `outputs${suffix}.safetensors`)),
      ];
      const [batch, , frames, height, width] = inputs.get('hidden_states').shape;
      const timesteps = await inputs.floats('timestep');
      const perToken = timesteps.length !== batch && { perToken: true };
      const text = inputs.get('encoder_hidden_states').shape;
      const program = wanTransformer(config, { batch, frames, height, width, textTokens: text[1], ...perToken });
      const got = await onGpu(program, weights, {
        hidden_states: await inputs.floats('hidden_states'),
        encoder_hidden_states: await inputs.floats('encoder_hidden_states'),
        time: timestepEmbedding(timesteps, config.freqDim),
      });
      expect(relativeError(got.sample, await outputs.floats('sample')), suffix).toBeLessThan(1e-4);
      await Promise.all([inputs.close(), outputs.close()]);
    }
    await weights.close();
  });

  test('the first layers of the embedded model', async () => {
    const folder = join(embeddedModel(), 'transformer');
    const config = { ...wanConfig(await readJson(join(folder, 'config.json'))), layers: 3 };
    const weights = await openWeights(folder);
    const program = wanTransformer(config, { batch: 1, frames: 2, height: 4, width: 6, textTokens: 9 });
    const inputs = randomInputs(program);
    const [want, got] = [await onCpu(program, weights, inputs), await onGpu(program, weights, inputs)];
    expect(relativeError(got.sample, want.sample)).toBeLessThan(2e-5);
    await weights.close();
  });
});
