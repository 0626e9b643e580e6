// The sample programs, run as a reader runs them, on the embedded model with small defaults.
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { openWebgpu } from '../src/backend/webgpu/device.ts';
import { embeddedModel } from '../src/embedded-model.ts';
import { probe } from './video/probe.ts';

const [words, home] = [process.argv, process.cwd()];
let model: string;
let folder: string;
let said: string[];
beforeAll(() => {
  model = mkdtempSync(join(tmpdir(), 'samples-model-'));
  const index = JSON.parse(readFileSync(join(embeddedModel(), 'model_index.json'), 'utf8'));
  const small = { width: 128, height: 96, num_frames: 17, num_inference_steps: 6 };
  writeFileSync(join(model, 'model_index.json'), JSON.stringify({ ...index, zoetrope: { ...index.zoetrope, ...small } }));
  for (const part of ['scheduler', 'text_encoder', 'tokenizer', 'transformer', 'vae'])
    symlinkSync(join(embeddedModel(), part), join(model, part));
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'samples-'));
  process.chdir(folder);
  said = [];
  vi.spyOn(console, 'log').mockImplementation((line) => void said.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  process.argv = words;
  process.chdir(home);
  rmSync(folder, { recursive: true });
});
afterAll(() => rmSync(model, { recursive: true }));

/** A sample is a program: importing it runs it to its end. */
async function run(sample: () => Promise<unknown>, ...args: string[]): Promise<void> {
  process.argv = [...words.slice(0, 2), ...args];
  await sample();
}

test('first-video writes a dense and a sparse mp4 of one seed, and says what each cost', async () => {
  await run(() => import('../samples/first-video.ts'), 'a blue fish swimming underwater', model);
  expect(readdirSync('.').sort()).toEqual(['adaSpa.mp4', 'dense.mp4']);
  const [dense, sparse] = [await probe('dense.mp4'), await probe('adaSpa.mp4')];
  for (const video of [dense, sparse]) expect(video).toMatchObject({ codec: 'h264', width: 128, height: 96, frames: 17, fps: 12 });
  expect(sparse.pixels.equals(dense.pixels)).toBe(false);
  expect(new Set(dense.pixels).size).toBeGreaterThan(50);
  expect(said.length).toBe(14);
  expect(said[5]).toBe('dense: step 6/6, density 1.00');
  expect(said[6]).toMatch(/dense\.mp4: \d+\.\d s of denoising at mean density 1\.00$/);
  const density = Number(/adaSpa\.mp4: .* mean density (0\.\d\d)$/.exec(said[13])?.[1]);
  expect(density).toBeGreaterThan(0.3);
  expect(density).toBeLessThan(0.9);
});

test('own-method writes an mp4 with its method', async () => {
  await run(() => import('../samples/own-method.ts'), model);
  expect(readdirSync('.')).toEqual(['car.mp4']);
  expect(await probe('car.mp4')).toMatchObject({ codec: 'h264', width: 128, height: 96, frames: 17 });
  const density = Number(/^mean density (0\.\d\d)$/.exec(said[0])?.[1]);
  expect(density).toBeGreaterThan(0.3);
  expect(density).toBeLessThan(1);
});

test('look-at-plans writes pictures, and names the head that recalls least', async () => {
  await run(() => import('../samples/look-at-plans.ts'), 'adaSpa', 'seen', model);
  expect(readdirSync('seen').length).toBe(1 + 2 * 4 * 2);
  expect(said[0]).toMatch(/^adaSpa: "a red car/);
  expect(said[1]).toMatch(/^least recall: layer [04], head [0-3], 0\.\d\d of the mass at density 0\.\d\d$/);
});

test('own-loop goes from dense through a search to reuse in each layer', async () => {
  await run(() => import('../samples/own-loop.ts'), '2', '8', '12');
  const calls = said.map((line) => /^step (\d), layer (\d): (\w+), density (\d\.\d\d)$/.exec(line)?.slice(1));
  expect(calls.filter((call) => call?.[1] === '1').map((call) => call?.[2])).toEqual([
    'dense',
    'search',
    'reuse',
    'reuse',
    'search',
    'reuse',
  ]);
  expect(calls.slice(4).every((call) => Number(call?.[3]) < 0.5)).toBe(true);
});

test('compare-methods says what a method and a step cache cost and keep', async () => {
  await run(() => import('../samples/compare-methods.ts'), 'adaSpa', 'a red car', model);
  expect(said[0]).toMatch(/^dense: \d+\.\d s, density 1\.00$/);
  expect(said[1]).toMatch(/^adaSpa: \d+\.\d s, density 0\.\d\d, 0 steps skipped, \d+\.\d dB$/);
  expect(said[2]).toMatch(/^adaSpa and a step cache: \d+\.\d s, density 0\.\d\d, \d steps skipped, \d+\.\d dB$/);
  expect(said.length).toBe(4);
});

test('server tells each step, sends the video, and stops when the client goes', async () => {
  process.argv = [...words.slice(0, 2), '0', model];
  const { server } = await import('../samples/server.ts');
  await vi.waitUntil(() => server.listening);
  const { port } = server.address() as { port: number };
  const ask = (query: string, signal?: AbortSignal) => fetch(`http://localhost:${port}/${query}`, signal ? { signal } : {});
  expect((await ask('')).status).toBe(400);
  const lines = (await (await ask('?prompt=a+red+car')).text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, undefined]);
  expect(lines[6].report.method).toBe('adaSpa');
  expect(await sharp(Buffer.from(lines[6].webp, 'base64'), { animated: true }).metadata()).toMatchObject({ width: 128, pages: 17 });
  const client = new AbortController();
  const { body } = await ask('?prompt=a+red+car', client.signal);
  await body!.getReader().read();
  client.abort();
  await vi.waitUntil(() => said.includes('stopped: the client is gone'), 10_000);
  await new Promise((resolve) => server.close(resolve));
});

test('gpu-attention goes from dense through a search to reuse', async ({ skip }) => {
  const missing = await openWebgpu().then(
    (device) => device.dispose(),
    (error: Error) => error.message,
  );
  if (missing) skip(missing);
  await run(() => import('../samples/gpu-attention.ts'), '3', '8', '8');
  expect(said.map((line) => /^step \d: (\w+), density (\d\.\d\d), first number -?\d\.\d{4}$/.exec(line)?.slice(1))).toEqual([
    ['dense', '1.00'],
    ['search', '1.00'],
    ['reuse', expect.stringMatching(/^0\.[234]/)],
    ['search', expect.stringMatching(/^0\.[234]/)],
    ['reuse', expect.stringMatching(/^0\.[234]/)],
  ]);
});
