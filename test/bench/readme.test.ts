// Each figure in the tables of README's section "Measured" is that of a result file, and no table there is written by hand.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { MISSING, markdownOf, TABLES, withTables } from '../../bench/readme-tables.ts';

const RESULTS = 'bench/results';
const readme = readFileSync('README.md', 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'readme-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('every figure of the tables comes from a result file', async () => {
  expect(await withTables(readme, RESULTS), 'run "npm run bench:readme"').toBe(readme);
});

test('a figure that no file has is noticed', async () => {
  const figure = /<!-- table: attention on an H100 -->[\s\S]*?\| ([\d.]+) \|/.exec(readme)![1];
  expect(await withTables(readme.replace(`| ${figure} |`, `| ${Number(figure) / 2} |`), RESULTS)).toBe(readme);
});

test('the section has no table beside those', () => {
  const section = /\n## Measured\n([\s\S]*?)\n## /.exec(readme)![1];
  expect(section.replace(/<!-- table: [\s\S]*?<!-- end of table -->/g, '')).not.toMatch(/^\|/m);
});

test('what was not measured is said and not left out', async () => {
  const [table] = TABLES;
  const empty = await markdownOf(table, folder);
  expect(empty.split('\n').filter((line) => line.startsWith('|'))).toHaveLength(table.rows.length + 2);
  expect(empty.split(MISSING)).toHaveLength(2 * table.rows.length + 1);
  expect(empty).toMatch(/\n\nFrom no file yet\.$/);
});

test('figures are those of the case that a row names', async () => {
  const milliseconds = { median: 12.345, best: 12, low: 12, high: 13, runs: 3 };
  const cases = [
    { id: 'wan-480p/webgpu f16/zoetrope matrix/dense', milliseconds, teraflops: 203.6 },
    { id: 'wan-480p/webgpu f16/zoetrope portable/dense', failed: 'it is off by 3' },
  ];
  const result = { bench: 'attention', date: '2026-11-24', version: '0.1.0', machine: { processor: 'x', cores: 1 }, options: {}, cases };
  writeFileSync(join(folder, 'attend-gpu-480p.json'), JSON.stringify(result));
  const lines = (await markdownOf(TABLES[0], folder)).split('\n');
  expect(lines[2]).toBe('| zoetrope, dense, subgroup matrices | 12.3 | 204 |');
  expect(lines[3]).toBe(`| zoetrope, dense, subgroups | ${MISSING} | ${MISSING} |`);
  expect(lines[4]).toBe('| zoetrope, dense, portable | failed its check | failed its check |');
  expect(lines.at(-1)).toBe('From [attend-gpu-480p.json](bench/results/attend-gpu-480p.json).');
  writeFileSync(join(folder, 'attend-gpu-480p.json'), '{');
  await expect(markdownOf(TABLES[0], folder)).rejects.toThrow(/attend-gpu-480p\.json" is damaged/);
});

test.each([
  [readme.replace('<!-- table: a step on an H100 -->', ''), 'README.md has no marker "<!-- table: a step on an H100 -->"; put it'],
  [
    `${readme}<!-- table: more -->`,
    'README.md: the table at "<!-- table: more -->" has no "<!-- end of table -->"; add it below the table',
  ],
  [`${readme}<!-- table: more -->\n<!-- end of table -->`, 'README.md: there is no table "more"; give one of attention on an H100, '],
])('a marker that is wrong is one sentence (%#)', async (text, message) => {
  await expect(withTables(text, RESULTS)).rejects.toThrow(message);
});
