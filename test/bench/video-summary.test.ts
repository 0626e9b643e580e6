// What the videos of contenders come to, from cases worked out by hand; and how that is shown.
import { expect, test } from 'vitest';
import { caseId, type VideoCase } from '../../src/bench/video/case.ts';
import { openJudging } from '../../src/bench/video/judging.ts';
import { summarize } from '../../src/bench/video/summary.ts';
import { comparedMarkdown, videoMarkdown } from '../../src/bench/video/table.ts';

const video = (contender: string, seed: number, denoise: number, more: Partial<VideoCase> = {}): VideoCase => ({
  ...{ id: caseId(contender, 'a car', seed), contender, prompt: 'a car', seed, seconds: { text: 1, denoise, decode: 1 } },
  ...{ density: 1, warmUp: 1, cached: 0 },
  ...more,
});
const dense = { denseSeconds: { text: 1, denoise: 8, decode: 1 } };
const near = { latentError: 0.1, psnr: 30, ssim: 0.9, gmsd: 0.05 };
const seen = (subject: boolean, direction?: boolean) => ({
  adherence: { subject, scene: true, motion: true, ...(direction !== undefined && { direction }) },
});

const cases: VideoCase[] = [
  video('dense', 1, 8, { flicker: 0.02, ...seen(true, true) }),
  video('dense', 2, 8, { flicker: 0.02, ...seen(true) }),
  video('fast', 1, 2, { ...dense, density: 0.2, warmUp: 0.1, nearness: near, flicker: 0.04, ...seen(false, true), steps: steps(1, 3) }),
  video('fast', 2, 0.5, {
    ...dense,
    density: 0.4,
    warmUp: 0.1,
    nearness: { ...near, psnr: 20 },
    flicker: 0.01,
    ...seen(true, true),
    steps: steps(3, 5),
  }),
  { id: 'fast/a car/seed 1/plans', contender: 'fast', prompt: 'a car', seed: 1, plans: plans(0.5) },
  { id: 'fast/a car/seed 2/plans', contender: 'fast', prompt: 'a car', seed: 2, plans: plans(0.7) },
  { id: 'broken/a car/seed 1', contender: 'broken', prompt: 'a car', seed: 1, failed: 'it broke' },
];

function steps(first: number, second: number) {
  return { milliseconds: [first, second], density: [1, 0.2], error: [0, first / 10] };
}

function plans(share: number) {
  return {
    ...{ densityByLayer: [[1], [share]], densityByHead: [[share, 1]] },
    recall: [{ step: 1, layer: 0, read: share, full: share / 2 }],
  };
}

test('means, ratios in geometric means, changes of adherence over pairs that were judged in both', () => {
  const [first, fast, broken] = summarize(cases);
  expect(first).toMatchObject({ contender: 'dense', pairs: 2, prompts: 1, density: 1, seconds: { total: 10 } });
  for (const absent of ['speedup', 'psnr', 'flicker', 'adherence']) expect(first).not.toHaveProperty(absent);
  expect(fast).toMatchObject({ pairs: 2, prompts: 1, warmUp: 0.1, cached: 0, latentError: { mean: 0.1, count: 2 } });
  expect(fast.density).toBeCloseTo(0.3, 9);
  expect(fast.psnr).toMatchObject({ mean: 25, low: 20, high: 30, count: 2 });
  expect(fast.denoiseSpeedup!.mean).toBeCloseTo(Math.sqrt(4 * 16), 9);
  expect(fast.speedup!.mean).toBeCloseTo(Math.sqrt((10 / 4) * (10 / 2.5)), 9);
  expect(fast.flicker!.mean).toBeCloseTo(1, 9);
  expect(fast.adherence!.subject).toMatchObject({ share: 0.5, change: { mean: -0.5, low: -1, high: 0, count: 2 } });
  expect(fast.adherence!.scene).toMatchObject({ share: 1, change: { mean: 0, low: 0, high: 0, count: 2 } });
  // The dense video of the second pair has no direction.
  expect(fast.adherence!.direction).toMatchObject({ share: 1, change: { mean: 0, count: 1 } });
  expect(fast.steps).toEqual({ milliseconds: [2, 4], density: [1, 0.2], error: [0, 0.2] });
  expect(fast.plans).toMatchObject({ runs: 2, densityByLayer: [[1], [0.6]], densityByHead: [[0.6, 1]] });
  expect(fast.plans!.recall).toMatchObject({ read: 0.6, full: 0.3, calls: 2 });
  expect(broken).toMatchObject({ pairs: 0, failed: 'it broke' });
  expect(broken).not.toHaveProperty('speedup');
});

test('tables state density, warm-up and pairs beside every figure, and say what failed', () => {
  const shown = videoMarkdown(summarize(cases), { embedded: false });
  expect(shown).toContain('| fast | 2 | 0.300 | 0.10 | 0.00 | 3.25 | 1.25 | 3.16');
  expect(shown).toContain('| fast | 2 | 0.300 | 0.10 | 0.100 [0.100, 0.100] | 25.0 [20.0, 30.0]');
  expect(shown).toContain('| fast | 2 | 0.300 | 0.10 | -50.0 [-100.0, 0.0] (2) to 50.0 % |');
  expect(shown).toContain('0.0 (1) to 100.0 % |');
  expect(shown).toContain('| dense | | 1.000 | 1.00 | (2) 100.0 % | (2) 100.0 % | (2) 100.0 % | (1) 100.0 % |');
  expect(shown).toContain('- broken failed: it broke');
  expect(shown).not.toContain('no evidence for Wan');
  expect(videoMarkdown(summarize(cases), { embedded: true })).toContain('no evidence for Wan itself');
});

test('an earlier result is compared by contender, and another machine is named', () => {
  const old = [2, 8].map((ratio, at) => ({ id: `fast/p/seed ${at}`, before: ratio, after: 1, ratio }));
  expect(comparedMarkdown({ sameMachine: true, cases: old }, 'old.json')).toContain('| fast | 2 | 4.00 |');
  expect(comparedMarkdown({ sameMachine: true, cases: old }, 'old.json')).not.toContain('different machines');
  expect(comparedMarkdown({ sameMachine: false, cases: old }, 'old.json')).toContain('different machines');
});

test('why there is no judge', async () => {
  const words = { subjects: ['rocket'], subjectWords: [], scenes: [], motions: [], sizes: [], prompts: [] };
  expect(await openJudging(undefined, 33)).toContain('does not say what it was trained on');
  expect(await openJudging(words, 5)).toContain('takes 8 frames, and a video has 5');
  expect(await openJudging(words, 33)).toContain('this model does not know "airplane"');
});
