// The seam of a pipeline: what stays dense, runs that overlap, and what attention did, call by call.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AccelerateOptions, accelerate } from '../src/accelerate.ts';
import { inspectRun } from '../src/inspect/run.ts';
import type { Attention } from '../src/method.ts';
import { adaSpa, pyramidSparse } from '../src/methods.ts';
import type { GenerateOptions } from '../src/options.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { raster } from '../src/sparse3d/layout.ts';

const SMALL = { height: 64, width: 96, numFrames: 9, numInferenceSteps: 5, guidanceScale: 1, seed: 1 } satisfies GenerateOptions;
const PROMPT = 'a rocket flying up over a night sky';
/** 72 tokens in blocks of 16. */
const sparse = { ...adaSpa({ sparsity: 0.6 }), layout: raster(16) };

/** A complete checkpoint with random weights, of two layers. */
const tiny = fileURLToPath(new URL('golden/wan-pipeline/pipeline', import.meta.url));

let pipe: TextToVideoPipeline;
beforeAll(async () => {
  pipe = await TextToVideoPipeline.fromPretrained(tiny);
});
afterAll(() => pipe.dispose());

async function pixels(options: GenerateOptions = {}): Promise<Buffer> {
  const frames: Uint8Array[] = [];
  for await (const { data } of pipe(PROMPT, { ...SMALL, ...options })) frames.push(data);
  return Buffer.concat(frames);
}

/** One letter for each step of each layer. */
function phases(): string[] {
  const rows: string[] = [];
  for (const { layer, phase } of pipe.attentionStats!.calls) rows[layer] = (rows[layer] ?? '') + phase[0];
  return rows;
}

async function accelerated(options: AccelerateOptions): Promise<string[]> {
  const { restore } = accelerate(pipe, sparse, options);
  try {
    await pixels();
    return phases();
  } finally {
    restore();
  }
}

test('steps and layers stay dense by share, count or list, and all of them is the dense video', async () => {
  expect(await accelerated({})).toEqual(Array(2).fill('dsrsr'));
  expect(await accelerated({ denseSteps: [1, 3], denseLayers: [-1] })).toEqual(['ddsds', 'ddddd']);
  expect(await accelerated({ denseSteps: 0.5, denseLayers: 1 })).toEqual(['ddddd', 'dddsr']);
  const exact = await pixels();
  const { restore } = accelerate(pipe, sparse, { denseSteps: 5 });
  expect(await pixels()).toEqual(exact);
  restore();
});

test.each<[unknown, string]>([
  [undefined, 'there is no method: it is undefined'],
  ['adaSpa', 'there is no method: it is "adaSpa"; give a preset such as adaSpa(), or an object with its stages, or a function'],
  [adaSpa, 'it is a preset that was not called'],
  [{ ...sparse, select: 5 }, 'its select is no function'],
])('%o is refused as a method, by accelerate and by inspectRun', async (method, message) => {
  expect(() => (accelerate as (...all: unknown[]) => unknown)(pipe, method)).toThrow(message);
  await expect((inspectRun as (...all: unknown[]) => Promise<unknown>)(pipe, PROMPT, { method })).rejects.toThrow(message.split(';')[0]);
});

test('what is no pipeline, and options that there are not, are refused', async () => {
  const loose = accelerate as (...all: unknown[]) => unknown;
  expect(() => loose({}, sparse)).toThrow('there is no pipeline: it is an object with nothing in it; make one with');
  expect(() => loose(undefined, sparse)).toThrow('there is no pipeline: it is undefined');
  expect(() => loose(pipe, sparse, 5)).toThrow('the options of accelerate are 5; give an object, or leave it out');
  expect(() => loose(pipe, sparse, { denseStep: 1 })).toThrow(
    'accelerate has no option denseStep; it takes denseSteps, denseLayers, measure',
  );
  await expect(loose(pipe, 'auto')).rejects.toThrow('the options of accelerate are undefined; give an object, { prompt, quality }');
  await expect(loose(pipe, 'auto', { promt: 'x' })).rejects.toThrow('accelerate has no option promt');
  await expect(loose('x.onnx', sparse)).rejects.toThrow('the options of accelerate are undefined; give an object, { grid, steps }');
  await expect(loose('x.onnx', 'auto', {})).rejects.toThrow("'auto' chooses for a pipeline");
  await expect(loose(new URL('http://here/x.onnx'), sparse, {})).rejects.toThrow('http://here/x.onnx is no file; give the path');
  const inspect = inspectRun as (...all: unknown[]) => Promise<unknown>;
  await expect(inspect(pipe, PROMPT)).rejects.toThrow('the options of inspectRun are undefined; give an object, { method }');
  await expect(inspect(pipe, PROMPT, { method: sparse, layers: 1 })).rejects.toThrow(
    "layers is 1; give a list of numbers from 0, or 'all'",
  );
  await expect(inspect({}, PROMPT, { method: sparse })).rejects.toThrow('there is no pipeline');
  expect(pipe.attention).toMatchObject({ name: 'dense' });
});

test('a bare function is left out where attention stays dense', async () => {
  const called: string[] = [];
  const bare: Attention = (_q, _k, v, { step, layer }) => {
    called.push(`${step}/${layer}`);
    return v;
  };
  const { restore } = accelerate(pipe, bare, { denseSteps: [0], denseLayers: [1] });
  await pixels({ numInferenceSteps: 2 });
  restore();
  expect(called).toEqual(['1/0']);
});

test('runs that overlap keep the method that they started with', async () => {
  const outer = accelerate(pipe, sparse);
  const alone = await pixels();
  const inner = accelerate(pipe, pyramidSparse({ sparsity: 0.5 }), { denseLayers: 1 });
  const other = await pixels();
  const second = pipe(PROMPT, SMALL);
  outer.restore();
  inner.restore();
  const first = pipe(PROMPT, { ...SMALL, attention: sparse });
  const both = await Promise.all(
    [first, second].map(async (video) => {
      const frames: Uint8Array[] = [];
      for await (const { data } of video) frames.push(data);
      return Buffer.concat(frames);
    }),
  );
  expect(both[0]).toEqual(alone);
  expect(both[1]).toEqual(other);
  expect(other).not.toEqual(alone);
  expect([first, second].map(({ attentionStats }) => attentionStats?.method)).toEqual(['adaSpa', 'pyramidSparse']);
});

describe('statistics', () => {
  test('name each call of each branch with its density, and nothing more unless asked', async () => {
    await pixels({ guidanceScale: 3, guidanceInterval: [0, 0.5], attention: sparse });
    const { method, calls } = pipe.attentionStats!;
    expect(method).toBe('adaSpa');
    expect(calls.length).toBe(2 * (3 * 2 + 2));
    expect(calls.filter(({ branch }) => branch === 1).length).toBe(2 * 3);
    expect(Object.keys(calls[0])).toEqual(['step', 'layer', 'branch', 'phase', 'density']);
    for (const { phase, density, step } of calls) {
      if (phase === 'dense' || step === 1) expect(density).toBe(1);
      else expect(density).toBeGreaterThan(0.2);
      if (step > 1) expect(density).toBeLessThan(0.6);
    }
  });

  test('measure searches and recall where asked, and change no pixel', async () => {
    const plain = await pixels({ attention: sparse });
    const { restore } = accelerate(pipe, sparse, { measure: true });
    expect(await pixels()).toEqual(plain);
    restore();
    const { calls } = pipe.attentionStats!;
    for (const { phase, step, density, recall, searchMilliseconds } of calls) {
      expect(searchMilliseconds !== undefined).toBe(phase === 'search');
      if (searchMilliseconds !== undefined) expect(searchMilliseconds).toBeGreaterThan(0);
      // The first search is dense.
      if (step < 2) expect(recall).toBe(1);
      else expect(recall).toBeLessThan(1);
      // What is chosen for its mass holds more than its share.
      expect(recall).toBeGreaterThan(density - 0.02);
    }
  });

  test('tell of no call in a skipped step, and of no run that a bare function attended', async () => {
    const steps: number[] = [];
    await pixels({
      attention: sparse,
      cache: { threshold: 10, warmup: 2 },
      onStep: ({ step, skipped }) => void (skipped && steps.push(step)),
    });
    expect(steps).toEqual([2, 3]);
    expect(phases()).toEqual(Array(2).fill('dss'));
    const video = pipe(PROMPT, { ...SMALL, numInferenceSteps: 1, attention: (_q, _k, v) => v });
    for await (const _ of video);
    expect(video.attentionStats).toBeUndefined();
  });
});

test.each([
  [{ denseSteps: 1.5 }, 'denseSteps is 1.5; give a share from 0 to below 1, or a whole number of them'],
  [{ denseLayers: ['a'] as unknown as number[] }, 'denseLayers is [a]; give whole numbers'],
])('%o is refused, and sets nothing', (options, message) => {
  const before = pipe.attention;
  expect(() => accelerate(pipe, sparse, options)).toThrow(message);
  expect(() => accelerate(pipe, (_q, _k, v) => v, { measure: true })).toThrow('a bare attention function makes no plans');
  expect(pipe.attention).toBe(before);
});

test('a layer that is not there ends the run with its number', async () => {
  await expect(accelerated({ denseLayers: [2] })).rejects.toThrow('denseLayers names 2, but there are 2');
});
