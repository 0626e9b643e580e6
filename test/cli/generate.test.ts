// The commands from words to files, on the model that comes along, at a size that takes a second or two.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { main } from '../../src/cli/main.ts';

let folder: string;
let out = '';
let err = '';
let onErr: (text: string) => void = () => {};
const terminal = {
  out: (text: string) => {
    out += text;
  },
  err: (text: string) => {
    err += text;
    onErr(text);
  },
  isScreen: false,
  columns: 80,
};
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'generate-'));
  [out, err, onErr] = ['', '', () => {}];
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const SMALL = '--size 64x64 --num-frames 5 --steps 2'.split(' ');
const run = (words: readonly string[], signal = new AbortController().signal) => main(words, terminal, signal);

it('writes the video, a preview, one JSON object on stdout and the story on stderr', async () => {
  const words = ['a rocket flying up', ...SMALL, '--seed', '7', '--method', 'adaspa', '--sparsity', '0.5', '--fps', '10', '--json'];
  expect(await run([...words, '-o', join(folder, 'a.webp'), '--preview', join(folder, 'p.png')])).toBe(0);
  const report = JSON.parse(out);
  expect(report).toMatchObject({
    path: join(folder, 'a.webp'),
    frames: 5,
    width: 64,
    height: 64,
    fps: 10,
    seed: 7,
    steps: 2,
    method: 'adaSpa',
    device: 'cpu',
    dtype: 'f32',
  });
  expect(Object.keys(report.milliseconds)).toEqual(['text', 'denoise', 'decode', 'encode']);
  expect(await sharp(join(folder, 'a.webp'), { animated: true }).metadata()).toMatchObject({ width: 64, pageHeight: 64, pages: 5 });
  expect(await sharp(join(folder, 'p.png')).metadata()).toMatchObject({ width: 64, height: 64 });
  expect(err).toMatch(
    /^64x64, 5 frames, 2 steps, 32 tokens: about .* of memory\.\nstep 1\/2 .*\nstep 2\/2 .*\n.*a\.webp: 5 frames, 64x64, 10 fps/,
  );
  expect(err).not.toContain('Warning');
});

it('warns of a prompt that the model cannot show, and goes on', async () => {
  expect(await run(['a spaceship with a kat', ...SMALL, '-o', join(folder, 'a.mp4')])).toBe(0);
  expect(err).toMatch(/^Warning: "a spaceship with a kat" names nothing.*nearest first:\n {2}"a black cat .*[\s\S]*--model takes a model/);
  expect(out).toBe('');
  expect(await readdir(folder)).toEqual(['a.mp4']);
});

describe('without a GPU', () => {
  beforeEach(() => vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } }));
  afterEach(() => vi.unstubAllGlobals());

  it('auto takes the CPU and says why, before the run and after it', async () => {
    expect(await run(['a rocket', ...SMALL, '--device', 'auto', '-o', join(folder, 'a.webp')])).toBe(0);
    expect(err).toMatch(/^Device: cpu \(f32\)\. Auto took the CPU: no GPU adapter was found; .*\.\n64x64, 5 frames/);
    expect(err).toMatch(/encode [\d.]+ s; cpu \(f32\), onnxruntime-\w+ [\d.]+\n/);
  });

  it.each([
    ['--device webgpu', /^Error: no GPU adapter was found; .*\.\n$/],
    [
      '--device auto --dtype f16',
      /^Error: the CPU computes in f32 and has no f16 \(auto took the CPU: no GPU .*\); choose f32, or device webgpu\.\n$/,
    ],
  ])('%s is refused', async (words, message) => {
    expect(await run(['a rocket', ...SMALL, ...words.split(' '), '-o', join(folder, 'a.webp')])).toBe(1);
    expect(err).toMatch(message);
    expect(await readdir(folder)).toEqual([]);
  });
});

it('stops when it is told to, and leaves nothing', async () => {
  const controller = new AbortController();
  onErr = (text) => {
    if (text.startsWith('step 1/')) controller.abort();
  };
  expect(await run(['a rocket', ...SMALL, '-o', join(folder, 'a.mp4')], controller.signal)).toBe(1);
  expect(err).toMatch(/\nStopped; nothing was written\.\n$/);
  expect(err).not.toContain('step 2/2');
  expect(await readdir(folder)).toEqual([]);
});

it('does not start what takes hours without --yes', async () => {
  expect(await run(['a rocket', '--size', '1024x1024', '--num-frames', '401', '-o', join(folder, 'a.mp4')])).toBe(1);
  expect(err).toMatch(/^Error: 1024x1024, 401 frames.* will take about \d+ h .*add --yes/);
});

it('passes on what the model refuses', async () => {
  expect(await run(['a rocket', '--size', '100x64', '-o', join(folder, 'a.mp4')])).toBe(1);
  expect(err).toMatch(/^Error: width 100 .*\n$/);
});

it('lists what the model knows', async () => {
  expect(await run(['vocab', '--json'])).toBe(0);
  const vocabulary = JSON.parse(out);
  expect(vocabulary.subjects).toContain('rocket');
  expect(vocabulary.prompts.length).toBeGreaterThan(5);
  await writeFile(join(folder, 'model_index.json'), '{"_class_name": "WanPipeline"}');
  expect(await run(['vocab', '--model', folder])).toBe(1);
  expect(err).toContain('states no vocabulary');
});
