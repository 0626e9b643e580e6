// Checks of Wan's transformer: one forward per case (batch of two, fractional and per-token timesteps), and q, k, v, o around its self-attention.
import type { CpuDevice } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { cpuExecutor } from '../../src/dit/onnx/executor.ts';
import { loadTransformer, type Transformer } from '../../src/dit/transformer.ts';
import type { Tensor } from '../../src/tensor.ts';
import { type Comparison, compare, type Fixture, floats, TOLERANCE } from './fixture.ts';

const CASES = ['', '.batch2', '.fractional', '.pertoken'];

export async function* checkTransformer(fixture: Fixture, device: CpuDevice): AsyncGenerator<Comparison> {
  const transformer = await loadTransformer(fixture.path('transformer'), cpuExecutor(device));
  try {
    for (const suffix of CASES) {
      const seams: Tensor[][] = [];
      const sample = await forward(fixture, transformer, device, suffix, seams);
      yield compare(`${fixture.name}${suffix}`, sample, await floats(fixture, `outputs${suffix}`, 'sample'), TOLERANCE.forward);
      if (suffix === '') yield* checkSeams(fixture, device, transformer.config.heads, seams);
    }
  } finally {
    await transformer.dispose();
  }
}

/** One forward with dense attention; `seams` receives q, k, v, o of each layer. */
async function forward(
  fixture: Fixture,
  transformer: Transformer,
  device: CpuDevice,
  suffix: string,
  seams: Tensor[][],
): Promise<Float32Array> {
  const upload = async (name: string): Promise<Tensor> => {
    const { data, shape } = await fixture.array(`inputs${suffix}`, name);
    return device.upload(data, shape);
  };
  const inputs = {
    latents: await upload('hidden_states'),
    timesteps: await floats(fixture, `inputs${suffix}`, 'timestep'),
    text: await upload('encoder_hidden_states'),
  };
  const ops = cpuBackend(device);
  const sample = await transformer.forward(inputs, (q, k, v) => {
    const { out } = ops.attendAll(q, k, v);
    seams.push([q, k, v, out]);
    return out;
  });
  return (await device.read(sample)) as Float32Array;
}

/** The reference keeps [batch, tokens, heads, dim] with a batch of one; a seam has [heads, tokens, dim]. */
async function* checkSeams(fixture: Fixture, device: CpuDevice, heads: number, seams: readonly Tensor[][]): AsyncGenerator<Comparison> {
  const names = await fixture.names('intermediates');
  for (const [layer, tensors] of seams.entries()) {
    for (const [index, part] of ['q', 'k', 'v', 'o'].entries()) {
      const name = `blocks.${layer}.self.${part}`;
      if (!names.includes(name)) continue;
      const { data, shape } = await fixture.array('intermediates', name);
      const [, tokens, , dim] = shape;
      const own = await device.read(tensors[index]);
      const reordered = Float32Array.from(data, (_, at) => {
        const [token, head, d] = [Math.floor(at / (heads * dim)), Math.floor(at / dim) % heads, at % dim];
        return own[(head * tokens + token) * dim + d];
      });
      yield compare(`${fixture.name}.${name}`, reordered, data, TOLERANCE.forward);
    }
  }
}
