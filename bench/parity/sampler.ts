// Checks of samplers: noise levels, timesteps and the worst step of a trajectory, with the reference's model outputs as velocities.
import { readJson } from '../../src/dit/config.ts';
import { createSampler, type SamplerOptions } from '../../src/dit/sampler.ts';
import { type Comparison, compare, type Fixture, floats, TOLERANCE, worst } from './fixture.ts';

export async function* checkSampler(fixture: Fixture): AsyncGenerator<Comparison> {
  const config = await readJson(fixture.path('scheduler', 'scheduler_config.json'));
  const expected = await floats(fixture, 'outputs', 'timesteps');
  const sampler = createSampler(config, options(fixture, expected.length));
  yield compare(`${fixture.name}.timesteps`, sampler.timesteps, expected, TOLERANCE.forward / 100);
  yield compare(`${fixture.name}.sigmas`, sampler.sigmas, await floats(fixture, 'outputs', 'sigmas'), TOLERANCE.forward / 100);
  let sample = await floats(fixture, 'inputs', 'sample');
  const steps: Comparison[] = [];
  for (let step = 0; step < expected.length; step++) {
    sample = sampler.step(await floats(fixture, 'outputs', `model_out_${step}`), sample);
    steps.push(compare(`${fixture.name}.steps`, sample, await floats(fixture, 'outputs', `sample_${step}`), TOLERANCE.forward));
  }
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
