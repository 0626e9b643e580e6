// Programs stored as f16, which no software GPU has: Dawn's null backend at least compiles every kernel with its types and takes every launch.
import { expect, test } from 'vitest';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { type Program, trace } from '../../src/dit/graph.ts';
import { wanTransformer } from '../../src/dit/wan.ts';
import { compileOnGpu } from '../../src/dit/webgpu/executor.ts';
import { fusion } from '../../src/dit/webgpu/fuse.ts';
import { ditKernels } from '../../src/dit/webgpu/kernels/index.ts';
import { planProgram } from '../../src/dit/webgpu/plan.ts';
import { memoryWeights, type TensorData } from '../../src/dit/weights.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import { elements, type Tensor } from '../../src/tensor.ts';
import { t5Encoder } from '../../src/text/encoder.ts';
import { nullGpu } from '../gpu/null.ts';

const kernels = { dit: await loadKernels(ditKernels), sparse3d: await loadKernels(sparse3dKernels) };
const device = nullGpu({ experimental: false });

const wan = {
  patch: [1, 2, 2] as const,
  ...{ heads: 2, headDim: 16, inChannels: 4, outChannels: 4, textDim: 12, freqDim: 16, ffnDim: 48, layers: 2 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
};
const t5 = { biasInEveryBlock: true, vocabulary: 1, width: 16, heads: 2, headDim: 8, hidden: 24, layers: 1, buckets: 8, maxDistance: 16 };

const programs: Readonly<Record<string, Program>> = {
  'a Wan transformer': wanTransformer(wan, { batch: 2, frames: 1, height: 4, width: 4, textTokens: 5 }),
  'a Wan transformer with a time for each token': wanTransformer(wan, {
    ...{ batch: 1, frames: 1, height: 4, width: 4, textTokens: 5 },
    perToken: true,
  }),
  'a T5 encoder': t5Encoder({ ...t5, epsilon: 1e-6 }, 5),
  'images and odd sizes': trace((g) => {
    const image = g.conv(g.input('image', [1, 3, 4, 6]), g.weight('w', [5, 3, 3, 3]), g.weight('b', [5]), { pads: [1, 1, 1, 1] });
    const large = g.upsample(g.clip(g.normalize(image, 1), -1, 1), [1, 1, 2, 2]);
    const rows = g.reshape(large, [5, 8, 12]);
    const rotated = g.rope(
      g.reshape(rows, [1, 5, 8, 12]),
      g.constant(new Float32Array(48), [8, 6]),
      g.constant(new Float32Array(48), [8, 6]),
    );
    return { image: g.concat([large, rotated], 1), norm: g.norm(g.slice(rows, 2, 0, 7), 'layer', 1e-6) };
  }),
};

test.each(Object.entries(programs))('%s', async (_name, program) => {
  const tensors: Record<string, TensorData> = {};
  const inputs: Record<string, Tensor> = {};
  for (const { operation, shape } of program.nodes) {
    const data = new Float32Array(elements(shape));
    if (operation.op === 'weight')
      tensors[operation.name] =
        shape.length > 1 ? { dtype: 'F16', shape, data: new Uint16Array(data.length) } : { dtype: 'F32', shape, data };
    if (operation.op === 'input') inputs[operation.name] = device().upload(data, shape);
  }
  const executable = await compileOnGpu(program, memoryWeights(tensors), device(), kernels, { dtype: 'f16' });
  const outputs = executable.run(inputs, (q, k, v) => {
    expect([q, k, v].map(({ dtype }) => dtype)).toEqual(['f16', 'f16', 'f16']);
    return q;
  });
  await device().idle();
  for (const { dtype } of Object.values(outputs)) expect(dtype).toBe('f32');
  await executable.dispose();
});

test('the sum over the depth, times, modulation and velocity stay f32; what products read is f16', () => {
  const { slots, steps, outputs } = planProgram(programs['a Wan transformer'], kernels, 'f16');
  const made = steps.map(({ writes }) => slots[writes]);
  const ofType = (shape: readonly number[], dtype: string) =>
    made.filter((slot) => `${slot.shape}` === `${shape}` && slot.dtype === dtype).length;
  // Patches, then three sums a layer.
  expect(ofType([2, 4, 32], 'f32')).toBe(7);
  // Tables of modulation in each layer.
  expect(ofType([2, 1, 6, 32], 'f32')).toBe(2);
  expect(ofType([2, 1, 6, 32], 'f16')).toBe(0);
  expect([ofType([2, 4, 48], 'f16'), ofType([2, 4, 48], 'f32')]).toEqual([2, 0]);
  const { reads } = steps.find(({ writes }) => writes === outputs.sample)!;
  expect(reads.map((slot) => slots[slot].dtype)).toEqual(['f32']);
});

test('terms of a sum that no linear layer takes up stay f32 too', () => {
  const { nodes, ...program } = programs['a Wan transformer with a time for each token'];
  const when = nodes.map(() => 'dynamic' as const);
  const { carried } = fusion({ nodes, ...program }, when);
  const patches = nodes.find(({ inputs: [, , bias] }) => bias !== undefined && isWeight(nodes[bias], 'patch_embedding.bias'))!;
  expect(carried.has(patches.id)).toBe(true);
});

const isWeight = ({ operation }: Program['nodes'][number], name: string): boolean => operation.op === 'weight' && operation.name === name;
