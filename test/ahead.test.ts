// Before a run on a GPU its kernels are compiled, on Dawn's null backend: launches compile nothing, whatever the method.
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import { denoiseOnly } from '../src/denoise-only.ts';
import type { Method } from '../src/method.ts';
import { adaSpa, svg2 } from '../src/methods.ts';
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

test.each([adaSpa({ sparsity: 0.6 }), svg2()])('$name', async (attention: Method) => {
  const pipe = await TextToVideoPipeline.fromPretrained(tiny, { device: 'webgpu', runtime: 'onnxruntime-node' });
  const atLaunch = vi.spyOn(GPUDevice.prototype, 'createComputePipeline');
  const ahead = vi.spyOn(GPUDevice.prototype, 'createComputePipelineAsync');
  const before: number[] = [];
  await denoiseOnly(pipe, 'a rocket', { ...SMALL, attention, onStep: () => void before.push(ahead.mock.calls.length) });
  await pipe.dispose();
  expect(atLaunch.mock.calls.map(([{ label }]) => label)).toEqual([]);
  expect(before[0]).toBeGreaterThan(15);
  expect(before).toEqual(new Array(SMALL.numInferenceSteps).fill(before[0]));
});
