// What f16 costs a transformer whose numbers are as large as in real ones: a few channels of the sum over the depth are thousands of times as
// large as the others, and so are some activations of a feed-forward layer. Where a GPU has no f16, it is played.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Executor } from '../../src/dit/executor.ts';
import type { Program } from '../../src/dit/graph.ts';
import { wanTransformer } from '../../src/dit/wan.ts';
import { gpuExecutor } from '../../src/dit/webgpu/executor.ts';
import { memoryWeights, type TensorData, type Weights } from '../../src/dit/weights.ts';
import { elements } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';
import { playF16 } from '../gpu/played.ts';
import { numbers, relativeError } from '../sparse3d/cases.ts';

const config = {
  patch: [1, 2, 2] as const,
  ...{ heads: 2, headDim: 64, inChannels: 4, outChannels: 4, textDim: 24, freqDim: 16, ffnDim: 192, layers: 2 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
};
const program = wanTransformer(config, { batch: 1, frames: 2, height: 6, width: 10, textTokens: 7 });

/** Weights that keep activations near 1, but for three channels of the sum, one that a layer adds to, and a hidden activation of each layer. */
function weightsOf({ nodes }: Program, { channel = 0, hidden = 0 }): Weights {
  const tensors: Record<string, TensorData> = {};
  for (const { operation, shape, id } of nodes) {
    if (operation.op !== 'weight') continue;
    const { name } = operation;
    const spread = shape.length > 1 ? Math.sqrt(elements(shape.slice(1))) : 10;
    const middle = /norm.*weight/.test(name) ? 1 : 0;
    const data = numbers(elements(shape), 100 + id, 4).map((x) => middle + x / (name.includes('table') ? 2 : spread));
    if (name === 'patch_embedding.bias') for (const [at, times] of [1, -2.3, 0.4].entries()) data[3 + 37 * at] += times * channel;
    if (name === 'blocks.1.ffn.net.2.bias') data[9] += channel;
    if (name.endsWith('ffn.net.0.proj.bias')) data[5] += hidden;
    tensors[name] = { dtype: 'F32', shape, data };
  }
  return memoryWeights(tensors);
}

async function run({ ops, compile }: Executor, weights: Weights): Promise<Float32Array> {
  const executable = await compile(program, weights);
  const inputs = program.nodes.flatMap(({ operation, shape, id }) =>
    operation.op === 'input' ? [[operation.name, ops.upload(numbers(elements(shape), id + 1, 3), shape)] as const] : [],
  );
  const { sample } = executable.run(Object.fromEntries(inputs), (q, k, v) => ops.attendAll(q, k, v).out);
  const read = (await ops.read(sample)) as Float32Array;
  await executable.dispose();
  return read;
}

const [gpu, other] = [await openedGpu(), await openedGpu()];

describe.skipIf(!gpu || !other)('f16 beside f32', () => {
  let [f32, f16]: Executor[] = [];
  beforeAll(async () => {
    [f32, f16] = [await gpuExecutor(gpu!), await gpuExecutor(playF16(other!), { dtype: 'f16' })];
  });

  test.each([
    ['no outliers', {}],
    ['channels of the sum as in real models', { channel: 5e3 }],
    ['channels of the sum that f16 has no numbers for', { channel: 2e5 }],
    ['activations that f16 has no numbers for', { channel: 1e3, hidden: 9e4 }],
  ])('%s', async (_, outliers) => {
    const weights = weightsOf(program, outliers);
    const want = await run(f32, weights);
    expect(want.every(Number.isFinite)).toBe(true);
    const apart = relativeError(await run(f16, weights), Array.from(want));
    expect(apart).toBeLessThan(1e-2);
    expect(apart, 'f16 was used').toBeGreaterThan(1e-5);
  });
});
