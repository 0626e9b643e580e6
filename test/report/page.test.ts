// The page of reports: one file that draws its data in a browser without a network.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Rollup } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collect } from '../../src/report/collect.ts';
import { readAll } from '../../src/report/read.ts';
import { reportPage } from '../../src/report/write.ts';
import { openPage } from './chromium.ts';
import { BLUE, PROMPT, RED, reportFiles, write } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'report-page-'));
afterAll(() => rmSync(folder, { recursive: true }));

let page: string;
beforeAll(async () => {
  const configFile = fileURLToPath(new URL('../../src/report/page/vite.config.ts', import.meta.url));
  const { output } = (await build({ configFile, logLevel: 'error', build: { write: false } })) as Rollup.RollupOutput;
  expect(output.map(({ fileName }) => fileName)).toEqual(['index.html']);
  const [template] = output as readonly (Rollup.OutputChunk | Rollup.OutputAsset)[];
  const data = collect(await readAll(reportFiles(folder)), '0.1.0', '2026-11-24');
  page = reportPage(String('source' in template && template.source), data);
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
  const opened = await openPage(pathToFileURL(write(folder, 'report.html', page)).href);
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
    expect(await opened.evaluate(inked)).toEqual(Array(6).fill(true));
    const sources = `[...document.querySelectorAll('.stage img')].map((one) => one.src)`;
    expect(await opened.evaluate(sources)).toEqual([RED, RED, RED, RED]);
    await opened.evaluate(
      `{ const slider = document.querySelector('.stage').parentElement.querySelector('input'); slider.value = 1; slider.dispatchEvent(new Event('input')); }`,
    );
    expect(await opened.evaluate(sources)).toEqual([BLUE, BLUE, BLUE, BLUE]);
    await opened.evaluate(`document.querySelector('.chip').click()`);
    expect(await opened.evaluate(sources)).toEqual([BLUE, BLUE, BLUE]);
    const links = `[...document.querySelectorAll('nav a')].map((one) => document.querySelector(one.getAttribute('href')).querySelector('h2').textContent === one.textContent)`;
    expect(await opened.evaluate(links)).toEqual(Array(7).fill(true));
    expect(await opened.evaluate(`document.querySelector('.heat title').textContent`)).toBe('step 0, layer 0: 1.00');
    const tables = `[...document.querySelectorAll('table')].map(({ rows }) => [...rows].map(({ cells }) => cells.length))`;
    for (const [head, ...rows] of (await opened.evaluate(tables)) as number[][]) expect(new Set(rows)).toEqual(new Set([head]));
    expect(opened.complaints).toEqual([]);
  } finally {
    await opened.close();
  }
});
