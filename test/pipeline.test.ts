// The pipeline on the embedded model, small and short, on both runtimes: frames, seeds, guidance, attention, refusals and aborts.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accelerate } from '../src/accelerate.ts';
import type { StepCache } from '../src/dit/step-cache.ts';
import { embeddedModel } from '../src/embedded-model.ts';
import { UnsupportedError } from '../src/errors.ts';
import type { Attention } from '../src/method.ts';
import { adaSpa, dense, pyramidSparse } from '../src/methods.ts';
import type { GenerateOptions, StepReport } from '../src/options.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';

const SMALL = { height: 64, width: 96, numFrames: 9, numInferenceSteps: 5, seed: 1 } satisfies GenerateOptions;
const PROMPT = 'a rocket flying up over a night sky';

async function pixels(pipe: TextToVideoPipeline, options: GenerateOptions = {}, prompt = PROMPT): Promise<Uint8Array> {
  const frames: Uint8Array[] = [];
  for await (const { data } of pipe(prompt, { ...SMALL, ...options })) frames.push(data);
  return Buffer.concat(frames);
}

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
}

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('on %s', (runtime) => {
  let pipe: TextToVideoPipeline;
  let base: Uint8Array;
  beforeAll(async () => {
    pipe = await TextToVideoPipeline.fromPretrained(undefined, { runtime });
    base = await pixels(pipe);
  });
  afterAll(() => pipe.dispose());

  test('frames have the size asked for and a report says what was done', async () => {
    const video = pipe(PROMPT, SMALL);
    const frames = [];
    for await (const frame of video) frames.push(frame);
    expect(frames.map(({ index, width, height, data }) => [index, width, height, data.length])).toEqual(
      Array.from({ length: 9 }, (_, index) => [index, 96, 64, 96 * 64 * 3]),
    );
    const report = await video.report;
    expect(report).toMatchObject({
      seed: 1,
      runtime,
      method: 'dense',
      steps: 5,
      tokens: 3 * 4 * 6,
      promptTruncated: false,
      meanDensity: 1,
    });
    expect(report.promptTokens).toBeGreaterThan(5);
    await expect(async () => {
      for await (const _ of video);
    }).rejects.toThrow('once');
  });

  test('the same seed is the same video, another seed, prompt or guidance another', async () => {
    expect(await pixels(pipe)).toEqual(base);
    expect(meanDifference(base, await pixels(pipe, { seed: 2 }))).toBeGreaterThan(1);
    expect(await pixels(pipe, {}, 'a blue fish swimming')).not.toEqual(base);
    const unguided = await pixels(pipe, { guidanceScale: 1 });
    expect(unguided).not.toEqual(base);
    expect(await pixels(pipe, { guidanceInterval: [0, 0] })).toEqual(unguided);
  });

  test("an attention function of one's own computes on the device of the pipeline", async () => {
    const attention: Attention = (q, k, v) => pipe.ops.attendAll(q, k, v, { lse: false }).out;
    expect(await pixels(pipe, { attention })).toEqual(base);
  });

  test('methods that read everything equal dense; sparse ones differ and say their density', async () => {
    // One branch of guidance is enough to see by.
    const size = { height: 128, width: 128, numFrames: 17, guidanceScale: 1 };
    const exact = await pixels(pipe, size);
    expect(meanDifference(exact, await pixels(pipe, { ...size, attention: adaSpa({ sparsity: 0 }) }))).toBeLessThan(0.05);
    const methods = [adaSpa({ sparsity: 0.6 }), pyramidSparse({ sparsity: 0.6 })];
    // What the threads of the other compute goes by the same plans, and takes three times as long.
    for (const attention of runtime === 'onnxruntime-node' ? methods : methods.slice(0, 1)) {
      const steps: StepReport[] = [];
      const sparse = await pixels(pipe, { ...size, attention, onStep: (step) => void steps.push(step) });
      expect(sparse).not.toEqual(exact);
      expect(steps[0].density).toBe(1);
      expect(steps[4].density).toBeGreaterThan(0.3);
      expect(steps[4].density).toBeLessThan(0.7);
    }
  });

  test('a step shows its latents: different from step to step, and kept by whoever read them', async () => {
    const latents: Float32Array[] = [];
    await pixels(pipe, { numInferenceSteps: 2, onStep: async (step) => void latents.push(await step.latents()) });
    expect(latents.map(({ length }) => length)).toEqual([latents[0].length, latents[0].length]);
    expect(latents[0].length).toBeGreaterThan(0);
    expect(latents[0]).not.toEqual(latents[1]);
    expect(latents.every((numbers) => numbers.every(Number.isFinite))).toBe(true);
  });

  test('a preview is one frame of the right size', async () => {
    let size: number[] = [];
    await pixels(pipe, {
      numInferenceSteps: 1,
      onStep: async ({ preview }) => {
        const { width, height, data } = await preview();
        size = [width, height, data.length];
      },
    });
    expect(size).toEqual([96, 64, 96 * 64 * 3]);
  });

  test('an abort ends the run at the next step with its reason, and the pipeline works on', async () => {
    const controller = new AbortController();
    let steps = 0;
    const run = pixels(pipe, {
      signal: controller.signal,
      onStep: () => {
        steps++;
        controller.abort(new Error('enough'));
      },
    });
    await expect(run).rejects.toThrow('enough');
    expect(steps).toBe(1);
    expect(await pixels(pipe)).toEqual(base);
  });
});

describe('accelerate', () => {
  test('sets the seam, nests, and restores in any order', async () => {
    const pipe = await TextToVideoPipeline.fromPretrained();
    const before = pipe.attention;
    const outer = accelerate(pipe, adaSpa());
    const inner = accelerate(pipe, pyramidSparse());
    outer.restore();
    expect((pipe.attention as { name: string }).name).toBe('pyramidSparse');
    inner.restore();
    inner.restore();
    expect(pipe.attention).toBe(before);
    const calls: number[] = [];
    accelerate(pipe, (_q, _k, v, site) => {
      calls.push(site.layer);
      return v;
    });
    await pixels(pipe, { numInferenceSteps: 1, guidanceScale: 1 });
    expect(calls).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    await pipe.dispose();
  });
});

describe('refusals name the value and what to do', () => {
  let pipe: TextToVideoPipeline;
  beforeAll(async () => {
    pipe = await TextToVideoPipeline.fromPretrained();
  });
  afterAll(() => pipe.dispose());

  test.each([
    [{ height: 250 }, 'height 250 is not a multiple of 16, which this model needs; the nearest is 256'],
    [{ width: 0 }, 'width is 0'],
    [{ numFrames: 32 }, 'numFrames 32 is not 4k + 1, which this model needs; the nearest is 33'],
    [{ numInferenceSteps: 0 }, 'numInferenceSteps is 0'],
    [{ guidanceScale: Number.NaN }, 'guidanceScale is NaN'],
    [{ guidanceInterval: [0.5, 0.2] as [number, number] }, 'guidanceInterval is [0.5,0.2]'],
    [{ seed: -1 }, 'seed is -1'],
    [{ negativePrompt: 5 as unknown as string }, 'the negative prompt is 5'],
    [{ flowShift: 0 }, 'flowShift is 0'],
    [{ fps: Number.POSITIVE_INFINITY }, 'fps is Infinity'],
    [{ steps: 5 } as GenerateOptions, 'a run has no option steps; it takes numInferenceSteps, width'],
    [7 as unknown as GenerateOptions, 'the options of a run are 7; give an object, or leave it out'],
    [{ attention: 'adaSpa' as unknown as Attention }, 'there is no method: it is "adaSpa"; give a preset such as adaSpa()'],
    [{ cache: 0.05 as unknown as StepCache }, 'the options of stepCache are 0.05'],
  ])('%o', (options, message) => {
    expect(() => pipe('', options)).toThrow(message);
  });

  test('the settings of another run are taken', () => {
    const { settings } = pipe(PROMPT, SMALL);
    expect(pipe(PROMPT, { ...settings, seed: 2 }).settings).toEqual({ ...settings, seed: 2 });
  });

  test('prompts: none is refused, an empty and a huge one are taken', async () => {
    expect(() => pipe(undefined as unknown as string)).toThrow('prompt is undefined');
    const quick = { numInferenceSteps: 1, height: 32, width: 32, numFrames: 1 };
    expect((await pixels(pipe, quick, '')).length).toBe(32 * 32 * 3);
    expect(() => pipe('r'.repeat(10_001))).toThrow('10001 characters');
    const long = pipe('rocket '.repeat(1428), { ...SMALL, ...quick });
    for await (const _ of long);
    expect((await long.report).promptTruncated).toBe(true);
  });

  test('folders: missing, without an index, of another class, with a wrong or missing weight', async () => {
    const open = (folder: string) => TextToVideoPipeline.fromPretrained(folder);
    await expect(open('/nowhere/model')).rejects.toThrow('/nowhere/model');
    const folder = mkdtempSync(join(tmpdir(), 'zoetrope-'));
    await expect(open(folder)).rejects.toThrow('model_index.json');
    writeFileSync(join(folder, 'model_index.json'), '{"_class_name": "FluxPipeline"}');
    await expect(open(folder)).rejects.toThrow(UnsupportedError);
    cpSync(embeddedModel(), folder, { recursive: true });
    const config = join(folder, 'transformer', 'config.json');
    writeFileSync(
      config,
      '{"_class_name": "WanTransformer3DModel", "num_attention_heads": 4, "attention_head_dim": 64, "text_dim": 256, "ffn_dim": 512, "num_layers": 8}',
    );
    const wrong = await open(folder);
    await expect(pixels(wrong, { numInferenceSteps: 1 })).rejects.toThrow(/ffn\.net.*1024.*512|ffn\.net.*512.*1024/s);
    await wrong.dispose();
    writeFileSync(
      config,
      '{"_class_name": "WanTransformer3DModel", "num_attention_heads": 4, "attention_head_dim": 64, "text_dim": 256, "ffn_dim": 1024, "num_layers": 9}',
    );
    const missing = await open(folder);
    await expect(pixels(missing, { numInferenceSteps: 1 })).rejects.toThrow('blocks.8.');
    await missing.dispose();
    rmSync(folder, { recursive: true });
  });
});

test('dense is the default and estimates are finite', async () => {
  const pipe = await TextToVideoPipeline.fromPretrained();
  expect((pipe.attention as { name: string }).name).toBe(dense().name);
  const full = pipe.estimate();
  const sparse = pipe.estimate({ attention: adaSpa() });
  expect(full.tokens).toBe(5200);
  expect(full.seconds).toBeGreaterThan(sparse.seconds);
  expect(full.bytes).toBeGreaterThan(0);
  await pipe.dispose();
});
