// Before a run on a GPU its kernels are compiled, on Dawn's null backend: launches compile nothing, whatever the method.
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import { denoiseOnly } from '../src/denoise-only.ts';
import type { Method } from '../src/method.ts';
import { adaSpa, svg2 } from '../src/methods.ts';
import type { GenerateOptions } from '../src/options.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { nullGpu } from './gpu/null.ts';

nullGpu();
afterEach(() => void vi.restoreAllMocks());

/** A complete checkpoint with random weights, of two layers. */
const tiny = fileURLToPath(new URL('golden/wan-pipeline/pipeline', import.meta.url));
const SMALL = {
  height: 128,
  width: 128,
  numFrames: 9,
  numInferenceSteps: 6,
  guidanceScale: 3,
  guidanceInterval: [0, 0.7],
  seed: 1,
} as const;

/** Pipelines asked for beside the host when each step was done and at the end, and those that a launch waited for. */
async function pipelinesOf(run: (pipe: TextToVideoPipeline, options: GenerateOptions) => Promise<void>, attention: Method) {
  const pipe = await TextToVideoPipeline.fromPretrained(tiny, { device: 'webgpu', runtime: 'onnxruntime-node' });
  const atLaunch = vi.spyOn(GPUDevice.prototype, 'createComputePipeline');
  const ahead = vi.spyOn(GPUDevice.prototype, 'createComputePipelineAsync');
  const seen: number[] = [];
  const note = () => void seen.push(ahead.mock.calls.length);
  await run(pipe, { ...SMALL, attention, onStep: note });
  note();
  await pipe.dispose();
  return { seen, atLaunch: atLaunch.mock.calls.map(([{ label }]) => label) };
}

test('a method with orders of its own', async () => {
  const { seen, atLaunch } = await pipelinesOf((pipe, options) => denoiseOnly(pipe, 'a rocket', options), svg2());
  expect(atLaunch).toEqual([]);
  expect(seen[0]).toBeGreaterThan(15);
  expect(new Set(seen).size).toBe(1);
});

test('a whole run, its decoder too', async () => {
  const whole = async (pipe: TextToVideoPipeline, options: GenerateOptions) => {
    for await (const _ of pipe('a rocket', options));
  };
  const { seen, atLaunch } = await pipelinesOf(whole, adaSpa({ sparsity: 0.6 }));
  expect(atLaunch).toEqual([]);
  expect(new Set(seen).size).toBe(1);
});
