// The denoising loop over a transformer that is a formula: what a step reports, and what it computes only when asked.
import { expect, test } from 'vitest';
import type { BoundAttention } from '../../src/attention.ts';
import { openCpu } from '../../src/backend/cpu.ts';
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
  const start = Float32Array.of(0.5, -2, 4, 1);
  // The velocity is the latents themselves, so x0 = x - sigma x.
  const transformer = { config: { layers: 1 }, forward: async ({ latents }: ForwardInputs) => latents } as unknown as Transformer;
  const end = await denoise({
    device,
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
    prompt: device.upload(new Float32Array(1), [1, 1, 1]),
    guidance: { scale: 1, interval: [0, 1] },
    onStep: (step) => void taken.push(step),
  });
  expect(taken.length).toBe(3);
  expect(sigmaReads).toBe(0);
  for (const [at, step] of taken.entries()) {
    const before = at === 0 ? start : taken[at - 1].latents;
    const clean = step.clean();
    for (const [i, x] of before.entries()) expect(clean[i]).toBeCloseTo(x - sigmas[at] * x, 5);
    expect(step.clean()).toBe(clean);
  }
  expect(sigmaReads).toBe(3);
  expect(end).toBe(taken[2].latents);
  await device.dispose();
});
