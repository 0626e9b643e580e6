// Selection on the GPU against selection on plain numbers: the same plans on separated scores, ties, forced and forbidden blocks, caps, budgets.
import { describe, expect, test } from 'vitest';
import type { Selection } from '../../src/backend/backend.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { budgetsOf, recallOf, type SelectionNumbers, selectBlocks } from '../../src/search/cpu-select.ts';
import { searchGpuOps } from '../../src/search/gpu.ts';
import { algebraGpuOps } from '../../src/search/gpu-algebra.ts';
import { searchKernels } from '../../src/search/kernels/index.ts';
import { pyramid, restAt, upTo, within } from '../../src/search/levels.ts';
import { randomFrom } from '../../src/search/sampling.ts';
import { openedGpu } from '../gpu/device.ts';

type Shape = readonly [heads: number, qBlocks: number, kBlocks: number];

/** Key blocks of each row, by level; a row that reads all in full is the string 'all'. */
function rowsOf(counts: ArrayLike<number>, blocks: ArrayLike<number>, levels: number, kBlocks: number): (number[][] | 'all')[] {
  const rows = counts.length / levels;
  const width = blocks.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    if (counts[row * levels] === kBlocks) return 'all';
    let at = row * width;
    const groups = Array.from({ length: levels }, (__, level) => Array.from({ length: counts[row * levels + level] }, () => blocks[at++]));
    for (; at < (row + 1) * width; at++) expect(blocks[at]).toBe(-1);
    return groups;
  });
}

/** Distinct scores of a row, shuffled, from 1 down by a factor. */
function separated([heads, qBlocks, kBlocks]: Shape, seed: number, factor = 0.99): Float32Array {
  const random = randomFrom(seed);
  return Float32Array.from(
    Array.from({ length: heads * qBlocks }, () => {
      const order = Array.from({ length: kBlocks }, (_, block) => ({ block, key: random() })).sort((a, b) => a.key - b.key);
      const row = new Float32Array(kBlocks);
      for (const [rank, { block }] of order.entries()) row[block] = factor ** rank;
      return [...row];
    }).flat(),
  );
}

/** Some forced, some forbidden, one row of nothing but forbidden blocks, one of nothing but forced ones. */
function sprinkled(scores: Float32Array, kBlocks: number, seed: number): Float32Array {
  const random = randomFrom(seed);
  return scores.map((score, at) => {
    const row = Math.floor(at / kBlocks);
    if (row === 1) return -Infinity;
    if (row === 2) return Infinity;
    const draw = random();
    return draw < 0.05 ? Infinity : draw < 0.1 ? -Infinity : draw < 0.12 ? NaN : score;
  });
}

const gpu = await openedGpu();
const kernels = gpu && (await loadKernels(searchKernels));
const ops = gpu && { ...searchGpuOps(gpu, kernels!), ...algebraGpuOps(gpu, kernels!) };

describe.skipIf(!ops)('selection on the GPU', () => {
  async function select(scores: Float32Array, shape: Shape, { cap, budgets, ...selection }: SelectionNumbers) {
    const tensors: Selection = {
      ...selection,
      ...(cap && { cap: gpu!.upload(cap, [shape[0], shape[2]]) }),
      ...(budgets && { budgets: gpu!.upload(budgets, [shape[0]]) }),
    };
    const plan = ops!.select(gpu!.upload(scores, shape), tensors);
    const [counts, blocks] = [await gpu!.read(plan.counts as never), await gpu!.read(plan.blocks as never)];
    expect(blocks.length).toBe(shape[0] * shape[1] * plan.blocks.shape[2]);
    return { rows: rowsOf(counts, blocks, selection.levels.length, shape[2]), plan };
  }

  async function same(scores: Float32Array, shape: Shape, selection: SelectionNumbers) {
    const { counts, blocks } = selectBlocks(scores, shape, selection);
    expect((await select(scores, shape, selection)).rows).toEqual(rowsOf(counts, blocks, selection.levels.length, shape[2]));
  }

  const selections: readonly [string, SelectionNumbers][] = [
    ['a share of the blocks', { measure: 'rank', levels: upTo(0.3) }],
    ['all blocks', { measure: 'rank', levels: upTo(1) }],
    ['no block', { measure: 'rank', levels: [{ pool: 1, upTo: 0 }] }],
    ['a pyramid of shares', { measure: 'rank', levels: pyramid(0.05, 0.1, 0.15, 0.25), floor: 0.08 }],
    ['a share of the mass', { measure: 'mass', levels: upTo(0.7) }],
    ['a pyramid of masses with a floor', { measure: 'mass', levels: pyramid(0.5, 0.6, 0.7, 0.8), floor: 0.06 }],
    ['all mass', { measure: 'mass', levels: pyramid(0.25, 0.5, 1) }],
  ];
  // Long rows take a software GPU long: one selection of each measure.
  const pyramids = selections.filter(([name]) => name.startsWith('a pyramid'));
  for (const kBlocks of [1, 63, 64, 65, 300, 2049])
    test.each(kBlocks > 1000 ? pyramids : selections)(`%s of ${kBlocks} blocks`, async (_, selection) => {
      const shape: Shape = [2, 3, kBlocks];
      const scores = separated(shape, kBlocks, kBlocks > 1000 ? 0.999 : 0.99);
      await same(scores, shape, selection);
      await same(sprinkled(scores, kBlocks, 5), shape, selection);
    });

  describe.each(['head', 'layer'] as const)('over a %s', (over) => {
    const wide: readonly [string, SelectionNumbers][] = [
      ['a pyramid of shares', { measure: 'rank', over, levels: pyramid(0.05, 0.2, 0.6) }],
      [
        'all and none',
        {
          measure: 'rank',
          over,
          levels: [
            { pool: 1, upTo: 0 },
            { pool: 8, upTo: 1 },
          ],
        },
      ],
      ['masses, with a floor and a ceiling', { measure: 'mass', over, levels: pyramid(0.4, 0.9, 1), floor: 0.05, ceiling: 0.3 }],
    ];
    for (const shape of [
      [2, 3, 65],
      [1, 1, 1],
    ] as const)
      test.each(wide)(`%s of ${shape}`, async (_, selection) => {
        const scores = separated([1, 1, shape[0] * shape[1] * shape[2]], 4, 0.999);
        await same(scores, shape, selection);
        await same(sprinkled(scores, shape[2], 5), shape, selection);
      });
    test('equal scores at a cut go by row, then by index', async () => {
      const scores = Float32Array.from({ length: 2 * 6 * 5 }, (_, at) => [0.5, 2, 0, 0.5, -0][at % 5]);
      for (const share of [0.3, 0.77]) await same(scores, [2, 6, 5], { measure: 'rank', over, levels: upTo(share) });
      await same(scores, [2, 6, 5], { measure: 'mass', over, levels: pyramid(0.3, 0.8) });
    });
  });

  test('more rows of a head than a workgroup has threads', async () => {
    const scores = Float32Array.from({ length: 270 * 3 }, (_, at) => [2, 0.5, 0.5][at % 3]);
    await same(scores, [1, 270, 3], { measure: 'rank', over: 'head', levels: upTo(0.9) });
  });

  test('more scores than one workgroup looks at', async () => {
    const scores = separated([1, 1, 84 * 200], 14, 0.9999);
    await same(scores, [1, 84, 200], { measure: 'rank', over: 'head', levels: upTo(0.2) });
  });

  test('budgets scale a head over all its rows', async () => {
    const scores = separated([1, 1, 600], 1, 0.999);
    for (const measure of ['rank', 'mass'] as const)
      await same(scores, [3, 4, 50], { measure, over: 'head', levels: upTo(0.4), budgets: Float32Array.of(0.5, 1, 1.5) });
  });

  test('margins count from the best open score, or from zero', async () => {
    const random = randomFrom(3);
    const scores = Float32Array.from({ length: 6 * 300 }, () => 12 * random() - 10);
    for (const anchor of ['best', 'zero'] as const)
      for (const logits of [scores, sprinkled(scores, 300, 5)]) {
        await same(logits, [2, 3, 300], { measure: 'margin', anchor, levels: within(0.5, 2, 7) });
        await same(logits, [2, 3, 300], { measure: 'margin', anchor, levels: [...within(4), ...restAt(64)], ceiling: 0.2 });
      }
  });

  test('rows too long for workgroup memory', async () => {
    const shape: Shape = [1, 2, 5000];
    await same(separated(shape, 3, 0.9995), shape, { measure: 'rank', levels: upTo(0.2) });
    await same(separated(shape, 4, 0.9995), shape, { measure: 'mass', levels: pyramid(0.5, 0.9) });
  });

  test('more rows than one pass takes', async () => {
    const [shape, levels] = [[3, 7, 70] as const, pyramid(0.1, 0.3)];
    const scores = sprinkled(separated(shape, 21), 70, 22);
    const few = searchGpuOps(gpu!, kernels!, { tableBytes: 5 * 128 * 8 });
    const [once, pieces] = [ops!, few].map((by) => by.select(gpu!.upload(scores, shape), { measure: 'rank', levels }));
    expect(await gpu!.read(pieces.blocks as never)).toEqual(await gpu!.read(once.blocks as never));
    expect(await gpu!.read(pieces.counts as never)).toEqual(await gpu!.read(once.counts as never));
  });

  test('ties go to the lower index, zeros of either sign are equal, negative scores come last', async () => {
    const row = Float32Array.of(0, -1, 0.5, -0, 0.5, -2, 0, 1e-42, 3.4e38, 0.5);
    for (const share of [0.1, 0.2, 0.3, 0.5, 0.8, 0.9]) await same(row, [1, 1, 10], { measure: 'rank', levels: upTo(share) });
    await same(new Float32Array(130), [1, 1, 130], { measure: 'mass', levels: pyramid(0.5, 0.6) });
    await same(new Float32Array(130).fill(-1), [1, 1, 130], { measure: 'mass', levels: pyramid(0.5, 0.6) });
  });

  test('scores near the end of f32 add up', async () => {
    const row = separated([1, 1, 64], 9).map((score) => score * 3e38);
    await same(row, [1, 1, 64], { measure: 'mass', levels: upTo(0.5) });
  });

  test('shares that f32 rounds add no block', async () => {
    for (const share of [1 - 0.7, 0.1, 0.2, 0.6, 1 / 3, 0.7])
      for (const kBlocks of [10, 30, 120, 1110])
        await same(separated([1, 1, kBlocks], 2), [1, 1, kBlocks], { measure: 'rank', levels: upTo(share) });
  });

  test('a cap moves blocks to finer levels', async () => {
    const shape: Shape = [2, 3, 300];
    const random = randomFrom(8);
    const cap = Int32Array.from({ length: 600 }, () => 2 ** Math.floor(random() * 4));
    const scores = separated(shape, 6);
    for (const scored of [scores, sprinkled(scores, 300, 7)]) {
      await same(scored, shape, { measure: 'rank', levels: pyramid(0.1, 0.2, 0.4, 0.9), cap });
      await same(scored, shape, { measure: 'mass', levels: pyramid(0.5, 0.6, 0.7, 0.8), floor: 0.06, cap });
    }
  });

  test('budgets scale the heads', async () => {
    const shape: Shape = [3, 2, 100];
    await same(separated(shape, 1), shape, { measure: 'rank', levels: upTo(0.2), budgets: Float32Array.of(0.5, 1, 1.5) });
  });

  test('a plan is as wide as its cuts and forced blocks; a row that does not fit is read whole', async () => {
    const shape: Shape = [1, 3, 100];
    const scores = separated(shape, 1);
    for (const block of [3, 50, 99]) scores[block] = Infinity;
    const levels = upTo(0.2);
    const { rows, plan } = await select(scores, shape, { measure: 'rank', levels, forced: 3 });
    expect(plan.blocks.shape[2]).toBeLessThan(26);
    const { counts, blocks } = selectBlocks(scores, shape, { measure: 'rank', levels });
    expect(rows).toEqual(rowsOf(counts, blocks, 1, 100));
    const crowded = await select(scores, shape, { measure: 'rank', levels, forced: 0 });
    expect(crowded.rows).toEqual(['all', ...rows.slice(1)]);
    expect((await select(scores.fill(Infinity), shape, { measure: 'rank', levels, forced: 0 })).rows).toEqual(['all', 'all', 'all']);
  });

  test('recall is the kept share of the finite mass of each head', async () => {
    const shape: Shape = [3, 4, 70];
    const scores = sprinkled(separated(shape, 11, 0.9), 70, 12).map((score, at) => (at >= 2 * 280 ? Infinity : score));
    const selection: SelectionNumbers = { measure: 'rank', levels: pyramid(0.1, 0.3) };
    const { counts, blocks } = selectBlocks(scores, shape, selection);
    const { plan } = await select(scores, shape, selection);
    const shares = await gpu!.read(ops!.recall(gpu!.upload(scores, shape), plan) as never);
    const expected = recallOf(scores, shape, { counts, blocks }, 70);
    for (const [head, share] of expected.entries()) expect(shares[head]).toBeCloseTo(share, 5);
  });

  test('head budgets are those of the host', async () => {
    const random = randomFrom(13);
    for (const heads of [1, 2, 5, 24, 100])
      for (const sparsity of [0, 0.2, 0.8]) {
        const recall = Float32Array.from({ length: heads }, () => Math.fround(0.5 + Math.floor(random() * 10) / 20));
        const budgets = await gpu!.read(ops!.headBudgets(gpu!.upload(recall, [heads]), { threshold: 0.8, sparsity }) as never);
        for (const [head, budget] of budgetsOf(recall, { threshold: 0.8, sparsity }).entries())
          expect(budgets[head]).toBeCloseTo(budget, 6);
      }
  });

  test('forcing replaces scores, in every head, and adds what is finite', async () => {
    const scores = gpu!.upload(Float32Array.of(1, 2, -Infinity, 4, 5, 6, 7, Infinity), [2, 2, 2]);
    const force = gpu!.upload(Float32Array.of(0.5, Infinity, Infinity, -Infinity), [2, 2]);
    expect([...(await gpu!.read(ops!.force(scores, force) as never))]).toEqual([
      1.5,
      Infinity,
      Infinity,
      -Infinity,
      5.5,
      Infinity,
      Infinity,
      -Infinity,
    ]);
  });

  test('selections that do not fit are refused', () => {
    const scores = gpu!.upload(new Float32Array(4), [1, 2, 2]);
    const budgets = gpu!.upload(new Float32Array(1), [1]);
    expect(() => ops!.select(scores, { measure: 'rank', levels: [] })).toThrow('level');
    expect(() => ops!.select(scores, { measure: 'rank', levels: pyramid(0.5, 1), budgets })).toThrow('budgets');
    expect(() => ops!.select(scores, { measure: 'rank', levels: upTo(1), cap: budgets })).toThrow('cap');
    expect(() => ops!.force(scores, budgets)).toThrow('force');
  });
});
