// Reports: what files become, and what is refused.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { collect } from '../../src/report/collect.ts';
import { reportMarkdown } from '../../src/report/markdown.ts';
import { pareto } from '../../src/report/pareto.ts';
import { readAll } from '../../src/report/read.ts';
import { reportPage } from '../../src/report/write.ts';
import { cpu, fixed, PROMPT, RED, reportFiles, timed, write } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'report-'));
afterAll(() => rmSync(folder, { recursive: true }));
const paths = reportFiles(folder);

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
    const { videos, runs, rooflines, times, plans } = collect(await readAll(paths), '0.1.0', '2026-11-24');
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
    expect(runs).toEqual([
      { machine: 'A Processor, 2 cores', model: 'a model', runs: [{ label: 'cpu, sparse, 3 steps', seconds: [3, 2, 1] }] },
    ]);
    expect(times.map(({ what, machine }) => [what, machine])).toEqual([
      ['Attention', 'acme-tower-5'],
      ['One forward of the transformer', 'A Processor, 2 cores'],
      ['Whole denoising runs', 'A Processor, 2 cores'],
    ]);
    expect(times[1].groups).toMatchObject([{ title: 'a model', bars: [{ label: 'cpu / dense', milliseconds: 1500 }] }]);
    expect(plans[0].plans[0].heads[0].map).toBe(RED);
  });

  test('what only browsers without flags have is a line of its own', async () => {
    const cases = [0.5, 1].map((density) => timed(`shape/webgpu f16/x/d${density}`, 10, { density, teraflops: 9 }));
    const files = [false, true].map((stock) =>
      write(folder, `stock-${stock}.json`, { bench: 'attention', ...fixed, machine: cpu, options: { stock }, cases }),
    );
    const { rooflines } = collect(await readAll(files), '0.1.0', '');
    expect(rooflines[0].series.map(({ label }) => label)).toEqual(['x, webgpu f16', 'x, webgpu f16, stock']);
  });

  test('the rate of attention follows from the shape where a case does not say', async () => {
    const file = write(folder, 'cpu.json', {
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
  const idle = write(folder, 'idle.json', { bench: 'step', ...fixed, machine: cpu, options: {}, cases: [{ id: 'a', skipped: 'no GPU' }] });
  const reported = async (...files: string[]) => collect(await readAll(files), '0.1.0', '');
  await expect(reported(idle)).rejects.toThrow(/^There is nothing to report: ".*idle.json" hold no case that was measured/);
  await expect(reported(write(folder, 'cut.json', '{"bench": "st'))).rejects.toThrow(/cut.json" is damaged/);
  await expect(reported(write(folder, 'odd.json', { a: 1 }))).rejects.toThrow(/odd.json" is no result file/);
  await expect(reported(join(folder, 'none.json'))).rejects.toThrow(/none.json" cannot be read: it is not there/);
  await expect(reported(folder)).rejects.toThrow(/holds no inspection.json; give result files/);
  await expect(reported(write(folder, 'plan.json', '{"inspect":"run","prompt":'))).rejects.toThrow(
    /The inspection ".*plan.json" is damaged/,
  );
  await expect(reported(write(folder, 'bare.json', '{"inspect":"run"}'))).rejects.toThrow(/is no inspection of a run/);
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
