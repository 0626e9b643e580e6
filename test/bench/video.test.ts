// `zoetrope bench video` on tiny videos of the embedded model: cases, going on with a file, what fails, what is refused. No figure of speed is judged.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { VideoResultFile } from '../../src/bench/video/result.ts';
import { main } from '../../src/cli/main.ts';

const SMALL = '--size 32x32 --num-frames 5 --steps 3'.split(' ');
const PROMPT = 'a rocket flying up over a night sky';
let folder: string;
let said: { out: string; err: string };
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-video-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(
  words: readonly string[],
  signal = new AbortController().signal,
  onErr: (text: string) => void = () => {},
): Promise<number> {
  said = { out: '', err: '' };
  const out = (text: string) => {
    said.out += text;
  };
  const err = (text: string) => {
    said.err += text;
    onErr(text);
  };
  return main(['bench', 'video', ...words], { out, err, isScreen: false, columns: 80 }, signal);
}

const read = (file: string): VideoResultFile => JSON.parse(readFileSync(file, 'utf8')) as VideoResultFile;
const idsOf = ({ cases }: VideoResultFile): string[] => cases.map(({ id }) => id);

test('one pair: times, density, warm-up, error by step, nearness, frames and plans of every contender, as tables and a file', async () => {
  const file = join(folder, 'whole.json');
  const words = [...SMALL, '--prompts', '1', '--methods', 'adaspa', '--sparsities', '0,0.8', '--cache', '0', '--frames', '2', '--recall'];
  expect(await run([...words, '--out', file])).toBe(0);
  const result = read(file);
  expect(result).toMatchObject({
    ...{ bench: 'video', embedded: true, device: { name: 'cpu', dtype: 'f32' } },
    options: { model: 'wan-mini', width: 32, height: 32, numFrames: 5, numInferenceSteps: 3, sparsities: [0, 0.8] },
  });
  const labels = ['adaSpa 0', 'adaSpa 0.8'];
  const id = (label: string) => `${label}/${PROMPT}/seed 1`;
  expect(idsOf(result)).toEqual([...['dense', ...labels, 'dense, 1 step more'].map(id), ...labels.map((label) => `${id(label)}/plans`)]);
  const of = (label: string) => result.cases.find((one) => one.id === id(label))!;
  for (const { seconds, milliseconds, frames, density, steps } of result.cases.filter((one) => !one.plans)) {
    const { text, denoise, decode } = seconds!;
    expect((1000 * (text + denoise + decode)) / milliseconds!.median).toBeCloseTo(1, 2);
    expect(frames).toHaveLength(2);
    expect(frames!.every((frame) => frame.startsWith('data:image/webp;base64,'))).toBe(true);
    expect(density).toBeCloseTo(steps!.density.reduce((sum, one) => sum + one, 0) / steps!.density.length, 2);
  }
  expect(of('dense')).toMatchObject({ density: 1, warmUp: 1, cached: 0 });
  expect(of('dense')).not.toHaveProperty('nearness');
  // What reads everything is dense attention but for rounding.
  expect(of('adaSpa 0').nearness!.latentError).toBeLessThan(1e-4);
  expect(of('adaSpa 0').nearness!.psnr).toBeGreaterThan(60);
  expect(of('dense, 1 step more').steps!.milliseconds).toHaveLength(4);
  expect(of('dense, 1 step more').steps).not.toHaveProperty('error');
  expect(of('dense, 1 step more').nearness!.latentError).toBeGreaterThan(0.01);
  expect(of('adaSpa 0.8').steps!.error).toHaveLength(3);
  const { plans } = result.cases.find((one) => one.id === `${id('adaSpa 0')}/plans`)!;
  expect(plans!.densityByLayer).toEqual(Array(3).fill(Array(8).fill(1)));
  expect(plans!.densityByHead).toEqual(Array(8).fill(Array(4).fill(1)));
  expect(plans!.recall.length).toBeGreaterThan(0);
  for (const { read: share } of plans!.recall) expect(share).toBeCloseTo(1, 2);
  expect(result.summary.map(({ contender, pairs }) => [contender, pairs])).toEqual(
    ['dense', ...labels, 'dense, 1 step more'].map((label) => [label, 1]),
  );
  expect(said.err).toContain('adherence is not judged: that takes 8 frames, and a video has 5');
  expect(said.out).toContain('| adaSpa 0.8 | 1 |');
  expect(said.out).toContain('no evidence for Wan itself');
});

test('short calls come to the same cases as one, and measure nothing twice', async () => {
  const file = join(folder, 'short.json');
  const words = [...SMALL, '--prompt', 'a panda', '--methods', 'adaspa', '--cache', '0', '--brief', '--out', file];
  const calls: VideoResultFile[] = [];
  do {
    expect(await run([...words, '--minutes', '0.00001'])).toBe(0);
    calls.push(read(file));
  } while (said.err.includes('the same command goes on') && calls.length < 9);
  expect(calls.map(({ cases }) => cases.length)).toEqual([1, 2, 3]);
  const [first, , last] = calls;
  expect(idsOf(last)).toEqual(['dense', 'adaSpa 0.8', 'dense, 1 step more'].map((label) => `${label}/a panda/seed 1`));
  expect(last.cases[0]).toEqual(first.cases[0]);
  expect(last.cases[0]).not.toHaveProperty('steps');
  // More seeds and fewer contenders of the same file.
  expect(await run([...words, '--seeds', '2', '--filter', 'adaspa'])).toBe(0);
  const more = read(file);
  expect(idsOf(more).slice(3)).toEqual(['dense/a panda/seed 2', 'adaSpa 0.8/a panda/seed 2']);
  expect(more.cases.slice(0, 3)).toEqual(last.cases);
  expect(more.contenders.map(({ label }) => label)).toEqual(['dense', 'adaSpa 0.8', 'dense, 1 step more']);
  // All is there: nothing is measured, it can be held against itself, and what it comes to fits a file of its own.
  const small = join(folder, 'small.json');
  expect(await run([...words, '--seeds', '2', '--filter', 'adaspa', '--compare', file, '--summary', small])).toBe(0);
  expect(read(small)).toEqual({ ...read(file), cases: [] });
  expect(read(small).summary.map(({ pairs }) => pairs)).toEqual([2, 2, 1]);
  expect(said.out).toContain('| adaSpa 0.8 | 2 | 1.00 |');
  expect(await run([...words, '--steps', '2'])).toBe(1);
  expect(said.err).toContain('its option numInferenceSteps is 3, not 2');
});

test('a contender whose plans are wrong is a case that says so, and the others are measured', async () => {
  const method = join(folder, 'wrong.mjs');
  // A plan of 2 x 2 tokens in one block whose rows read nothing.
  writeFileSync(
    method,
    `const layout = (grid) => ({ name: 'one', grid, block: 8, blocks: 1, videoBlocks: 1, order: Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7), counts: Int32Array.of(8) });
export default { name: 'wrong', layout, score: ({ ops }) => ops.upload(new Float32Array(4), [4, 1, 1]), levels: [{ pool: 1, upTo: 1 }], schedule: () => 'search',
  select: ({ ops }, scores, levels) => ({ levels, counts: ops.upload(new Int32Array(4), [4, 1, 1]), blocks: ops.upload(new Int32Array(4), [4, 1, 1]) }) };`,
  );
  expect(await run([...SMALL, '--prompt', 'x', '--seeds', '2', '--methods', `${method},adaspa`, '--no-floor', '--json'])).toBe(0);
  const { cases, summary } = JSON.parse(said.out) as VideoResultFile;
  const failures = cases.filter(({ failed }) => failed !== undefined);
  expect(failures.map(({ id }) => id)).toEqual(['wrong/x/seed 1']);
  expect(failures[0].failed).toContain('reads no key block');
  expect(cases).toHaveLength(5);
  expect(summary.find(({ contender }) => contender === 'wrong')).toMatchObject({ pairs: 0, failed: failures[0].failed });
});

test('captions that were never seen, each with a seed of its own, are judged in both videos of a pair', async () => {
  const words = '--size 32x32 --num-frames 9 --steps 1 --captions held-out --prompts 2 --methods radial --no-floor --json'.split(' ');
  expect(await run(words)).toBe(0);
  const { cases, summary } = JSON.parse(said.out) as VideoResultFile;
  expect(cases.map(({ contender, seed }) => `${contender} ${seed}`)).toEqual(['dense 1', 'radial 1', 'dense 2', 'radial 2']);
  expect(new Set(cases.map(({ prompt }) => prompt)).size).toBe(2);
  for (const { adherence } of cases)
    expect(adherence).toMatchObject({ subject: expect.any(Boolean), scene: expect.any(Boolean), motion: expect.any(Boolean) });
  expect(summary[1].adherence!.subject!.change.count).toBe(2);
});

test('an abort keeps what was measured, where there is a file', async () => {
  const file = join(folder, 'aborted.json');
  const controller = new AbortController();
  const onErr = (text: string) => text.includes('adaSpa') && controller.abort();
  expect(await run([...SMALL, '--prompt', 'x', '--methods', 'adaspa', '--out', file], controller.signal, onErr)).toBe(0);
  expect(idsOf(read(file))).toEqual(['dense/x/seed 1']);
  expect(said.err).toContain('the same command goes on');
});

describe('refused in one sentence', () => {
  const model = resolve('test/golden/wan-pipeline/pipeline');
  test.each<[string, string, string]>([
    ['a method', '--methods adspa', 'adspa'],
    ['a sparsity', '--sparsities 0.8,1', 'sparsities is "1"'],
    ['sparsities that nothing takes', '--methods radial --sparsities 0.8', 'none of radial takes one'],
    ['a threshold', '--cache 0,-1', 'cache is "-1"'],
    ['minutes without a file', '--minutes 3', '--minutes needs --out'],
    ['both kinds of prompts', '--prompt x --prompts 2', 'Give either --prompt, or --prompts'],
    ['f16 on the CPU', '--device cpu --dtype f16', 'the CPU computes in f32'],
    ['a method twice', '--methods adaspa,adaSpa --quick', '"adaSpa 0.8" is to be measured twice'],
    ['too many prompts', '--prompts 31', 'this model has 30 prompts of its own, not 31'],
    ['a model without prompts', `--model ${model}`, 'no prompts of its own'],
    ['captions of such a model', `--model ${model} --captions seen`, '--captions needs a model that says what it was trained on'],
    ['a filter', '--quick --filter zebra', '--filter "zebra" leaves nothing to measure'],
    ['nothing to compare', '--methods dense --no-floor', 'nothing to hold against dense attention'],
    ['a size', '--size 33x32 --methods adaspa', 'width 33 is not a multiple of'],
    ['a place', '--quick --out /nowhere/x.json', 'The folder "/nowhere" does not exist'],
    ['a result of another bench', '--quick --compare bench/results/attend-cpu.json', '--compare takes one of "bench video"'],
    ['an earlier result', '--quick --compare /nowhere.json', 'it is not there'],
  ])('%s', async (_, words, sentence) => {
    expect(await run(words.split(' '))).toBe(1);
    expect(said.err).toContain(sentence);
    expect(said.out).toBe('');
  });
});
