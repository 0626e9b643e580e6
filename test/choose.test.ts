// The method of a wished quality: what is tried, what is picked, and that nothing is dense in silence. On a tiny random model.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { accelerate } from '../src/accelerate.ts';
import { type ChooseOptions, chooseMethod, type Preset, type Trial } from '../src/choose.ts';
import { adaSpa, draft } from '../src/methods.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { searchEvery } from '../src/search/schedule.ts';
import { raster } from '../src/sparse3d/layout.ts';
import { loadTextEncoder } from '../src/text/encoder.ts';

vi.mock('../src/text/encoder.ts', async (original) => {
  const encoder = await original<typeof import('../src/text/encoder.ts')>();
  return { ...encoder, loadTextEncoder: vi.fn(encoder.loadTextEncoder) };
});

const tiny = fileURLToPath(new URL('golden/wan-pipeline/pipeline', import.meta.url));
/** 72 tokens in blocks of 8, and sparse from the second step on. */
const settings = { height: 64, width: 96, numFrames: 9, numInferenceSteps: 3, guidanceScale: 1, seed: 1 };
const early = { layout: raster(8), schedule: searchEvery({ denseSteps: 1 }) };
const presets: readonly Preset[] = [
  { name: 'draft', preset: (options) => ({ ...draft(options), ...early }) },
  { name: 'adaSpa', preset: (options) => ({ ...adaSpa(options), ...early }) },
];
const sparsities = [0.2, 0.5, 0.8];

let pipe: TextToVideoPipeline;
beforeAll(async () => {
  pipe = await TextToVideoPipeline.fromPretrained(tiny);
});
afterAll(() => pipe.dispose());

const choose = (options: ChooseOptions) => chooseMethod(pipe, 'a cat', { settings, sparsities, presets, ...options });

test('the sparsest that reaches the wish is picked, and all that was tried is told', async () => {
  const told: Trial[] = [];
  const any = await choose({ quality: 1e-3, onTrial: (trial) => void told.push(trial) });
  expect(any.trials).toEqual(told);
  expect(told.map(({ method, sparsity }) => `${method} ${sparsity}`)).toEqual(['dense 0', 'draft 0.5', 'draft 0.8']);
  expect(any).toMatchObject({ name: 'draft', sparsity: 0.8, quality: 1e-3, seed: 1 });
  expect(told[0]).toMatchObject({ psnr: Number.POSITIVE_INFINITY, meanDensity: 1 });
  expect(told[2].meanDensity).toBeLessThan(told[1].meanDensity);
  const [, half, most] = told;
  expect(half.psnr).toBeGreaterThan(most.psnr);

  // Exactly what half showed: more of the same preset is too much, and the other one is asked for more.
  const wished = await choose({ quality: half.psnr });
  expect(wished.trials.slice(1, 4).map(({ method, sparsity }) => `${method} ${sparsity}`)).toEqual([
    'draft 0.5',
    'draft 0.8',
    'adaSpa 0.8',
  ]);
  const other = wished.trials[3].psnr >= half.psnr;
  expect(wished).toMatchObject(other ? { name: 'adaSpa', sparsity: 0.8 } : { name: 'draft', sparsity: 0.5 });
  expect(wished.psnr).toBeGreaterThanOrEqual(half.psnr);
  expect(wished.reason).toMatch(/^of 3 tried it is the sparsest with .* dB, and has \d+\.\d dB$/);
});

test('the prompt is encoded once', async () => {
  vi.mocked(loadTextEncoder).mockClear();
  const { trials } = await choose({ quality: 1e-3 });
  expect(trials.length).toBeGreaterThan(2);
  expect(loadTextEncoder).toHaveBeenCalledTimes(1);
  for await (const _ of pipe('a cat', settings));
  expect(loadTextEncoder).toHaveBeenCalledTimes(2);
});

test('when nothing reaches the wish an error says what came nearest', async () => {
  await expect(choose({ quality: 300, presets: [presets[0]] })).rejects.toThrow(
    /^no method reaches 300 dB on this prompt: of 2 tried draft at sparsity 0\.\d comes nearest, with \d+\.\d dB; wish for less, or choose dense$/,
  );
});

test('accelerate with auto sets what was chosen, and restores; without a choice it sets nothing', async () => {
  const before = pipe.attention;
  const auto = { prompt: 'a cat', settings, sparsities: [0.5], presets: [presets[0]] };
  const { choice, restore } = await accelerate(pipe, 'auto', { ...auto, quality: 1e-3 });
  expect(pipe.attention).toBe(choice.method);
  restore();
  expect(pipe.attention).toBe(before);
  await expect(accelerate(pipe, 'auto', { ...auto, quality: 300 })).rejects.toThrow('no method reaches');
  expect(pipe.attention).toBe(before);
});

test('a short run that is dense throughout is no trial', async () => {
  await expect(choose({ steps: 1, presets: [presets[1]] })).rejects.toThrow(
    'adaSpa at sparsity 0.5 computes full attention in all 1 steps of a short run, which shows nothing; give more steps, or a larger video',
  );
});

test('an abort ends the trials with its reason', async () => {
  const controller = new AbortController();
  const aborted = choose({ signal: controller.signal, onTrial: () => controller.abort(new Error('enough')) });
  await expect(aborted).rejects.toThrow('enough');
});

test.each<[ChooseOptions, string]>([
  [{ quality: 0 }, 'quality is 0; give a PSNR in dB above 0, such as 30'],
  [{ presets: [] }, 'there are no presets'],
  [{ sparsities: [] }, 'there are no sparsities'],
  [{ sparsities: [0.8, 0.5] }, 'sparsities [0.8, 0.5] do not rise within 0..1'],
])('%o is refused', async (options, message) => {
  await expect(choose(options)).rejects.toThrow(message);
});
