// The evaluation: figures of judged clips by hand, the anchors as training writes them, and real clips of the embedded model, made and judged.
import { describe, expect, it } from 'vitest';
import { TextToVideoPipeline } from '../../src/pipeline.ts';
import { adherenceOf, anchorsOf, type JudgedClip, judgedClip } from '../../src/quality/evaluation.ts';
import { evaluationText } from '../../src/quality/evaluation-text.ts';
import { shareInterval } from '../../src/quality/interval.ts';
import { loadJudge } from '../../src/quality/judge.ts';
import type { Split } from '../../src/quality/prompts.ts';
import { drawPrompts } from '../../src/quality/prompts.ts';

/** A clip that shows `found` where `asked` was asked for: subject, scene, motion. */
function clip(split: Split, asked: string, found: string, own: Partial<JudgedClip> = {}): JudgedClip {
  const [[subject, scene, motion], seen] = [asked.split(' '), found.split(' ')];
  const [a, b, c] = seen.map((name) => ({ name, probability: 0.9 }));
  const right = { subject: seen[0] === subject, scene: seen[1] === scene, motion: seen[2] === motion };
  const truth = { subject, scene, motion, size: '' };
  return { text: asked, truth, split, seed: 1, flicker: 0.01, seconds: 1, ...right, verdict: { subject: a, scene: b, motion: c }, ...own };
}

const clips = [
  clip('seen', 'bee meadow left', 'bee meadow left', { direction: true, flicker: 0.02 }),
  clip('seen', 'dog sunset still', 'dog meadow still', { flicker: 0.03 }),
  clip('seen', 'bee space up', 'owl space down', { direction: false, flicker: 0.04 }),
];

describe('figures of judged clips', () => {
  it('are shares with intervals; tracking counts what has a direction', () => {
    const { heads, direction, flicker, clips: count } = adherenceOf(clips);
    expect(heads).toEqual({ subject: shareInterval(2, 3), scene: shareInterval(2, 3), motion: shareInterval(2, 3) });
    expect(direction).toEqual(shareInterval(1, 2));
    expect([count, flicker]).toEqual([3, expect.closeTo(0.03, 12)]);
  });

  it("know what chance gives: each clip against the next one's prompt", () => {
    // bee, dog, owl against dog, bee, bee; meadow, meadow, space against sunset, space, meadow; left, still, down against still, up, left.
    expect(adherenceOf(clips).shuffled).toEqual({ subject: shareInterval(0, 3), scene: shareInterval(0, 3), motion: shareInterval(0, 3) });
    const twice = [clips[0], clip('seen', 'bee meadow up', 'bee meadow up')];
    expect(adherenceOf(twice).shuffled?.subject).toEqual(shareInterval(2, 2));
    expect(adherenceOf(clips.slice(1, 2))).not.toHaveProperty('shuffled');
    expect(adherenceOf(clips.slice(1, 2))).not.toHaveProperty('direction');
  });

  it('need a clip', () => {
    expect(() => adherenceOf([])).toThrow('There are no judged clips; judge at least 1.');
  });
});

const heads = (value: number) => ({ subject: { mean: value }, scene: { mean: value }, motion: { mean: value } });
const measured = (value: number) => ({ n: 24, probe: heads(value), tracked_direction: { accuracy: 0.5, n: 9 }, flicker: 0.01166 });
const evaluation = { sizes: { '256x256x33': { anchors_held_out: { renders: measured(1), reconstructions: measured(0.75) } } } };

it('anchors are those that training measured at this size and split, and none where it did not', () => {
  const { renders, reconstructions } = anchorsOf(evaluation, '256x256x33', 'held-out');
  expect(renders).toEqual({ clips: 24, heads: { subject: 1, scene: 1, motion: 1 }, direction: 0.5, flicker: 0.01166 });
  expect(reconstructions.heads.motion).toBe(0.75);
  expect(anchorsOf(evaluation, '256x256x33', 'seen')).toEqual({});
  expect(anchorsOf(evaluation, '64x64x9', 'held-out')).toEqual({});
  expect(anchorsOf(undefined, '256x256x33', 'seen')).toEqual({});
});

it('the text has a column for each split and anchor, with intervals', () => {
  const anchors = { seen: {}, 'held-out': anchorsOf(evaluation, '256x256x33', 'held-out') };
  const text = evaluationText({ clips: [...clips, clip('held-out', 'bee sea up', 'bee sea up', { direction: true })], anchors });
  const rows = text.split('\n').map((line) => line.split(/ {2,}/));
  expect(rows[0]).toEqual(['', 'seen', 'held-out', 'held-out: renders', 'held-out: reconstructions']);
  expect(rows.find(([name]) => name === 'subject')).toEqual([
    'subject',
    '66.7 % (20.8..93.9) of 3',
    '100.0 % (20.7..100.0) of 1',
    '100.0 %',
    '75.0 %',
  ]);
  expect(rows.find(([name]) => name === 'flicker')).toEqual(['flicker', '0.03000', '0.01000', '0.01166', '0.01166']);
  expect(() => evaluationText({ clips: [], anchors })).toThrow('There are no judged clips; judge at least 1.');
});

it('a clip of the embedded model is made and judged', { timeout: 60_000 }, async () => {
  const [judge, pipe] = [await loadJudge(), await TextToVideoPipeline.fromPretrained(undefined, { device: 'cpu' })];
  try {
    const [prompt] = drawPrompts(judge.world, 'held-out', 1);
    const settings = { width: 128, height: 128, numFrames: 9, numInferenceSteps: 4, seed: 3 };
    const found = await judgedClip(pipe, judge, prompt, settings);
    expect(found).toMatchObject({ ...prompt, seed: 3 });
    expect(found.flicker).toBeGreaterThan(0);
    expect(found.subject).toBe(found.verdict.subject.name === prompt.truth.subject);
    expect(judge.world.scenes.map(({ name }) => name)).toContain(found.verdict.scene.name);
    expect(adherenceOf([found]).clips).toBe(1);
  } finally {
    await pipe.dispose();
    await judge.dispose();
  }
});
