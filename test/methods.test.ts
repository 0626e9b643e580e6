// The presets driven over a run of six steps on a grid that does not divide, with and without text, on both runtimes.
import { describe, expect, test } from 'vitest';
import { type BoundAttention, createAttention } from '../src/attention.ts';
import type { cpuBackend } from '../src/backend/cpu-backend.ts';
import type { Method, Site } from '../src/method.ts';
import { adaSpa, dense, pyramidSparse } from '../src/methods.ts';
import { randomFrom } from '../src/search/sampling.ts';
import { tiles } from '../src/sparse3d/layout.ts';
import { type Grid, type Layout, type Plan, tokensOf } from '../src/sparse3d/plan.ts';
import type { Tensor } from '../src/tensor.ts';
import { openedOps } from './backend/opened.ts';

const STEPS = 6;
const HEADS = 4;
const DIM = 16;
const video: Grid = { frames: 5, height: 7, width: 9, text: 0 };
const joint: Grid = { ...video, text: 13 };
const siteAt = (step: number, grid = video, more: Partial<Site> = {}): Site => ({
  step,
  steps: STEPS,
  layer: 0,
  layers: 2,
  branches: [0],
  grid,
  ...more,
});

type Ops = ReturnType<typeof cpuBackend>;
interface Watched {
  readonly ops: Ops;
  readonly attended: { plan: Plan; layout: { q: Layout; k: Layout } }[];
  readonly logSums: Tensor[];
}
/** The real operations, with a list of the plans that were attended by and of the log-sum-exps that were scored with. */
function watch(ops: Ops): Watched {
  const attended: Watched['attended'] = [];
  const logSums: Tensor[] = [];
  return {
    attended,
    logSums,
    ops: {
      ...ops,
      attend(q, k, v, plan, layout) {
        attended.push({ plan, layout });
        return ops.attend(q, k, v, plan, layout);
      },
      blockMass(q, k, lse, layout) {
        logSums.push(lse);
        return ops.blockMass(q, k, lse, layout);
      },
    },
  };
}

/** q, k, v of a few directions that drift slowly over steps, so that attention has something to find. */
function inputs(ops: Ops, grid: Grid, seed: number, items = 1): [Tensor, Tensor, Tensor] {
  const random = randomFrom(seed);
  const shape = [items * HEADS, tokensOf(grid), DIM];
  const draw = (scale: number) =>
    ops.upload(
      Float32Array.from({ length: shape[0] * shape[1] * DIM }, () => (random() - 0.5) * scale),
      shape,
    );
  return [draw(6), draw(6), draw(2)];
}

const largestGap = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((gap, x, at) => Math.max(gap, Math.abs(x - b[at])), a.length === b.length ? 0 : Infinity);

/** One letter for each step's only call, and what the run put out. */
async function drive(ops: Ops, bound: BoundAttention, grid: Grid, steps = [0, 1, 2, 3, 4, 5]) {
  const outputs: ArrayLike<number>[] = [];
  const densities: number[] = [];
  let phases = '';
  for (const step of steps) {
    outputs.push(await ops.read(bound.attention(...inputs(ops, grid, 100 + step), siteAt(step, grid))));
    const { density, dense, searches, reuses } = await bound.take();
    densities.push(density);
    phases += 'd'.repeat(dense) + 's'.repeat(searches) + 'r'.repeat(reuses);
  }
  return { outputs, densities, phases };
}

async function rowsOf(ops: Ops, { plan, layout }: Watched['attended'][number]): Promise<number[][][]> {
  const [counts, blocks] = [await ops.read(plan.counts), await ops.read(plan.blocks)];
  const all = Array.from({ length: layout.k.blocks }, (_, block) => block);
  return Array.from({ length: HEADS * layout.q.blocks }, (_, row) => {
    let from = row * plan.blocks.shape[2];
    if (counts[row * plan.levels.length] === all.length) return plan.levels.map((__, level) => (level === 0 ? all : []));
    return plan.levels.map((__, level) => {
      const count = counts[row * plan.levels.length + level];
      from += count;
      return [...blocks.subarray(from - count, from)];
    });
  });
}

const presets: readonly [string, (options: { sparsity?: number }) => Method, string][] = [
  ['adaSpa', adaSpa, 'dsrrsr'],
  ['pyramidSparse', pyramidSparse, 'ddssss'],
];

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('%s', (runtime) => {
  const opened = openedOps(runtime);

  describe.each(presets)('%s', (_, preset, expectedPhases) => {
    test.each([video, joint])('reads everything at sparsity 0, on $text text tokens', async (grid) => {
      const ops = await opened;
      const full = await drive(ops, createAttention(ops, dense()), grid);
      const run = await drive(ops, createAttention(ops, preset({ sparsity: 0 })), grid);
      expect(full.phases).toBe('dddddd');
      expect(run.phases).toBe(expectedPhases);
      for (const [step, output] of run.outputs.entries()) expect(largestGap(output, full.outputs[step])).toBeLessThan(2e-5);
      expect(run.densities).toEqual(Array(STEPS).fill(1));
    });

    test.each([video, joint])('makes valid plans, on $text text tokens', async (grid) => {
      const ops = await opened;
      for (const options of [{}, { sparsity: 0.5 }] as { sparsity?: number }[]) {
        const watched = watch(ops);
        const run = await drive(ops, createAttention(watched.ops, preset(options)), grid);
        expect(run.phases).toBe(expectedPhases);
        expect(watched.attended.length).toBe(4);
        for (const used of watched.attended) {
          const { q, k } = used.layout;
          for (const [row, groups] of (await rowsOf(ops, used)).entries()) {
            const read = groups.flat();
            expect(read.length).toBeGreaterThan(0);
            expect(new Set(read).size).toBe(read.length);
            expect(Math.min(...read)).toBeGreaterThanOrEqual(0);
            expect(Math.max(...read)).toBeLessThan(k.blocks);
            const text = Array.from({ length: k.blocks - k.videoBlocks }, (__, at) => k.videoBlocks + at);
            expect(groups[0]).toEqual(expect.arrayContaining(text));
            if (row % q.blocks >= q.videoBlocks) expect(groups[0].length).toBe(k.blocks);
          }
          expect(used.plan.keyBlocks).toBe(k.blocks);
          if (preset === adaSpa && !options.sparsity) expect(used.plan.blocks.shape[2]).toBeLessThan(k.blocks);
        }
        for (const [step, density] of run.densities.entries()) {
          const isDense = step < watched.attended.length - 2;
          expect(density).toBeGreaterThan(isDense ? 0.999 : 0.05);
          expect(density).toBeLessThan(isDense ? 1.001 : 0.95);
        }
        for (const output of run.outputs) expect(Array.from(output).every(Number.isFinite)).toBe(true);
      }
    });

    test('a batch of branches, layers in turn, is the same as each alone', async () => {
      const ops = await opened;
      const together = createAttention(ops, preset({}));
      const alone = new Map<string, BoundAttention>();
      for (let step = 0; step < STEPS; step++)
        for (const layer of [0, 1]) {
          const batch = inputs(ops, video, 500 + step * 2 + layer, 3);
          const outputs = ops.split(together.attention(...batch, siteAt(step, video, { layer, branches: [0, 1, 0] })), 3);
          for (const [item, branch] of [0, 1, 0].entries()) {
            const key = `${layer}/${item}`;
            if (!alone.has(key)) alone.set(key, createAttention(ops, preset({})));
            const [q, k, v] = batch.map((x) => ops.split(x, 3)[item]);
            const output = alone.get(key)!.attention(q, k, v, siteAt(step, video, { layer, branches: [branch] }));
            expect(largestGap(await ops.read(outputs[item]), await ops.read(output))).toBe(0);
          }
        }
      expect((await together.take()).calls).toBe(STEPS * 2 * 3);
    });

    test('another grid, and a run begun again, do not meet old plans', async () => {
      const ops = await opened;
      const bound = createAttention(ops, preset({}));
      const first = await drive(ops, bound, video);
      expect((await drive(ops, bound, joint, [5])).phases).toBe('s');
      bound.reset();
      expect((await drive(ops, bound, video, [5])).phases).toBe('s');
      const again = await drive(ops, bound, video);
      expect(again.phases).toBe(expectedPhases);
      for (const [step, output] of again.outputs.entries()) expect(largestGap(output, first.outputs[step])).toBe(0);
    });
  });

  test('adaSpa: the first search is dense and keeps the log-sum-exp that later searches score with', async () => {
    const ops = await opened;
    const { ops: watchedOps, attended, logSums } = watch(ops);
    const run = await drive(ops, createAttention(watchedOps, adaSpa()), video);
    const full = await drive(ops, createAttention(ops, dense()), video);
    for (const step of [0, 1]) expect(largestGap(run.outputs[step], full.outputs[step])).toBeLessThan(2e-6);
    for (const step of [2, 3, 4, 5]) expect(largestGap(run.outputs[step], full.outputs[step])).toBeGreaterThan(1e-3);
    expect(logSums.length).toBe(2);
    expect(logSums[1]).toBe(logSums[0]);
    const [reused, alsoReused, found, kept] = attended.map(({ plan }) => plan);
    expect(alsoReused).toBe(reused);
    expect(found).not.toBe(reused);
    expect(kept).toBe(found);
    expect(run.densities.slice(0, 2)).toEqual([1, 1]);
    expect(run.densities[2]).toBeCloseTo(await ops.density(reused), 12);
  });

  test('adaSpa: reuse without a plan is a search, and so is reuse after reset', async () => {
    const ops = await opened;
    const bound = createAttention(ops, adaSpa());
    expect((await drive(ops, bound, video, [2, 3])).phases).toBe('sr');
    bound.reset();
    expect((await drive(ops, bound, video, [3, 4, 5])).phases).toBe('ssr');
  });

  test('pyramidSparse: the same seed makes the same plans, another seed others', async () => {
    const ops = await opened;
    const plansOf = async (seed: number) => {
      const { ops: watchedOps, attended } = watch(ops);
      await drive(ops, createAttention(watchedOps, pyramidSparse({ seed, layout: tiles(2, 4, 4) })), video);
      return JSON.stringify(await Promise.all(attended.map((used) => rowsOf(ops, used))));
    };
    const first = await plansOf(1);
    expect(await plansOf(1)).toBe(first);
    expect(await plansOf(2)).not.toBe(first);
  });

  test('a correction changes what sparse steps put out, and no dense one', async () => {
    const ops = await opened;
    const method: Method = { ...adaSpa(), correct: ({ v }, { lse }) => ({ out: v, lse }) };
    const run = await drive(ops, createAttention(ops, method), video, [0, 1, 2]);
    const plain = await drive(ops, createAttention(ops, adaSpa()), video, [0, 1]);
    for (const step of [0, 1]) expect(largestGap(run.outputs[step], plain.outputs[step])).toBe(0);
    expect(largestGap(run.outputs[2], await ops.read(inputs(ops, video, 102)[2]))).toBe(0);
  });

  test('density is the mean over calls since the last take', async () => {
    const ops = await opened;
    const bound = createAttention(ops, adaSpa());
    for (const step of [0, 1, 2]) bound.attention(...inputs(ops, video, step), siteAt(step));
    const density = await bound.density();
    expect(density).toBeGreaterThan(2 / 3);
    expect(density).toBeLessThan(1);
    expect(await bound.take()).toEqual({ calls: 3, dense: 1, searches: 1, reuses: 1, density });
    expect(await bound.take()).toEqual({ calls: 0, dense: 0, searches: 0, reuses: 0, density: 1 });
  });

  test('a step that a layer and branch has seen starts a new run', async () => {
    const ops = await opened;
    const { attention, take } = createAttention(ops, adaSpa());
    const phases = async (...sites: Partial<Site>[]) => {
      for (const site of sites) attention(...inputs(ops, video, 1, site.branches?.length), siteAt(2, video, site));
      const { searches, reuses } = await take();
      return 's'.repeat(searches) + 'r'.repeat(reuses);
    };
    expect(await phases({ layer: 0 }, { layer: 1 }, { layer: 0, branches: [1] })).toBe('sss');
    expect(await phases({ step: 3, layer: 0 }, { step: 3, layer: 1 }, { step: 3, layer: 0, branches: [1] })).toBe('rrr');
    expect(await phases({ step: 3, layer: 0 }, { step: 3, layer: 1 })).toBe('ss');
    expect(await phases({ step: 5, layer: 0, branches: [0, 0] })).toBe('sr');
    expect(await phases({ step: 5, layer: 0, branches: [0, 0] })).toBe('ss');
  });

  test('tensors that do not fit the site are refused', async () => {
    const ops = await opened;
    const { attention } = createAttention(ops, dense());
    const [q, k, v] = inputs(ops, video, 1);
    expect(() => attention(q, k, v, siteAt(0, joint))).toThrow('328');
    expect(() => attention(q, k, v, siteAt(0, video, { branches: [0, 1, 0] }))).toThrow('3 batch items');
    expect(() => attention(q, k, v, siteAt(0, video, { branches: [] }))).toThrow('branch');
  });
});

describe('presets', () => {
  test('refuse what cannot be', () => {
    for (const sparsity of [1, -0.1, 80, NaN]) {
      expect(() => adaSpa({ sparsity })).toThrow(`a sparsity of ${sparsity} is out of range`);
      expect(() => pyramidSparse({ sparsity })).toThrow(RangeError);
    }
    expect(() => pyramidSparse({ sparsity: 0.5, cuts: [0.5] })).toThrow(TypeError);
    expect(() => pyramidSparse({ cuts: [0.6, 0.5] })).toThrow('0.6, 0.5');
    expect(() => pyramidSparse({ denseSteps: 1.5 })).toThrow('denseSteps is 1.5');
  });
  test('hold the numbers of their papers', () => {
    expect(adaSpa().levels[0].upTo).toBeCloseTo(0.2, 12);
    expect(pyramidSparse().levels).toEqual([0.5, 0.6, 0.7, 0.8].map((upTo, at) => ({ pool: 2 ** at, upTo })));
    expect(pyramidSparse({ sparsity: 0.9 }).levels.map(({ upTo }) => upTo)).toEqual(
      [0.05, 0.1, 0.15, 0.25].map((cut) => expect.closeTo(cut, 9)),
    );
  });
});
