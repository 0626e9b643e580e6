// Reports: what files become, what is refused, and the page itself, one file that draws its data in a browser without a network.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Rollup } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { VideoCase } from '../../src/bench/video/case.ts';
import { main } from '../../src/cli/main.ts';
import { collect } from '../../src/report/collect.ts';
import { reportMarkdown } from '../../src/report/markdown.ts';
import { pareto } from '../../src/report/pareto.ts';
import { readAll } from '../../src/report/read.ts';
import { reportPage } from '../../src/report/write.ts';
import { openPage } from './chromium.ts';

const folder = mkdtempSync(join(tmpdir(), 'report-'));
afterAll(() => rmSync(folder, { recursive: true }));

const write = (name: string, value: unknown): string => {
  const file = join(folder, name);
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
  return file;
};
const fixed = { date: '2026-11-24', version: '0.1.0' };
const cpu = { processor: 'A Processor', cores: 2, platform: 'linux x64' };
const timed = (id: string, median: number, more: object = {}) => ({
  id,
  milliseconds: { median, best: median, low: median, high: median, runs: 3 },
  ...more,
});
const RED = 'data:image/gif;base64,R0lGODlhAQABAIAAAP8AAAAAACwAAAAAAQABAAACAkQBADs=';
const BLUE = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAA/wAAACwAAAAAAQABAAACAkQBADs=';

/** A prompt that would end the data, were it not written with care. */
const PROMPT = 'a red car </script><b>bold</b>';
function videoFile(): string {
  const steps = { milliseconds: [900, 400], density: [1, 0.2], error: [0, 0.1] };
  const one = (contender: string, denoise: number, more: object): VideoCase => ({
    ...{
      id: `${contender}/${PROMPT}/seed 1`,
      contender,
      prompt: PROMPT,
      seed: 1,
      density: contender === 'dense' ? 1 : 0.4,
      warmUp: 0.2,
      cached: 0,
    },
    ...{ seconds: { text: 0.1, denoise, decode: 0.2 }, steps, frames: [RED, BLUE], ...more },
  });
  const denseSeconds = { text: 0.1, denoise: 4, decode: 0.2 };
  const near = (latentError: number) => ({ denseSeconds, nearness: { latentError, psnr: 30, ssim: 0.9, gmsd: 0.1 } });
  const plans = {
    densityByLayer: [
      [1, 1],
      [0.2, 0.3],
    ],
    densityByHead: [
      [0.6, 0.6],
      [0.5, 0.7],
    ],
    recall: [],
  };
  const cases = [
    one('dense', 4, {}),
    one('fast', 1, near(0.3)),
    one('near', 2, near(0.1)),
    one('poor', 3, near(0.4)),
    one('dense, 1 step more', 5, near(0.05)),
  ];
  const contenders = cases.map(({ contender: label }) => ({
    label,
    method: label,
    role: label === 'dense' ? 'dense' : label.includes('step') ? 'floor' : 'contender',
  }));
  return write('video.json', {
    ...{ bench: 'video', ...fixed, machine: cpu, options: { width: 64, height: 64, numFrames: 5, numInferenceSteps: 2 } },
    ...{ device: { name: 'cpu', dtype: 'f32', reason: '' }, runtime: 'onnxruntime-node', embedded: true, contenders, summary: [] },
    cases: [...cases, { id: 'plans', contender: 'fast', prompt: PROMPT, seed: 1, plans }],
  });
}

const attentionFile = (name: string, gpu: string, rates: readonly [string, number, number][]): string =>
  write(name, {
    ...{ bench: 'attention', ...fixed, machine: { ...cpu, gpu }, options: {} },
    cases: rates.map(([work, density, teraflops]) => timed(`shape/webgpu f16/${work}`, 5, { density, teraflops })),
  });

function inspection(): string {
  const place = join(folder, 'plans');
  mkdirSync(place);
  writeFileSync(join(place, 'map.gif'), Buffer.from(RED.split(',')[1], 'base64'));
  const head = { density: 0.5, read: 0.9, full: 0.8, map: 'map.gif' };
  const plan = {
    step: 1,
    layer: 0,
    phase: 'search',
    isRead: true,
    layout: 'raster(64)',
    blocks: 4,
    keyBlocks: 4,
    pools: [1, 2],
    queryBlock: 1,
    heads: [head],
  };
  const calls = [0, 1].map((step) => ({ step, layer: 0, phase: step === 0 ? 'dense' : 'search', density: [step === 0 ? 1 : 0.5] }));
  writeFileSync(
    join(place, 'inspection.json'),
    JSON.stringify({
      ...{
        inspect: 'run',
        prompt: 'a kite',
        method: 'sparse',
        seed: 1,
        width: 64,
        height: 64,
        numFrames: 5,
        steps: 2,
        layers: 1,
        heads: 1,
        meanDensity: 0.75,
      },
      ...{ grid: { frames: 2, height: 4, width: 4, text: 0 }, calls, plans: [plan] },
    }),
  );
  return place;
}

let paths: string[];
let page: string;
beforeAll(async () => {
  paths = [
    ...[videoFile(), inspection()],
    attentionFile('ours.json', 'acme-tower-5', [
      ['zoetrope matrix/dense', 1, 200],
      ['zoetrope matrix/blocks 0.2', 0.2, 180],
    ]),
    attentionFile('theirs.json', 'ACME Tower 5', [['pytorch sdpa/dense', 1, 500]]),
    write('step.json', {
      bench: 'step',
      ...fixed,
      machine: cpu,
      options: {},
      cases: [timed('a model/cpu/dense', 1500), { id: 'a model/cpu/x', skipped: 'no' }],
    }),
  ];
  const configFile = fileURLToPath(new URL('../../src/report/page/vite.config.ts', import.meta.url));
  const { output } = (await build({ configFile, logLevel: 'error', build: { write: false } })) as Rollup.RollupOutput;
  expect(output.map(({ fileName }) => fileName)).toEqual(['index.html']);
  const [template] = output as readonly (Rollup.OutputChunk | Rollup.OutputAsset)[];
  page = reportPage(String('source' in template && template.source), collect(await readAll(paths), '0.1.0', '2026-11-24'));
});

test('points that no other beats', () => {
  const points = [
    [1, 5],
    [2, 4],
    [2, 3],
    [3, 4],
    [4, 1],
    [0, 5],
  ].map(([x, y]) => ({ x, y }));
  expect(pareto(points)).toEqual(
    [
      [1, 5],
      [3, 4],
      [4, 1],
    ].map(([x, y]) => ({ x, y })),
  );
  expect(pareto([])).toEqual([]);
});

describe('collect', () => {
  test('keeps machines apart, under one name each', async () => {
    const { videos, rooflines, times, plans } = collect(await readAll(paths), '0.1.0', '2026-11-24');
    expect(videos).toMatchObject([{ machine: 'A Processor, 2 cores', embedded: true, clips: [{ prompt: PROMPT, seed: 1 }] }]);
    expect(videos[0].contenders.map(({ contender, role }) => [contender, role])).toEqual([
      ...[
        ['dense', 'dense'],
        ['fast', 'contender'],
        ['near', 'contender'],
        ['poor', 'contender'],
        ['dense, 1 step more', 'floor'],
      ],
    ]);
    expect(videos[0].contenders[1]).toMatchObject({
      pairs: 1,
      denoiseSpeedup: { mean: 4, count: 1 },
      latentError: { mean: 0.3 },
      plans: { runs: 1 },
    });
    expect(rooflines).toMatchObject([
      { machine: 'acme-tower-5', ceiling: { teraflops: 500, by: 'pytorch sdpa, webgpu f16, dense, shape' } },
    ]);
    expect(rooflines[0].series.map(({ label, points }) => [label, points.map(({ density }) => density)])).toEqual([
      ['zoetrope matrix, webgpu f16', [0.2, 1]],
      ['pytorch sdpa, webgpu f16', [1]],
    ]);
    expect(times.map(({ what, machine }) => [what, machine])).toEqual([
      ['Attention', 'acme-tower-5'],
      ['One forward of the transformer', 'A Processor, 2 cores'],
    ]);
    expect(times[1].groups).toMatchObject([{ title: 'a model', bars: [{ label: 'cpu / dense', milliseconds: 1500 }] }]);
    expect(plans[0].plans[0].heads[0].map).toBe(RED);
  });

  test('what only browsers without flags have is a line of its own', async () => {
    const cases = [0.5, 1].map((density) => timed(`shape/webgpu f16/x/d${density}`, 10, { density, teraflops: 9 }));
    const files = [false, true].map((stock) =>
      write(`stock-${stock}.json`, { bench: 'attention', ...fixed, machine: cpu, options: { stock }, cases }),
    );
    const { rooflines } = collect(await readAll(files), '0.1.0', '');
    expect(rooflines[0].series.map(({ label }) => label)).toEqual(['x, webgpu f16', 'x, webgpu f16, stock']);
  });

  test('the rate of attention follows from the shape where a case does not say', async () => {
    const file = write('cpu.json', {
      bench: 'attention',
      ...fixed,
      machine: cpu,
      options: {},
      cases: [0.5, 1].map((density) => timed(`1000x4x64/cpu/x/d${density}`, 10, { density })),
    });
    const { rooflines } = collect(await readAll([file]), '0.1.0', '');
    expect(rooflines[0].series[0].points.map(({ teraflops }) => teraflops)).toEqual([0.0512, 0.1024]);
  });
});

test('what cannot be reported is refused in one sentence', async () => {
  const idle = write('idle.json', { bench: 'step', ...fixed, machine: cpu, options: {}, cases: [{ id: 'a', skipped: 'no GPU' }] });
  const reported = async (...files: string[]) => collect(await readAll(files), '0.1.0', '');
  await expect(reported(idle)).rejects.toThrow(/^There is nothing to report: ".*idle.json" hold no case that was measured/);
  await expect(reported(write('cut.json', '{"bench": "st'))).rejects.toThrow(/cut.json" is damaged/);
  await expect(reported(write('odd.json', { a: 1 }))).rejects.toThrow(/odd.json" is no result file/);
  await expect(reported(join(folder, 'none.json'))).rejects.toThrow(/none.json" cannot be read: it is not there/);
  await expect(reported(folder)).rejects.toThrow(/holds no inspection.json; give result files/);
  await expect(reported(write('plan.json', '{"inspect":"run","prompt":'))).rejects.toThrow(/The inspection ".*plan.json" is damaged/);
  await expect(reported(write('bare.json', '{"inspect":"run"}'))).rejects.toThrow(/is no inspection of a run/);
  expect(() => reportPage('<html></html>', {} as never)).toThrow(/has no place for data/);
});

describe('zoetrope report', () => {
  const run = async (...words: string[]) => {
    const [out, err]: string[][] = [[], []];
    const terminal = {
      out: (text: string) => void out.push(text),
      err: (text: string) => void err.push(text),
      isScreen: false,
      columns: 80,
    };
    const code = await main(['report', ...words], terminal, new AbortController().signal);
    return { code, out: out.join(''), err: err.join('') };
  };
  test('prints Markdown', async () => {
    const { code, out } = await run('--markdown', paths[0], paths[4]);
    expect(code).toBe(0);
    expect(out).toContain('# A Processor, 2 cores: the embedded model, 64x64, 5 frames, 2 steps, cpu f32');
    expect(out).toMatch(/\| fast \| 1 \| 0.400 \|/);
    expect(out).toContain('| cpu / dense | 1500 | 3 |  |');
    expect(out).toBe(reportMarkdown(collect(await readAll([paths[0], paths[4]]), '0.1.0', '')));
  });
  test('wants results', async () => {
    expect(await run()).toMatchObject({
      code: 1,
      err: 'Error: There are no results to report; name some, as zoetrope report bench/results/*.json.\n',
    });
  });
});

test('the page is one file that names nothing to load', () => {
  expect(page).not.toMatch(/(?:src|href)\s*=\s*["'](?!data:)/);
  expect(page).not.toMatch(/@import|url\((?!["']?data:)/);
  expect(page).toContain(`default-src 'none'; img-src data:`);
  expect(page).not.toContain('</script><b>');
  expect(page).toContain('\\u003c/script>');
  expect(page.match(/<script/g)!.length).toBe(2);
});

test.skipIf(process.platform !== 'linux' || process.arch !== 'x64')('the page draws its data from disk without an error', async () => {
  const opened = await openPage(pathToFileURL(write('report.html', page)).href);
  try {
    // Charts are drawn with the next frame.
    await opened.evaluate('new Promise((done) => setTimeout(done, 300))');
    const said = (await opened.evaluate('document.body.innerText')) as string;
    for (const text of [
      PROMPT,
      'These results are of 2 machines',
      'no evidence for Wan itself',
      'Plans of sparse',
      'acme-tower-5',
      '1.5 s',
    ])
      expect(said).toContain(text);
    const inked = `[...document.querySelectorAll('canvas')].map((one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some((x) => x > 0))`;
    expect(await opened.evaluate(inked)).toEqual([true, true, true, true, true]);
    const sources = `[...document.querySelectorAll('.stage img')].map((one) => one.src)`;
    expect(await opened.evaluate(sources)).toEqual([RED, RED, RED, RED]);
    await opened.evaluate(
      `{ const slider = document.querySelector('.stage').parentElement.querySelector('input'); slider.value = 1; slider.dispatchEvent(new Event('input')); }`,
    );
    expect(await opened.evaluate(sources)).toEqual([BLUE, BLUE, BLUE, BLUE]);
    await opened.evaluate(`document.querySelector('.chip').click()`);
    expect(await opened.evaluate(sources)).toEqual([BLUE, BLUE, BLUE]);
    expect(await opened.evaluate(`document.querySelector('.heat title').textContent`)).toBe('step 0, layer 0: 1.00');
    const tables = `[...document.querySelectorAll('table')].map(({ rows }) => [...rows].map(({ cells }) => cells.length))`;
    for (const [head, ...rows] of (await opened.evaluate(tables)) as number[][]) expect(new Set(rows)).toEqual(new Set([head]));
    expect(opened.complaints).toEqual([]);
  } finally {
    await opened.close();
  }
});
