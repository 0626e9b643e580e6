// Checks of Wan's transformer: one forward per case (batch of two, fractional and per-token timesteps), and q, k, v, o around its self-attention.
import type { Backend } from '../../src/backend/backend.ts';
import { loadTransformer, type Transformer } from '../../src/dit/transformer.ts';
import type { Numbers, Tensor } from '../../src/tensor.ts';
import { type Comparison, compare, type Fixture, floats } from './fixture.ts';
import type { Target } from './target.ts';

const CASES = ['', '.batch2', '.fractional', '.pertoken'];

export async function* checkTransformer(fixture: Fixture, { executor, tolerance }: Target): AsyncGenerator<Comparison> {
  const transformer = await loadTransformer(fixture.path('transformer'), executor);
  try {
    for (const suffix of CASES) {
      const seams: Promise<Numbers>[][] = [];
      const sample = await forward(fixture, transformer, executor.ops, suffix, seams);
      yield compare(`${fixture.name}${suffix}`, sample, await floats(fixture, `outputs${suffix}`, 'sample'), tolerance.forward);
      if (suffix === '') yield* checkSeams(fixture, transformer.config.heads, seams, tolerance.forward);
    }
  } finally {
    await transformer.dispose();
  }
}

/** One forward with dense attention; `seams` receives q, k, v, o of each layer. */
async function forward(
  fixture: Fixture,
  transformer: Transformer,
  ops: Backend,
  suffix: string,
  seams: Promise<Numbers>[][],
): Promise<Float32Array> {
  const upload = async (name: string): Promise<Tensor> => {
    const { data, shape } = await fixture.array(`inputs${suffix}`, name);
    return ops.upload(data, shape);
  };
  const inputs = {
    latents: await upload('hidden_states'),
    timesteps: await floats(fixture, `inputs${suffix}`, 'timestep'),
    text: await upload('encoder_hidden_states'),
  };
  const sample = await transformer.forward(inputs, (q, k, v) => {
    const { out } = ops.attendAll(q, k, v);
    seams.push([q, k, v, out].map((tensor) => ops.read(tensor)));
    return out;
  });
  await Promise.all(seams.flat());
  return (await ops.read(sample)) as Float32Array;
}

/** The reference keeps [batch, tokens, heads, dim] with a batch of one; a seam has [heads, tokens, dim]. */
async function* checkSeams(
  fixture: Fixture,
  heads: number,
  seams: readonly Promise<Numbers>[][],
  share: number,
): AsyncGenerator<Comparison> {
  const names = await fixture.names('intermediates');
  for (const [layer, parts] of seams.entries()) {
    for (const [index, part] of ['q', 'k', 'v', 'o'].entries()) {
      const name = `blocks.${layer}.self.${part}`;
      if (!names.includes(name)) continue;
      const { data, shape } = await fixture.array('intermediates', name);
      const [, tokens, , dim] = shape;
      const own = await parts[index];
      const reordered = Float32Array.from(data, (_, at) => {
        const [token, head, d] = [Math.floor(at / (heads * dim)), Math.floor(at / dim) % heads, at % dim];
        return own[(head * tokens + token) * dim + d];
      });
      yield compare(`${fixture.name}.${name}`, reordered, data, share);
    }
  }
}
