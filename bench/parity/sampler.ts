// Checks of samplers: noise levels, timesteps and the worst step of a trajectory, with the reference's model outputs as velocities.
import { readJson } from '../../src/dit/config.ts';
import { createSampler, type SamplerOptions } from '../../src/dit/sampler.ts';
import { type Comparison, compare, type Fixture, floats, onHost, TOLERANCE, worst } from './fixture.ts';
import type { Target } from './target.ts';

export async function* checkSampler(fixture: Fixture, { executor: { ops } }: Target): AsyncGenerator<Comparison> {
  const config = await readJson(fixture.path('scheduler', 'scheduler_config.json'));
  const expected = await floats(fixture, 'outputs', 'timesteps');
  const sampler = createSampler(config, options(fixture, expected.length));
  const table = async (name: 'timesteps' | 'sigmas'): Promise<Comparison> =>
    onHost(compare(`${fixture.name}.${name}`, sampler[name], await floats(fixture, 'outputs', name), TOLERANCE.forward / 100));
  yield await table('timesteps');
  yield await table('sigmas');
  const upload = async (file: string, name: string) => {
    const { data, shape } = await fixture.array(file, name);
    return ops.upload(data, shape);
  };
  let sample = await upload('inputs', 'sample');
  const steps: Comparison[] = [];
  for (let step = 0; step < expected.length; step++) {
    sample = sampler.step(ops, await upload('outputs', `model_out_${step}`), sample);
    steps.push(
      compare(`${fixture.name}.steps`, await ops.read(sample), await floats(fixture, 'outputs', `sample_${step}`), TOLERANCE.forward),
    );
  }
  sampler.dispose(ops);
  yield worst(steps);
}

/** What the reference's `set_timesteps` was called with. */
function options({ name, meta }: Fixture, steps: number): SamplerOptions {
  const call = meta.set_timesteps as { readonly sigmas?: string; readonly mu?: number };
  if (name.includes('legacy')) return { steps, ladder: 'legacy' };
  if (!call.sigmas) return { steps };
  // Sigmas are written as NumPy expressions: LTX goes down to 1 / steps, Hunyuan to 0 and drops it, which are the same numbers.
  const sigmas = Array.from({ length: steps }, (_, i) => 1 - i / steps);
  return { steps, sigmas, ...(call.mu !== undefined && { mu: call.mu }) };
}
