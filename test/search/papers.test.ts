// What papers give as formulas, through the presets' own stages on four blocks by hand, and traps of papers and their code that no other test has.
import { describe, expect, test } from 'vitest';
import { createAttention } from '../../src/attention.ts';
import type { Backend } from '../../src/backend/backend.ts';
import { valuesOf } from '../../src/conformance/host-tensor.ts';
import { referenceBackend } from '../../src/conformance/reference-backend.ts';
import type { Call, Layouts, Method } from '../../src/method.ts';
import { withoutEmpty } from '../../src/method-heads.ts';
import { adaSpa, asa, draft, liteAttention, pyramidSparse, sparge, svg2, twilight, vmoba } from '../../src/methods.ts';
import { clusters } from '../../src/search/clusters.ts';
import { upTo } from '../../src/search/levels.ts';
import { randomFrom } from '../../src/search/sampling.ts';
import { mass } from '../../src/search/select.ts';
import { headShape } from '../../src/sparse3d/heads.ts';
import { curve, raster } from '../../src/sparse3d/layout.ts';
import { type Grid, type Layout, type Plan, tokensOf } from '../../src/sparse3d/plan.ts';
import { planRows } from '../../src/sparse3d/reference.ts';
import { openedOps } from '../backend/opened.ts';

const DIM = 8;
const line = (width: number, text = 0): Grid => ({ frames: 1, height: 1, width, text });
const four = raster(8)(line(32));
type Token = (at: number) => number;

/** One head whose tokens have one number each, queries times the root of DIM, so that a logit is the product of the two. */
function callOf(ops: Backend, layout: Layouts, q: Token, k: Token): Call {
  const { grid } = layout.q;
  const raw = (token: Token) =>
    ops.upload(
      Float32Array.from({ length: tokensOf(grid) * DIM }, (_, at) => (at % DIM === 0 ? token(at / DIM) : 0)),
      [1, tokensOf(grid), DIM],
    );
  const [rows, keys] = [raw((at) => Math.sqrt(DIM) * q(at)), raw(k)];
  const site = { step: 1, steps: 2, layer: 1, layers: 2, branches: [0], grid };
  const lse = ops.gather(ops.attendAll(rows, keys, keys).lse, layout.q);
  const [blocked, others] = [ops.gather(rows, layout.q), ops.gather(keys, layout.k)];
  return { ops, q: blocked, k: others, v: others, layout, site, memory: { lse }, phase: 'search' };
}

const both = (layout: Layout): Layouts => ({ q: layout, k: layout });
const block: Token = (at) => Math.floor(at / 8);

/** What a method's own score, selector and levels read of each row, in rising order. */
async function read(method: Pick<Method, 'score' | 'select' | 'levels'>, call: Call): Promise<number[][]> {
  const told = { ...call, forced: method.score.forced?.(call.layout) };
  return rowsOf(call, method.select(told, withoutEmpty(told, method.score(told)), method.levels));
}

async function rowsOf({ ops, layout: { q, k } }: Call, { counts, blocks, levels }: Plan): Promise<number[][]> {
  const [own, lists] = (await Promise.all([ops.read(counts), ops.read(blocks)])) as Int32Array[];
  const rows = planRows(own, lists, levels, 0, q.blocks, blocks.shape[2], k.blocks);
  return rows.map((row) => row.map((entry) => entry.block).sort((a, b) => a - b));
}

const near = (actual: ArrayLike<number>, expected: readonly number[], digits = 5) => {
  expect(actual.length).toBe(expected.length);
  for (const [at, x] of expected.entries()) expect(actual[at], `number ${at}`).toBeCloseTo(x, digits);
};

describe.each(['reference', 'onnxruntime-node'] as const)('four blocks on %s', (name) => {
  const opened = name === 'reference' ? Promise.resolve(referenceBackend) : openedOps(name);
  // A key of block b weighs e^ln(b + 1) = b + 1, all 32 of them 8 (1 + 2 + 3 + 4) = 80.
  const rising: Token = (at) => Math.log(block(at) + 1);

  test('AdaSpa: the mass of 8 x 8 pairs is 64 (b + 1) / 80', async () => {
    const call = callOf(await opened, both(four), () => 1, rising);
    const rows = [0, 1, 2, 3].flatMap(() => [0.8, 1.6, 2.4, 3.2]);
    near(await call.ops.read(adaSpa().score(call)), rows);
  });

  test('AdaSpa: what all keys have in common changes no mass, as the log-sum-exp is that of the same keys', async () => {
    // Rows differ, so that a log-sum-exp of other keys would weigh them unlike.
    const query: Token = (at) => (at % 8) / 8;
    const [plain, shifted] = [0, 5].map((offset) => async () => {
      const call = callOf(await opened, both(four), query, (at) => rising(at) + offset);
      return [...(await call.ops.read(adaSpa().score(call)))];
    });
    const expected = await plain();
    near(await shifted(), expected, 4);
    expect(expected.slice(0, 4).reduce((sum, x) => sum + x, 0)).toBeCloseTo(8, 4);
  });

  test('SVG2: a mean weighs as many keys as it stands for, and clusters without keys nothing', async () => {
    const ops = await opened;
    const shape = headShape({ name: 'labels', grid: line(12), block: 8, videoBlocks: 4 });
    // Clusters of 6, 2 and 4 keys, those of the second thrice as heavy: 6, 6 and 4 of 16.
    const labels = Int32Array.from({ length: 12 }, (_, at) => (at < 6 ? 0 : at < 8 ? 1 : 2));
    const layout = { q: raster(8)(line(12)), k: ops.byLabel(ops.upload(labels, [1, 12]), 3, shape) };
    const call = callOf(
      ops,
      layout,
      () => 1,
      (at) => (labels[at] === 1 ? Math.log(3) : 0),
    );
    const { score, select } = svg2();
    near([...(await ops.read(score(call)))].slice(0, 4), [6 / 16, 6 / 16, 4 / 16, 0]);
    // .9 takes the block that crosses it, .7 does without the third, .1 of 4 blocks is one.
    expect((await read(svg2(), call))[0]).toEqual([0, 1, 2]);
    expect((await read({ score, select, levels: upTo(0.7) }, call))[0]).toEqual([0, 1]);
    expect((await read({ score, select, levels: upTo(1e-3) }, call))[0]).toEqual([0]);
  });

  test('FlexPrefill: the root of the Jensen-Shannon divergence', async () => {
    const ops = await opened;
    const [a, b] = [
      [1, 0, 1 / 2, 1 / 2, 1 / 4, 3 / 4],
      [0, 1, 1, 0, 1 / 4, 3 / 4],
    ].map((shares) => ops.upload(Float32Array.from(shares), [1, 3, 2]));
    // (1/2, 1/2) and (1, 0) meet in (3/4, 1/4): ln(4/3) / 2 from the one, ln(4/3) from the other.
    near(await ops.read(ops.divergence(a, b)), [Math.sqrt(Math.LN2), Math.sqrt((3 / 4) * Math.log(4 / 3)), 0], 4);
  });

  test('Draft: the best quarter of a whole head, and each own block beside it', async () => {
    // Every row has .1, .2, .3, .4. Of 12 open pairs 3 are a quarter: (0, 3), (1, 3), (2, 3).
    const call = callOf(await opened, both(four), () => 1, rising);
    expect(await read(draft(), call)).toEqual([[0, 3], [1, 3], [2, 3], [3]]);
  });

  test('VMoBA: products from 0 to 1 over a head, and a quarter of their sum', async () => {
    // Twelfths (i + 1) j without own blocks: 1 2 3, 0 4 6, 0 3 9, 0 4 8, in all 40; 9 and the 8 that crosses 10 are read.
    const call = callOf(await opened, both(four), (at) => block(at) + 1, block);
    expect(await read(vmoba(), call)).toEqual([[0], [1], [2, 3], [2, 3]]);
  });

  test('Twilight: a share of the mass does not hang on the first entry of a row', async () => {
    const ops = await opened;
    const call = callOf(ops, both(raster(8)(line(32))), block, block);
    const scores = ops.upload(Float32Array.of(0.05, 0.5, 0.25, 0.2, 0.5, 0.05, 0.25, 0.2, 0.4, 0.3, 0.2, 0.1, 0, 1, 0, 0), [1, 4, 4]);
    const plan = mass()({ ...call, forced: 0 }, scores, upTo(0.85));
    expect(await rowsOf(call, plan)).toEqual([[1, 2, 3], [0, 2, 3], [0, 1, 2], [1]]);
    expect(twilight().levels).toEqual(upTo(0.85));
  });

  test('LiteAttention: text is never dropped, however light', async () => {
    const layout = raster(8)(line(24, 5));
    const call = callOf(
      await opened,
      both(layout),
      () => 1,
      (at) => [0, -50, -3, -50][block(at)],
    );
    expect(await read(liteAttention(), call)).toEqual([
      [0, 2, 3],
      [0, 2, 3],
      [0, 2, 3],
      [0, 1, 2, 3],
    ]);
  });
});

test('ASA: nothing is counted twice, in full and pooled', () => {
  // Equal keys weigh the same in full and as means, so the log-sum-exp is the ln of how many were counted.
  const layout = raster(64)(line(64 * 10));
  const call = callOf(
    referenceBackend,
    both(layout),
    () => 0,
    () => 0,
  );
  const { score, select, levels } = asa();
  const plan = select({ ...call, forced: 0 }, score(call), levels);
  expect(new Set(valuesOf(plan.counts).filter((count) => count > 0)).size).toBeGreaterThan(1);
  const { lse } = referenceBackend.attend(call.q, call.k, call.v, plan, call.layout);
  for (const sum of valuesOf(lse)) expect(sum).toBeCloseTo(Math.log(64 * 10), 6);
});

describe('guidance', () => {
  const grid: Grid = { frames: 2, height: 8, width: 8, text: 0 };
  const [heads, dim, size] = [2, 8, 2 * 128 * 8];
  const draw = (seed: number, items = 1) => {
    const random = randomFrom(seed);
    return referenceBackend.upload(
      Float32Array.from({ length: items * size }, () => random() - 0.5),
      [items * heads, 128, dim],
    );
  };
  const siteOf = (step: number, branches: readonly number[]) => ({ step, steps: 4, layer: 1, layers: 2, branches, grid });

  test('SVG2: each branch has cluster centers of its own', () => {
    const method = { ...svg2({ share: 0.3 }), layout: clusters({ queries: 4, keys: 4, queryBlock: 8, keyBlock: 8, first: 2, turns: 1 }) };
    const [together, alone] = [createAttention(referenceBackend, method), [0, 1].map(() => createAttention(referenceBackend, method))];
    for (const step of [1, 2]) {
      const tensors = [0, 1, 2].map((of) => draw(9 * step + of, 2)) as [never, never, never];
      const outputs = referenceBackend.split(together.attention(...tensors, siteOf(step, [0, 1])), 2);
      for (const branch of [0, 1]) {
        const [q, k, v] = tensors.map((x) => referenceBackend.split(x, 2)[branch]);
        expect(valuesOf(alone[branch].attention(q, k, v, siteOf(step, [branch])))).toEqual(valuesOf(outputs[branch]));
      }
    }
  });

  test('PSA: steps are told by the site, not by counting calls of both branches', async () => {
    const bound = createAttention(referenceBackend, pyramidSparse({ denseSteps: 0.5 }));
    const phases: string[] = [];
    // Guidance ends after the first step.
    for (const [step, branches] of [[0, 1], [0], [0], [0]].entries()) {
      bound.attention(draw(1, branches.length), draw(2, branches.length), draw(3, branches.length), siteOf(step, branches));
      const { dense, searches } = await bound.take();
      phases.push('d'.repeat(dense) + 's'.repeat(searches));
    }
    expect(phases).toEqual(['dd', 'd', 's', 's']);
  });
});

test('SpargeAttn: raster order and no dense start, as in the examples of its authors, or the curve of their paper', () => {
  const grid = line(200);
  const site = { step: 0, steps: 50, layer: 0, layers: 30, branches: [0], grid };
  expect(sparge().layout(grid, site)).toEqual(raster(64)(grid));
  expect(sparge({ layout: curve(64) }).layout(grid, site)).toEqual(curve(64)(grid));
  expect(sparge().schedule(site)).toBe('search');
});
