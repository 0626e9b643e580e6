// The bench of methods on the embedded model, small and short, and how its results read. No time is judged.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { benchMethods, type MethodCase, type MethodsBench, type MethodsBenchOptions, mergedCase } from '../../src/bench/methods.ts';
import { methodsMarkdown } from '../../src/bench/methods-table.ts';
import { type Recorded, recordRun } from '../../src/bench/recorded.ts';
import { type Sample, type Summary, summary } from '../../src/bench/summary.ts';
import { planOfAll } from '../../src/conformance/plans.ts';
import type { Call, Method } from '../../src/method.ts';
import { adaSpa, dense, pyramidSparse } from '../../src/methods.ts';
import { TextToVideoPipeline } from '../../src/pipeline.ts';
import { searchEvery } from '../../src/search/schedule.ts';
import { raster, tiles } from '../../src/sparse3d/layout.ts';
import { openedGpu } from '../gpu/device.ts';

const SETTINGS = { height: 128, width: 128, numFrames: 9, numInferenceSteps: 4 };
const PROMPT = 'a rocket flying up over a night sky';
const always = searchEvery();
const whole: Method = { ...adaSpa({ sparsity: 0 }), schedule: always };
const failing: Method = {
  ...whole,
  score: () => {
    throw new Error('this scorer has none');
  },
};

/** Attends to one block of its own before it scores. */
const probing: Method = {
  ...whole,
  score: Object.assign((call: Call) => {
    const layout = raster(64)({ frames: 1, height: 8, width: 8, text: 0 });
    const one = call.ops.upload(new Float32Array(64 * 64), [1, 64, 64]);
    const plan = planOfAll(call.ops, { heads: 1, queryBlocks: 1, keyBlocks: 1 });
    call.ops.attend(one, one, one, plan, { q: layout, k: layout });
    return whole.score(call);
  }, whole.score),
};

/** All runs of a bench. */
async function runsOf(pipe: TextToVideoPipeline, options: MethodsBenchOptions): Promise<MethodsBench[]> {
  const runs: MethodsBench[] = [];
  for await (const run of benchMethods(pipe, options)) runs.push(run);
  return runs;
}

const quality = (result: object): NonNullable<Summary['quality']> => (result as Summary).quality!;

describe('on the CPU', () => {
  let pipe: TextToVideoPipeline;
  beforeAll(async () => {
    pipe = await TextToVideoPipeline.fromPretrained();
  });
  afterAll(() => pipe.dispose());
  const options = { prompts: [PROMPT], seeds: [1], layers: [2, 6], settings: SETTINGS };

  test('methods beside full attention on the same calls', async () => {
    const methods = {
      dense: dense(),
      whole,
      adaSpa: adaSpa({ sparsity: 0.6 }),
      pyramidSparse: pyramidSparse({ sparsity: 0.6 }),
      failing,
      probing,
      padded: { ...whole, layout: tiles(4, 4, 4) },
    };
    const contenders = Object.entries(methods).map(([label, method]) => ({ label, method: () => method }));
    const steps: number[] = [];
    const [bench] = await runsOf(pipe, { ...options, contenders, onStep: ({ step }) => steps.push(step) });
    expect(steps).toEqual([0, 1, 2, 3]);
    expect(bench).toMatchObject({ calls: 8, tokens: 3 * 8 * 8, heads: 4, dim: 64, steps: 4, layers: [2, 6] });
    const [full, all, ada, psa, failed, probed, padded] = bench.results;
    expect(full).toMatchObject({ label: 'dense', calls: { dense: 8, search: 0, reuse: 0, planned: 0 }, run: { density: 1 } });
    expect(full).not.toHaveProperty('quality');
    // Its first search of each layer is dense and keeps a log-sum-exp.
    expect(all).toMatchObject({ calls: { dense: 0, search: 8, planned: 6 }, quality: { density: 1 } });
    expect(quality(all).recall).toBeCloseTo(1, 5);
    expect(quality(all).error).toBeLessThan(1e-5);
    // Dense at step 0, searches at 1 (dense, with a log-sum-exp) and at 2, its plan kept at 3.
    expect(ada).toMatchObject({ calls: { dense: 2, search: 4, reuse: 2, planned: 4 } });
    expect((ada as Summary).run.density).toBeCloseTo((1 + quality(ada).density) / 2, 12);
    for (const sparse of [ada, psa]) {
      const { density, error, recall, fullRecall, worstError, layers } = quality(sparse);
      expect(density).toBeLessThan(0.7);
      expect(error).toBeGreaterThan(0.001);
      expect(error).toBeLessThan(1);
      expect(worstError).toBeGreaterThanOrEqual(error);
      expect(fullRecall).toBeLessThanOrEqual(recall);
      expect(fullRecall).toBeGreaterThan(0.1);
      expect(recall).toBeLessThanOrEqual(1 + 1e-6);
      expect(layers.map(({ layer }) => layer)).toEqual([2, 6]);
      expect((sparse as Summary).sparse!.searchShare).toBeGreaterThan(0);
      expect((sparse as Summary).sparse!.searchShare).toBeLessThan(1);
    }
    expect(quality(ada).recall).toBeCloseTo(quality(ada).fullRecall, 12);
    expect(quality(probed).recall).toBeCloseTo(1, 5);
    // Four boxes of 48 tokens in 64 slots, where three blocks would do.
    expect(quality(padded).density).toBeCloseTo((4 / 3) ** 2, 9);
    expect(quality(padded).error).toBeLessThan(1e-5);
    expect(failed).toEqual({ label: 'failing', failed: 'this scorer has none' });
  });

  test('runs follow each other, and what is done of them is not done again', async () => {
    const settings = { height: 64, width: 64, numFrames: 5, numInferenceSteps: 2 };
    const asked = (done: number) => [
      { label: 'new', method: () => whole },
      { label: 'old', method: () => whole, done },
    ];
    const seen: number[] = [];
    const onStep = ({ run, step }: { run: number; step: number }) => step === 0 && seen.push(run);
    const bench = { ...options, layers: [1], settings, seeds: [1, 2], onStep };
    const labels = (runs: MethodsBench[]) => runs.map(({ results }) => results.map(({ label }) => label));
    expect(labels(await runsOf(pipe, { ...bench, contenders: asked(1) }))).toEqual([['new'], ['new', 'old']]);
    expect(labels(await runsOf(pipe, { ...bench, contenders: asked(1).slice(1) }))).toEqual([['old']]);
    expect(seen).toEqual([0, 1, 1]);
  });

  test('a run is recorded step by step, the conditional branch alone, and not decoded', async () => {
    const seen: Recorded[][] = [];
    const run = { prompt: PROMPT, options: { ...SETTINGS, guidanceScale: 4, seed: 2 }, layers: [1, 7] };
    await recordRun(pipe, { ...run, onStep: async (calls) => void seen.push([...calls]) });
    expect(seen.map((calls) => calls.map(({ site: { step, layer, branches } }) => [step, layer, ...branches]))).toEqual(
      [0, 1, 2, 3].map((step) => [1, 7].map((layer) => [step, layer, 0])),
    );
  });

  test('what cannot be recorded is refused, and a run can be stopped', async () => {
    const contenders = [{ label: 'dense', method: dense }];
    const bench = (more: Partial<MethodsBenchOptions>) => runsOf(pipe, { ...options, contenders, ...more });
    await expect(bench({ layers: [8] })).rejects.toThrow('there is no layer 8: the model has 8, counted from 0');
    await expect(bench({ prompts: [] })).rejects.toThrow('there are no prompts to record with; give at least one');
    const stop = new AbortController();
    await expect(bench({ signal: stop.signal, onStep: () => stop.abort(new Error('enough')) })).rejects.toThrow('enough');
  });
});

const gpu = await openedGpu();
test.skipIf(!gpu)('on a GPU, whose model frees what it gives', async () => {
  const tiny = fileURLToPath(new URL('../golden/wan-pipeline/pipeline', import.meta.url));
  const pipe = await TextToVideoPipeline.fromPretrained(tiny, { device: 'webgpu', dtype: 'f32' });
  const settings = { height: 32, width: 32, numFrames: 5, numInferenceSteps: 2, guidanceScale: 1 };
  const contenders = [{ label: 'whole', method: () => whole }];
  const [{ calls, results }] = await runsOf(pipe, { contenders, prompts: [PROMPT], seeds: [1], layers: [1], settings });
  await pipe.dispose();
  expect(calls).toBe(2);
  expect(quality(results[0]).error).toBeLessThan(1e-5);
  expect(quality(results[0]).recall).toBeCloseTo(1, 5);
});

describe('results', () => {
  const times = { milliseconds: 30, searchMilliseconds: 10, denseMilliseconds: 40 };
  const samples: Sample[] = [
    { layer: 1, phase: 'dense', ...times, milliseconds: 40, searchMilliseconds: 0, density: 1 },
    { layer: 1, phase: 'search', ...times, density: 0.2, quality: { error: 0.1, read: 0.8, full: 0.7 } },
    { layer: 0, phase: 'reuse', ...times, searchMilliseconds: 0, density: 0.4, quality: { error: 0.3, read: 0.6, full: 0.5 } },
  ];

  test('calls come to means, and times to shares', () => {
    const { calls, quality: means, sparse, run } = summary(samples);
    expect(calls).toEqual({ dense: 1, search: 1, reuse: 1, planned: 2 });
    const [density, error, recall, fullRecall] = [0.3, 0.2, 0.7, 0.6].map((mean) => expect.closeTo(mean, 12));
    expect(means).toMatchObject({ density, error, recall, fullRecall, worstError: 0.3 });
    expect(means!.layers.map(({ layer, error }) => [layer, error])).toEqual([
      [0, 0.3],
      [1, 0.1],
    ]);
    expect(sparse!.searchShare).toBeCloseTo(10 / 60, 12);
    expect(sparse!.timeOverDense).toBeCloseTo(60 / 80, 12);
    expect(run.density).toBeCloseTo(1.6 / 3, 12);
    expect(run.timeOverDense).toBeCloseTo(100 / 120, 12);
    expect(() => summary([])).toThrow('no attention call was measured');
  });

  test('runs of a case come to their mean, each as much as the other', () => {
    const setting = { calls: 3, tokens: 192, heads: 4, dim: 64, steps: 4, layers: [0, 1] };
    const about = { id: 'a/b', label: 'b', name: 'b', mark: 'own', reconstruction: false, software: 'cpu', setting, runs: 1 } as const;
    const errors = [1, 2, 6].map((times) => 0.2 * times);
    const cases = errors.map((error, at): MethodCase => {
      const own = samples.map(({ quality, ...rest }) => ({
        ...rest,
        ...(quality && { quality: { ...quality, error: quality.error * [1, 2, 6][at] } }),
      }));
      return { ...about, ...summary(own), errors: [error] };
    });
    const merged = cases.reduce<MethodCase | undefined>(mergedCase, undefined)!;
    expect(merged).toMatchObject({ runs: 3, setting: { calls: 9, tokens: 192 }, calls: { dense: 3, planned: 6 } });
    expect(merged.errors).toEqual(errors);
    const { error, worstError, density, layers } = quality(merged);
    expect(error).toBeCloseTo(0.6, 12);
    expect(worstError).toBeCloseTo(1.8, 12);
    expect(density).toBeCloseTo(0.3, 12);
    expect(layers.map(({ layer, error }) => [layer, Number(error.toFixed(9))])).toEqual([
      [0, 0.9],
      [1, 0.3],
    ]);
    expect((merged as unknown as Summary).sparse!.timeOverDense).toBeCloseTo(60 / 80, 12);
    const failed = { ...about, failed: 'no', errors: [] } as MethodCase;
    expect(mergedCase(failed, merged)).toBe(merged);
  });

  test('ports and reconstructions stand apart', () => {
    const row = { reconstruction: false, ...summary(samples) };
    const named = (name: string) => ({ label: name, name });
    const markdown = methodsMarkdown([
      { ...row, ...named('ours'), mark: 'own' },
      { ...row, label: 'ours 0.9', name: 'ours', mark: 'own', sparsity: 0.9 },
      { ...row, label: 'ours 0.8', name: 'ours', mark: 'own', sparsity: 0.8 },
      { ...row, ...named('theirs'), mark: 'published' },
      { ...named('theirs'), label: 'theirs 0.8', mark: 'published', reconstruction: false, sparsity: 0.8, failed: 'no' },
      { ...row, ...named('guessed'), mark: 'published', reconstruction: true },
      { ...named('broken'), mark: 'ported', reconstruction: false, failed: 'a | b' },
    ]);
    const [first, second, third] = markdown.split('## ').slice(1);
    expect(first).toContain('| ours | own | 0.300 | 0.2000 | 0.700 | 0.600 | 0.17 | 0.75 | 0.53 | 0.83 |');
    expect(first).toContain('| theirs | published |');
    expect(first).not.toMatch(/guessed|broken|0\.9/);
    expect(second).toContain('| method | mark | 0.9 | 0.8 |');
    expect(second).toContain('| ours | own | 0.2000 (0.300) | 0.2000 (0.300) |');
    expect(second).toContain('| theirs | published |  | failed: no |');
    expect(third).toContain('no verdict on a paper');
    expect(third).toContain('| guessed | published, reconstruction |');
    expect(third).toContain('| broken | ported | failed: a \\| b |');
    for (const line of third.split('\n').filter((line) => line.startsWith('|'))) expect(line.match(/(?<!\\)\|/g)).toHaveLength(11);
  });
});
