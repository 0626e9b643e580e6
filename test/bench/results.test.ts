// Result files: written whole, read, gone on with, compared; and what is wrong with a file in one sentence.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  type Case,
  compareResults,
  isWanted,
  machineOf,
  type ResultFile,
  readResults,
  resumeResult,
  writeResult,
} from '../../src/bench/results.ts';
import { spreadOf } from '../../src/bench/spread.ts';

const folder = mkdtempSync(join(tmpdir(), 'results-'));
afterAll(() => rmSync(folder, { recursive: true }));

const timed = (id: string, median: number): Case => ({ id, milliseconds: spreadOf([median]) });
const resultWith = (cases: readonly Case[], options: object = { runs: 5, filter: '' }): ResultFile => ({
  ...{ bench: 'attention', date: '2026-11-24', version: '0.1.0', machine: machineOf(), options: { ...options }, cases },
});

test('a spread is the median, the quarters and the best', () => {
  expect(spreadOf([5, 1, 2, 4, 3])).toEqual({ median: 3, best: 1, low: 2, high: 4, runs: 5 });
  expect(spreadOf([4, 1])).toEqual({ median: 2.5, best: 1, low: 1.75, high: 3.25, runs: 2 });
  expect(() => spreadOf([])).toThrow(/measure at least once/);
});

test('what is written is read again, and nothing else is left in the folder', async () => {
  const file = join(folder, 'a.json');
  const result = resultWith([timed('mini/dense', 3), { id: 'mini/broken', failed: 'it is off by 3' }]);
  await writeResult(file, result);
  expect(await readResults([file])).toEqual([{ ...result, file }]);
  await expect(writeResult(join(folder, 'no', 'a.json'), result)).rejects.toThrow(/ENOENT/);
  expect(readdirSync(folder)).toEqual(['a.json']);
});

test('every file under bench/results is read, with unlike ids', async () => {
  const files = readdirSync('bench/results').filter((name) => name.endsWith('.json'));
  const results = await readResults(files.map((name) => join('bench/results', name)));
  for (const { cases, file, machine } of results) {
    expect(new Set(cases.map(({ id }) => id)).size, file).toBe(cases.length);
    expect(machine.processor, file).not.toBe('');
    expect(cases.length, file).toBeGreaterThan(0);
    for (const { id, milliseconds } of cases) if (milliseconds) expect(milliseconds.median, `${file} ${id}`).toBeGreaterThan(0);
  }
  for (const bench of ['attention', 'step', 'run', 'demo'])
    expect(
      results.filter((one) => one.bench === bench && one.cases.some(({ milliseconds }) => milliseconds)).length,
      bench,
    ).toBeGreaterThan(0);
});

test.each([
  ['{"bench": "attention", "cases": [', /^The result file ".*bad\.json" is damaged: .*; measure it again, or take it out of the list\.$/],
  ['[1, 2]', /^".*bad\.json" is no result file of a bench: it holds \[1,2\], not an object\.$/],
  ['{"name": "zoetrope"}', /it has no cases \(its fields are name\)\.$/],
  [JSON.stringify({ ...resultWith([]), machine: {} }), /it does not say on which machine it was measured\.$/],
  [JSON.stringify({ ...resultWith([]), cases: [{ milliseconds: 3 }] }), /its case 0 has no id\.$/],
  [JSON.stringify(resultWith([timed('a', 1), timed('a', 2)])), /it has the case "a" twice\.$/],
])('refuses %s', async (text, message) => {
  const file = join(folder, 'bad.json');
  writeFileSync(file, text);
  await expect(readResults([file])).rejects.toThrow(message);
  await expect(resumeResult(file, resultWith([]))).rejects.toThrow(message);
  rmSync(file);
});

test('no file and a file that is not there are one sentence', async () => {
  await expect(readResults([])).rejects.toThrow('no result file was named; give at least one');
  await expect(readResults([join(folder, 'none.json')])).rejects.toThrow(/none\.json" cannot be read: it is not there\.$/);
});

test('a run goes on with what a file holds, but for what failed', async () => {
  const file = join(folder, 'on.json');
  const before = resultWith([timed('a', 3), { id: 'b', failed: 'no memory' }, { id: 'c', skipped: 'no f16' }]);
  expect(await resumeResult(file, resultWith([]))).toEqual(resultWith([]));
  await writeResult(file, before);
  const on = await resumeResult(file, resultWith([], { runs: 5, filter: 'mini' }), ['filter']);
  expect(on.cases).toEqual([timed('a', 3)]);
  const text = readFileSync(file, 'utf8');
  const fresh = resultWith([]);
  await expect(resumeResult(file, resultWith([], { runs: 7, filter: '' }))).rejects.toThrow(
    /on\.json" cannot be gone on with: its option runs is 5, not 7; give another --out/,
  );
  await expect(resumeResult(file, resultWith([], { runs: 5, filter: '', quick: true }))).rejects.toThrow(
    /option quick is left out, not true/,
  );
  await expect(resumeResult(file, { ...fresh, bench: 'step' })).rejects.toThrow(/it is of "bench attention", not "bench step"/);
  await expect(resumeResult(file, { ...fresh, version: '9' })).rejects.toThrow(/it is of version 0\.1\.0, not 9/);
  await expect(resumeResult(file, { ...fresh, machine: machineOf('Acme 5') })).rejects.toThrow(/it is of .*, not Acme 5/);
  expect(readFileSync(file, 'utf8')).toBe(text);
});

test('a filter wants all of its words, in any case of letters', () => {
  expect(isWanted('mini/webgpu f16/zoetrope/dense', 'MINI dense')).toBe(true);
  expect(isWanted('mini/webgpu f16/zoetrope/dense', 'mini sparse')).toBe(false);
  expect(isWanted('mini/webgpu f16/zoetrope/dense')).toBe(true);
});

test('two results are compared case by case, and say whether the machine is the same', () => {
  const before = resultWith([timed('a', 8), timed('b', 3), { id: 'c', failed: 'broke' }]);
  const after = resultWith([timed('a', 4), timed('c', 1), timed('d', 1)]);
  expect(compareResults(before, after)).toEqual({ sameMachine: true, cases: [{ id: 'a', before: 8, after: 4, ratio: 2 }] });
  expect(compareResults({ ...before, machine: machineOf('Acme 5') }, after).sameMachine).toBe(false);
  expect(() => compareResults(before, resultWith([timed('z', 1)]))).toThrow(/share no case/);
});
