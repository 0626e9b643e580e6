// The denoising loop over a transformer that is a formula: what a step reports, and what it computes only when asked.
import { expect, test } from 'vitest';
import type { BoundAttention } from '../../src/attention.ts';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { type DenoiseStep, denoise } from '../../src/dit/denoise.ts';
import { createSampler } from '../../src/dit/sampler.ts';
import type { ForwardInputs, Transformer } from '../../src/dit/transformer.ts';

const wan = { _class_name: 'UniPCMultistepScheduler', prediction_type: 'flow_prediction', use_flow_sigmas: true, flow_shift: 3 };

test('a step computes its clean estimate when first asked, from its own velocity, and once', async () => {
  const device = await openCpu();
  const sampler = createSampler(wan, { steps: 3 });
  const { sigmas } = sampler;
  let sigmaReads = 0;
  const taken: DenoiseStep[] = [];
  const samples: Float32Array[] = [];
  const clean: Float32Array[] = [];
  const start = Float32Array.of(0.5, -2, 4, 1);
  // The velocity is the latents themselves, so x0 = x - sigma x.
  const transformer = { config: { layers: 1 }, forward: async ({ latents }: ForwardInputs) => latents } as unknown as Transformer;
  const ops = cpuBackend(device);
  const end = await denoise({
    ops,
    transformerAt: async () => ({ transformer, lowNoise: false }),
    sampler: {
      ...sampler,
      get sigmas() {
        sigmaReads++;
        return sigmas;
      },
    },
    attention: { take: async () => ({ density: 1 }), reset: () => {} } as unknown as BoundAttention,
    latents: start,
    shape: [1, 1, 2, 2],
    prompt: ops.upload(new Float32Array(1), [1, 1, 1]),
    guidance: { scale: 1, interval: [0, 1] },
    onStep: async (step) => {
      taken.push(step);
      samples.push(await step.latents());
      if (step.step < 2) clean.push(await step.clean(), await step.clean());
    },
  });
  expect(taken.length).toBe(3);
  expect(sigmaReads).toBe(2);
  for (const at of [0, 1]) {
    const before = at === 0 ? start : samples[0];
    for (const [i, x] of before.entries()) expect(clean[2 * at][i]).toBeCloseTo(x - sigmas[at] * x, 5);
    expect(clean[2 * at + 1]).toBe(clean[2 * at]);
    expect(await taken[at].clean()).toBe(clean[2 * at]);
  }
  await expect(taken[2].clean()).rejects.toThrow('the latents of step 2 are freed; ask for them before onStep is done');
  expect(end).toBe(samples[2]);
  await device.dispose();
});
