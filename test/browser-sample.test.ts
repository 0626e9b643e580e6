// The browser pages and the part of the library behind them bundle, with every kernel as a file and nothing of Node; and a video that a browser
// makes is the one that Node makes.
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type PreviewServer, preview, type Rollup } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type GenerateOptions, TextToVideoPipeline } from '../src/index.ts';
import { openPage, type Page } from './report/chromium.ts';

const configFile = fileURLToPath(new URL('../samples/browser/vite.config.ts', import.meta.url));
const model = fileURLToPath(new URL('./golden/wan-pipeline/pipeline', import.meta.url));
const prompt = 'a cat';
const options: GenerateOptions = { width: 64, height: 64, numFrames: 5, numInferenceSteps: 2, seed: 7 };

let outDir: string;
let output: Rollup.RollupOutput['output'];
let server: PreviewServer;

beforeAll(async () => {
  outDir = mkdtempSync(join(tmpdir(), 'zoetrope-browser-'));
  ({ output } = (await build({ configFile, logLevel: 'error', build: { outDir } })) as Rollup.RollupOutput);
  cpSync(model, join(outDir, 'tiny'), { recursive: true });
  server = await preview({ configFile, logLevel: 'error', build: { outDir }, preview: { port: 0, host: '127.0.0.1' } });
});

afterAll(async () => {
  await server?.close();
  rmSync(outDir, { recursive: true, force: true });
});

test('the browser pages bundle', () => {
  expect(output.filter(({ fileName }) => fileName.endsWith('.wgsl')).length).toBeGreaterThan(10);
  const chunks = output.filter((part) => part.type === 'chunk');
  // Where the embedded model lies on a disk is asked for in Node alone.
  const reached = chunks.filter(({ name }) => name !== 'embedded-model');
  expect(reached.flatMap(({ imports }) => imports).filter((name) => /^node:|^webgpu$|^onnxruntime-node$/.test(name))).toEqual([]);
  expect(
    chunks.flatMap(({ moduleIds }) => moduleIds).filter((id) => /node_modules\/(sharp|fluent-ffmpeg|onnxruntime-node)\//.test(id)),
  ).toEqual([]);
  expect(output.map(({ fileName }) => fileName)).toEqual(expect.arrayContaining(['index.html', 'video.html']));
});

test('a browser makes the video that Node makes', async () => {
  const address = server.resolvedUrls!.local[0];
  const page = await openPage(`${address}video.html?model=tiny`, { gpu: true });
  try {
    expect(await settled(page, /^Ready|^Stopped|WebGPU, but|no WebGPU/)).toMatch(/^Ready on .*it has no f16/);
    await page.evaluate(wish({ prompt, method: 'dense', seed: 7, width: 64, height: 64, frames: 5, steps: 2 }));
    expect(await settled(page, /^Done|^Stopped/)).toBe('Done.');
    expect(await page.evaluate("document.querySelector('figcaption').textContent")).toMatch(
      /^dense, seed 7: .* 100 % of attention over 32 tokens$/,
    );
    const pipe = await TextToVideoPipeline.fromPretrained(model);
    const seen: string[] = [];
    for await (const { index, data } of pipe(prompt, options)) {
      const shown = (await page.evaluate(frameAt(index))) as number[];
      expect(Math.max(...shown.map((value, at) => Math.abs(value - data[at])))).toBeLessThanOrEqual(1);
      seen.push(`${data}`);
    }
    await pipe.dispose();
    expect(new Set(seen).size).toBe(options.numFrames);
    // The embedded model is served beside the pages.
    expect(
      await page.evaluate("fetch('wan-mini/model_index.json').then((answer) => answer.json()).then((index) => index._class_name)"),
    ).toBe('WanPipeline');
  } finally {
    await page.close();
  }
});

test('a browser without a GPU is told what to do', async () => {
  const page = await openPage(`${server.resolvedUrls!.local[0]}video.html?model=tiny`);
  try {
    expect(await settled(page, /^Ready|^Stopped|WebGPU, but|no WebGPU/)).toMatch(
      /no WebGPU\. Chrome and Edge have it|found no GPU for it: turn hardware/,
    );
  } finally {
    await page.close();
  }
});

/** What the page says once that is one of these. */
const settled = (page: Page, pattern: RegExp): Promise<unknown> =>
  page.evaluate(`new Promise((resolve) => {
    const state = document.querySelector('#state');
    const look = () => (${pattern}.test(state.textContent) ? resolve(state.textContent) : setTimeout(look, 50));
    look();
  })`);

/** Fills the form in and sends it. */
const wish = (fields: Readonly<Record<string, string | number>>): string =>
  `for (const [name, value] of Object.entries(${JSON.stringify(fields)})) document.querySelector('#wish [name=' + name + ']').value = value;
  document.querySelector('#make').click()`;

/** Halts the loop at a frame, and gives the RGB of the canvas. */
const frameAt = (index: number): string => `{
  const [slider, canvas] = ['figure input', 'figure canvas'].map((part) => document.querySelector(part));
  slider.value = ${index};
  slider.dispatchEvent(new Event('input'));
  [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].filter((_, at) => at % 4 < 3);
}`;
