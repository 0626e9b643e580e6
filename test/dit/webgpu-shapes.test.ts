// Wan transformers of sizes that divide by nothing, on the GPU beside ONNX Runtime: tokens that fill no tile, latents that patches do not cover,
// every published head width, text of 512 rows, batches, a timestep for each token.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CpuDevice, openCpu } from '../../src/backend/cpu.ts';
import type { Executor } from '../../src/dit/executor.ts';
import type { Program } from '../../src/dit/graph.ts';
import { cpuExecutor } from '../../src/dit/onnx/executor.ts';
import { type WanConfig, wanTransformer } from '../../src/dit/wan.ts';
import { gpuExecutor } from '../../src/dit/webgpu/executor.ts';
import { memoryWeights, type TensorData, type Weights } from '../../src/dit/weights.ts';
import { elements } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';
import { numbers, relativeError } from '../sparse3d/cases.ts';

const gpu = await openedGpu();

const usual = {
  patch: [1, 2, 2] as const,
  ...{ heads: 1, headDim: 64, inChannels: 16, outChannels: 16, textDim: 20, freqDim: 32, ffnDim: 100, layers: 1 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
};

function weightsOf({ nodes }: Program): Weights {
  const tensors: Record<string, TensorData> = {};
  for (const { operation, shape, id } of nodes) {
    if (operation.op !== 'weight') continue;
    const spread = shape.length > 1 ? Math.sqrt(elements(shape.slice(1))) : 1;
    tensors[operation.name] = { dtype: 'F32', shape, data: numbers(elements(shape), 100 + id).map((x) => x / spread) };
  }
  return memoryWeights(tensors);
}

async function run({ ops, compile }: Executor, program: Program, weights: Weights): Promise<Float32Array> {
  const executable = await compile(program, weights);
  const inputs = program.nodes.flatMap(({ operation, shape, id }) =>
    operation.op === 'input' ? [[operation.name, ops.upload(numbers(elements(shape), id + 1), shape)] as const] : [],
  );
  const { sample } = executable.run(Object.fromEntries(inputs), (q, k, v) => ops.attendAll(q, k, v).out);
  const read = (await ops.read(sample)) as Float32Array;
  await executable.dispose();
  return read;
}

describe.skipIf(!gpu)('Wan on a GPU', () => {
  let cpu: CpuDevice;
  let executor: Executor;
  beforeAll(async () => {
    [cpu, executor] = [await openCpu(), await gpuExecutor(gpu!)];
  });
  afterAll(() => cpu?.dispose());

  test.each([
    ['3 heads of 64, a batch of 2, 512 rows of text', { heads: 3 }, { batch: 2, frames: 3, height: 7, width: 11, textTokens: 512 }],
    [
      'a head of 96, 48 channels, a timestep for each token',
      { headDim: 96, inChannels: 48, outChannels: 48 },
      { batch: 1, frames: 5, height: 3, width: 7, textTokens: 9, perToken: true },
    ],
    [
      'a head of 128, patches of two frames, other channels out, no norm before cross-attention, a batch of 2 with its timesteps',
      { headDim: 128, patch: [2, 2, 2] as const, inChannels: 36, crossAttentionNorm: false, layers: 2 },
      { batch: 2, frames: 5, height: 7, width: 6, textTokens: 1, perToken: true },
    ],
    ['one token', { headDim: 128, outChannels: 4 }, { batch: 1, frames: 1, height: 2, width: 2, textTokens: 3 }],
  ])('%s', async (_, own, shape) => {
    const config: WanConfig = { ...usual, ...own };
    const program = wanTransformer(config, shape);
    const weights = weightsOf(program);
    const want = await run(cpuExecutor(cpu), program, weights);
    expect(relativeError(await run(executor, program, weights), Array.from(want))).toBeLessThan(2e-5);
  });
});
