// The bench of attention kernels on a tiny shape: every contender is held against f64 and refused when it is wrong. No time is judged.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type AttentionBenchOptions, type AttentionCase, benchAttention } from '../../src/bench/attention/bench.ts';
import { blocksOf, byQueries, numbersOf, PYRAMID, SHIFT, type Shape, shapeNamed } from '../../src/bench/attention/shapes.ts';
import { exactDense, exactRow, headsChecked, rowError, tokensChecked } from '../../src/bench/attention/twin.ts';
import { resultLog } from '../../src/bench/log.ts';
import { main } from '../../src/cli/main.ts';
import type { Method } from '../../src/method.ts';
import { withQueryBlocks } from '../../src/method-queries.ts';
import { adaSpa, exactRest } from '../../src/methods.ts';
import { raster } from '../../src/sparse3d/layout.ts';
import { tokensOf } from '../../src/sparse3d/plan.ts';
import { attendAllReference, attendReference } from '../../src/sparse3d/reference.ts';
import { openedGpu } from '../gpu/device.ts';

const TINY: Shape = { name: 'tiny', heads: 2, dim: 64, grid: { frames: 3, height: 7, width: 9, text: 5 } };
const gpu = await openedGpu();
const folder = mkdtempSync(join(tmpdir(), 'attention-'));
afterAll(() => rmSync(folder, { recursive: true }));

const spoiled: Method = { ...adaSpa(), correct: ({ ops }, { out, lse }) => ({ out: ops.combine([out], [-3]), lse }) };
const broken: Method = {
  ...adaSpa(),
  select: () => {
    throw new Error('this selector has none');
  },
};

async function run(more: Partial<AttentionBenchOptions>, out?: string, filter?: string) {
  const log = resultLog<AttentionCase>({ bench: 'attention', version: '0.1.0', options: { runs: 2 }, choosing: [], out, filter });
  const turns: string[] = [];
  await benchAttention({
    ...{ device: 'cpu', shapes: [TINY], readings: [blocksOf(0.5), PYRAMID], methods: [], runs: 2, warmUpSeconds: 0, log },
    onTurn: ({ work, turn }) => turns.push(`${work} ${turn}`),
    ...more,
  });
  return { cases: log.result.cases as readonly AttentionCase[], machine: log.result.machine, turns };
}

const named = (cases: readonly AttentionCase[]) => Object.fromEntries(cases.map((one) => [one.id.split('/').slice(2).join('/'), one]));

test('rows are those of the f64 twins, full and by a pooled plan', () => {
  const numbers = numbersOf(TINY);
  const rows = (of: Float32Array, head: number) =>
    Array.from({ length: tokensOf(TINY.grid) }, (_, token) => [
      ...of.subarray((head * SHIFT + token) * 64, (head * SHIFT + token + 1) * 64),
    ]);
  const [q, k, v] = [rows(numbers.q, 1), rows(numbers.k, 1), rows(numbers.v, 1)];
  const full = attendAllReference(q, k, v);
  const [, expected] = exactDense(numbers, TINY);
  for (const [at, token] of tokensChecked(TINY).entries())
    for (const [index, x] of expected[at].entries()) expect(x).toBeCloseTo(full.out[token][index], 12);
  const layout = raster(64)(TINY.grid);
  const row = [
    { block: 0, pool: 1 },
    { block: 3, pool: 4 },
  ];
  const pooled = attendReference(q, k, v, Array(layout.blocks).fill(row), { q: layout, k: layout });
  const groups = row.flatMap(({ block, pool }) => {
    const tokens = [...layout.order.subarray(block * 64, block * 64 + layout.counts[block])];
    return Array.from({ length: Math.ceil(tokens.length / pool) }, (_, at) => tokens.slice(at * pool, (at + 1) * pool));
  });
  const found = exactRow(numbers, TINY, 1, 7, groups);
  for (const [index, x] of found.entries()) expect(x).toBeCloseTo(pooled.out[7][index], 12);
});

test('an error is relative to the rows, and a number that is none is no match', () => {
  const expected = headsChecked(TINY).map(() => tokensChecked(TINY).map(() => new Float64Array(64).fill(2)));
  const out = new Float32Array(2 * tokensOf(TINY.grid) * 64).fill(2.2);
  expect(rowError(out, TINY, expected)).toBeCloseTo(0.1, 6);
  out[0] = Number.NaN;
  expect(rowError(out, TINY, expected)).toBeNaN();
});

test.each(['onnxruntime-node', 'onnxruntime-web'] as const)(
  'on %s all contenders are right, and wrong ones are refused',
  async (runtime) => {
    const joined = withQueryBlocks(adaSpa({ sparsity: 0.4 }));
    const methods = Object.entries({ adaSpa: adaSpa({ sparsity: 0.4 }), joined, exactRest: exactRest(), spoiled, broken });
    const readings = [blocksOf(0.5), PYRAMID, byQueries(blocksOf(0.5), 128)];
    const { cases, machine } = await run({
      ...{ runtime, readings, methods: methods.map(([label, method]) => ({ label, method: () => method })) },
    });
    const found = named(cases);
    expect(machine).not.toHaveProperty('gpu');
    const own = `${runtime}/${runtime === 'onnxruntime-node' ? 'MultiHeadAttention' : 'plain graph'}`;
    const kernels = ['dense', 'dense without log-sum-exp', 'blocks 0.5', 'pyramid', 'blocks 0.5 by 128 queries'];
    const works = [...kernels, 'adaSpa search', 'adaSpa reuse', 'joined search', 'joined reuse', 'exactRest search'];
    for (const name of [own, ...works.map((work) => `zoetrope/${work}`)]) {
      const { milliseconds, check, failed, density, teraflops } = found[name];
      expect(failed, name).toBeUndefined();
      expect(milliseconds?.runs, name).toBe(2);
      expect(check!.error, name).toBeLessThan(2e-6);
      expect(density! > 0 && density! <= 1 && teraflops! > 0, name).toBe(true);
    }
    expect(found['zoetrope/dense'].faster?.than).toBe(`tiny/${runtime} f32/${own}`);
    expect(found[own]).not.toHaveProperty('faster');
    expect(found['zoetrope/spoiled reuse']).toMatchObject({ failed: expect.stringMatching(/^it is off by \d.* where 1 is allowed/) });
    expect(found['zoetrope/spoiled reuse']).not.toHaveProperty('milliseconds');
    expect(found['zoetrope/broken search']).toMatchObject({ failed: 'this selector has none' });
  },
);

test('a run goes on where another stopped, and takes only what the filter wants', async () => {
  const out = join(folder, 'attention.json');
  const some = await run({}, out, 'zoetrope BLOCKS');
  expect(some.cases.map(({ work }) => work)).toEqual(['blocks 0.5']);
  const all = await run({}, out);
  expect(all.cases.map(({ work }) => work)).toEqual(['blocks 0.5', 'MultiHeadAttention', 'dense', 'dense without log-sum-exp', 'pyramid']);
  expect(all.turns).not.toContain('zoetrope blocks 0.5 0');
  const text = readFileSync(out, 'utf8');
  expect((await run({}, out)).turns).toEqual([]);
  expect(readFileSync(out, 'utf8')).toBe(text);
});

test.skipIf(!gpu)('on a GPU each variant is right or says why it cannot run', async () => {
  const only = { dtypes: ['f32'] as const, variants: ['portable', 'matrix'], readings: [PYRAMID], runs: 1 };
  const { cases, machine } = await run({ device: 'webgpu', ...only }, undefined, 'zoetrope');
  expect(machine.gpu).toBeTruthy();
  const found = named(cases);
  for (const name of ['zoetrope portable/dense', 'zoetrope portable/pyramid']) {
    expect(found[name].failed, name).toBeUndefined();
    expect(found[name].check!.error, name).toBeLessThan(1e-5);
  }
  expect(found['zoetrope matrix/dense'].skipped).toBeTruthy();
  for (const one of cases)
    expect(
      [one.milliseconds, one.failed, one.skipped].filter((x) => x !== undefined),
      one.id,
    ).toHaveLength(1);
});

test('a type that a device does not store is said of each case', async () => {
  const { cases } = await run({ dtypes: ['f16'] }, undefined, 'dense');
  expect(cases.map(({ skipped }) => skipped)).toEqual(Array(2).fill(`${cases[0].device} stores no f16 here`));
});

test('a shape that there is not is one sentence', () => {
  expect(() => shapeNamed('wan')).toThrow('there is no shape "wan"; give some of small, mini, wan-480p, wan-720p, hunyuan-720p');
});

async function said(words: string): Promise<{ code: number; out: string; err: string }> {
  const terminal = { out: '', err: '' };
  const write = (to: 'out' | 'err') => (text: string) => {
    terminal[to] += text;
  };
  const spelled = ['bench', 'attention', ...words.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ''))];
  const code = await main(spelled, { out: write('out'), err: write('err'), isScreen: false, columns: 80 }, new AbortController().signal);
  return { code, ...terminal };
}

test('the command prints a table, and keeps its options with the result', async () => {
  const out = join(folder, 'cli.json');
  const { code, out: text } = await said(
    `--runtime onnxruntime-node --shapes small --densities 0.125 --runs 1 --filter "node blocks" --out ${out}`,
  );
  expect(code).toBe(0);
  expect(text).toMatch(
    /^small: 2,304 tokens, 4 heads x 64, f32; onnxruntime-node 1\.\d+\.\d+\n\n +density +ms +from +to +TFLOP\/s +error\n/,
  );
  expect(text).toMatch(/^zoetrope blocks 0\.125 +0\.1\d +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +\de-7$/m);
  expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject({
    ...{ bench: 'attention', cases: [{ id: 'small/onnxruntime-node f32/zoetrope/blocks 0.125', milliseconds: { runs: 1 } }] },
    options: { device: 'cpu', runs: 1, shapes: ['small'], readings: ['blocks 0.125', 'pyramid'], methods: [], stock: false, checks: true },
  });
});

test.each([
  ['--shapes wan', /^Error: .*there is no shape "wan"; give some of small, mini, /],
  ['--device webgpu --runtime onnxruntime-web', /^Error: --runtime onnxruntime-web is for --device cpu; leave it out\.\n$/],
  ['--densities 0', /^Error: densities is "0"; give shares above 0 and at most 1, as 0\.5,0\.2\.\n$/],
  ['--methods adaspar', /^Error: .*adaspar/],
  ['--filter "nothing at all"', /Error: no case has all words of the filter "nothing at all"; give fewer\.\n$/],
  ['--compare package.json', /^Error: "package\.json" is no result file of a bench: it has no cases \(its fields are name, version, /],
])('refuses %s', async (words, message) => {
  const { code, err } = await said(words);
  expect(code).toBe(1);
  expect(err).toMatch(message);
});
