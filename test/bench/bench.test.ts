// `zoetrope bench`: a tiny checkpoint on a software GPU, from words to tables and JSON; and what is refused. No figure is judged.
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ResultFile } from '../../src/bench/results.ts';
import type { RunCase } from '../../src/bench/run.ts';
import { phasesOf, type StepCase } from '../../src/bench/step.ts';
import { main } from '../../src/cli/main.ts';
import { adaSpa, dense, pyramidSparse } from '../../src/methods.ts';
import { openedGpu } from '../gpu/device.ts';

const gpu = await openedGpu();
const MODEL = fewWords();
afterAll(() => rmSync(MODEL, { recursive: true }));
const TINY = `--model ${MODEL} --size 32x32 --num-frames 5 --layers 1 --dtype f32`.split(' ');

/** A tiny checkpoint of two layers that takes few words, so that a forward is short. */
function fewWords(): string {
  const [source, model] = [resolve('test/golden/wan-pipeline/pipeline'), mkdtempSync(join(tmpdir(), 'few-words-'))];
  for (const part of ['scheduler', 'transformer', 'vae']) symlinkSync(join(source, part), join(model, part));
  const index = JSON.parse(readFileSync(join(source, 'model_index.json'), 'utf8')) as object;
  writeFileSync(join(model, 'model_index.json'), JSON.stringify({ ...index, zoetrope: { max_sequence_length: 8 } }));
  return model;
}

let said: { out: string; err: string };
let folder: string;
beforeEach(() => {
  said = { out: '', err: '' };
  folder = mkdtempSync(join(tmpdir(), 'bench-'));
});
afterEach(() => {
  vi.unstubAllGlobals();
  rmSync(folder, { recursive: true });
});

function run(words: readonly string[], signal = new AbortController().signal, onErr: (text: string) => void = () => {}): Promise<number> {
  const out = (text: string) => {
    said.out += text;
  };
  const err = (text: string) => {
    said.err += text;
    onErr(text);
  };
  return main(['bench', ...words], { out, err, isScreen: false, columns: 80 }, signal);
}

describe.skipIf(!gpu)('on a GPU', () => {
  test('step: the phases of a method by kind of work, as a table and a file', async () => {
    const file = join(folder, 'step.json');
    expect(await run(['step', ...TINY, '--runs', '2', '--profile', '--out', file])).toBe(0);
    const result = JSON.parse(readFileSync(file, 'utf8')) as ResultFile<StepCase>;
    expect(result).toMatchObject({ bench: 'step', options: { model: MODEL, method: 'adaspa', sparsity: 0.8, runs: 2 } });
    expect(result.machine.gpu).toBeTruthy();
    expect(result.cases.map(({ name, step }) => [name, step])).toEqual([
      ['dense', 0],
      ['first search', 10],
      ['reuse', 11],
      ['later search', 30],
    ]);
    for (const {
      id,
      name,
      method,
      setting,
      milliseconds,
      hostMilliseconds,
      gpuMilliseconds,
      kinds,
      peakBytes,
      loadedBytes,
    } of result.cases) {
      expect(id).toMatch(/^few-words-\w+ 32x32x5 1 layers\/webgpu f32\/zoetrope adaSpa 0\.8\//);
      expect(id.endsWith(`/${name}`)).toBe(true);
      expect(method).toBe('adaSpa 0.8');
      expect(setting).toMatchObject({ dtype: 'f32', tokens: 8, textTokens: 8, layers: 1, checked: true });
      expect(milliseconds.runs).toBe(2);
      expect(peakBytes).toBeGreaterThanOrEqual(loadedBytes);
      expect(hostMilliseconds).toBeGreaterThan(0);
      expect(kinds!.reduce((sum, one) => sum + one.milliseconds, 0)).toBeCloseTo(gpuMilliseconds!, 6);
    }
    const names = result.cases.map(({ kinds }) => kinds!.map(({ kind }) => kind));
    expect(names[0]).toEqual(['linear', 'attention', 'norm', 'other']);
    expect(names[1]).toContain('search');
    expect(names[2]).toEqual(['linear', 'attention', 'norm', 'layout', 'other']);
    expect(names[3]).toContain('search');
    expect(said.out).toMatch(/, in software: .*few-words-.*, 1 layer\n32x32, 5 frames, 8 tokens, f32\nadaSpa 0\.8\n/);
    expect(said.out).toMatch(/\n +density +ms +host ms +GPU ms +linear +attention +search +norm +layout +other\ndense +1\.00 /);
    expect(said.out).toMatch(/\nreuse +GPU ms +launches\nlinear +[\d.]+ +\d+\n {2}matmul/);
    expect(said.err).toMatch(/^Loading the model \.\.\.\nMeasuring dense \.\.\.\nMeasuring first search /);
    const before = readFileSync(file, 'utf8');
    said = { out: '', err: '' };
    expect(await run(['step', ...TINY, '--runs', '2', '--filter', 'reuse', '--compare', file, '--out', file])).toBe(0);
    expect(said.err).toBe('Loading the model ...\n');
    expect(said.out).toMatch(/^reuse +[\d.]+ /m);
    expect(said.out).toMatch(/^Beside .*step\.json:\n\n.*\n.*\/reuse +[\d.]+ +[\d.]+ +1\.00\n$/m);
    expect(said.out).not.toMatch(/dense/);
    expect(readFileSync(file, 'utf8')).toBe(before);
    expect(await run(['step', ...TINY, '--runs', '3', '--out', file])).toBe(1);
    expect(said.err).toMatch(
      /step\.json" cannot be gone on with: its option runs is 2, not 3; give another --out, or remove the file\.\n$/,
    );
  });

  test('run: dense and the method, whole', async () => {
    const words = ['run', ...TINY, '--steps', '2', '--batched', '--json'];
    expect(await run(words)).toBe(0);
    const { cases } = JSON.parse(said.out) as ResultFile<RunCase>;
    expect(cases.map(({ method, stepSeconds, finite }) => [method, stepSeconds.length, finite])).toEqual([
      ['dense', 2, true],
      ['adaSpa 0.8', 2, true],
    ]);
    for (const one of cases) {
      expect(one).toMatchObject({ steps: 2, branches: 2, batched: true, latents: 'sampler' });
      expect(one.id).toMatch(/\/2 steps x 2 in one batch$/);
      expect(one.milliseconds.median / 1000).toBeGreaterThanOrEqual(one.stepSeconds[0] + one.stepSeconds[1]);
    }
  });

  test.each(['step', 'run'])('%s: stops when it is told to, and writes nothing', async (bench) => {
    const controller = new AbortController();
    expect(await run([bench, ...TINY, '--out', join(folder, 'r.json')], controller.signal, () => controller.abort())).toBe(1);
    expect(said.err).toBe('Loading the model ...\nStopped; nothing was written.\n');
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([
    [['--size', '40x32'], 'width 40 is not a multiple of 16, which this model needs; the nearest is 48.'],
    [['--num-frames', '6'], 'numFrames 6 is not 4k + 1, which this model needs; the nearest is 5.'],
    [['--layers', '3'], `layers is 3, but ${MODEL} has 2; give at most that.`],
    [['--model', tmpdir()], /has no model_index\.json/],
  ])('refuses %j', async (words, message) => {
    expect(await run(['step', ...TINY, ...words])).toBe(1);
    expect(said.err.replace('Loading the model ...\n', '')).toMatch(message instanceof RegExp ? message : `Error: ${message}\n`);
  });

  test.skipIf(gpu?.adapter.features.has('shader-f16'))('refuses f16 on a GPU that has none', async () => {
    expect(await run(['step', ...TINY, '--dtype', 'f16'])).toBe(1);
    expect(said.err).toContain('Error: this GPU stores no f16 (feature shader-f16 is missing); choose f32.\n');
  });
});

test('without a GPU: one sentence', async () => {
  vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } });
  expect(await run(['step', ...TINY])).toBe(1);
  expect(said.err).toMatch(/^Loading the model \.\.\.\nError: no GPU adapter was found; .*\.\n$/);
  expect(said.out).toBe('');
});

test('a place that cannot be written to is refused before anything is measured', async () => {
  expect(await run(['step', '--out', join(folder, 'no', 'step.json')])).toBe(1);
  expect(said.err).toMatch(/^Error: The folder ".*no" does not exist; make it first or write somewhere else\.\n$/);
});

test('phases are those that a method has', () => {
  const subject = { grid: { frames: 2, height: 4, width: 4, text: 0 }, config: { layers: 2 } } as Parameters<typeof phasesOf>[1];
  const steps = (method: Parameters<typeof phasesOf>[0]) => phasesOf(method, subject).map(({ name, step }) => `${name} ${step}`);
  expect(steps(dense())).toEqual(['dense 0']);
  expect(steps(pyramidSparse())).toEqual(['dense 0', 'first search 15', 'later search 16']);
  expect(steps(adaSpa())).toEqual(['dense 0', 'first search 10', 'reuse 11', 'later search 30']);
});
