// The conformance suite on the CPU and on the GPU of the tests, and whether it notices what is wrong.
import { afterAll, describe, expect, test } from 'vitest';
import type { Attended, Backend } from '../src/backend/backend.ts';
import { openCpu } from '../src/backend/cpu.ts';
import { cpuBackend } from '../src/backend/cpu-backend.ts';
import { webgpuBackend } from '../src/backend/webgpu/backend.ts';
import { attentionChecks } from '../src/conformance/attention.ts';
import { type Check, conformance, passes, runChecks } from '../src/conformance/index.ts';
import { toF16 } from '../src/conformance/inputs.ts';
import { referenceBackend } from '../src/conformance/reference-backend.ts';
import { attendVariants } from '../src/sparse3d/gpu-attend.ts';
import type { Tensor } from '../src/tensor.ts';
import { openedGpu } from './gpu/device.ts';

const gpu = await openedGpu();
// On the CPU and on the GPU, so that the f64 results are computed once.
const checks = conformance('f32', ['quick', 'small', 'medium']);

async function holds({ run }: Check, ops: Backend): Promise<void> {
  const outcome = await run(ops);
  expect(outcome, JSON.stringify(outcome)).toSatisfy(passes);
  expect(outcome).toHaveProperty('error');
}

describe('the CPU', () => {
  const device = openCpu();
  afterAll(async () => (await device).dispose());

  test.each(checks)('$name', async (check) => holds(check, cpuBackend(await device)));

  test('skips what is stored in f16, with the reason', async () => {
    const [{ run }] = conformance('f16', ['quick']);
    expect(await run(cpuBackend(await device))).toEqual({ skipped: expect.stringContaining('does not cast f32 to f16; choose f32') });
  });
});

describe.skipIf(!gpu)('the GPU', () => {
  const cheap = checks.filter(({ size }) => size !== 'medium');
  const best = gpu && webgpuBackend(gpu);
  test.each(cheap)('$name', async (check) => holds(check, await best!));

  const quick = attentionChecks('f32').filter(({ size }) => size === 'quick');
  const variants = attendVariants.flatMap(({ name }) => quick.map((check) => ({ name, check })));
  test.each(variants)('$name: $check.name', async ({ name, check }) => {
    const outcome = await check.run(await webgpuBackend(gpu!, { attend: name }));
    const reason = attendVariants.find((variant) => variant.name === name)!.lacking(gpu!.adapter, { dim: 64, dtype: 'f32' });
    if (reason) expect(outcome).toEqual({ skipped: expect.stringContaining(reason) });
    else expect(outcome, JSON.stringify(outcome)).toSatisfy(passes);
  });
});

describe('the suite notices', () => {
  const scaled = (x: Tensor, by: number): Tensor =>
    ({ ...x, values: (x as unknown as { values: number[] }).values.map((y) => y * by) }) as Tensor;
  const reference = referenceBackend;
  const nudged = ({ out, lse }: Attended): Attended => ({ out: scaled(out, 1.0001), lse });
  const defects: Readonly<Record<string, Partial<Backend>>> = {
    gather: { gather: (x, layout) => scaled(reference.gather(x, layout), 1.5) },
    combine: { combine: (parts, [first, ...rest]) => reference.combine(parts, [first * 1.0001, ...rest]) },
    attendAll: { attendAll: (q, k, v) => nudged(reference.attendAll(q, k, v)) },
    attend: { attend: (q, k, v, plan, layout) => nudged(reference.attend(q, k, v, plan, layout)) },
    merge: { merge: (a, b) => nudged(reference.merge(a, b)) },
    blockMass: { blockMass: (q, k, lse, layout) => scaled(reference.blockMass(q, k, lse, layout), 1.001) },
    sampledScores: { sampledScores: (q, k, layout, sampling) => reference.sampledScores(q, k, layout, { ...sampling, seed: 1 }) },
    poolCap: { poolCap: (k, layout, pools) => reference.poolCap(k, layout, pools.slice(1)) },
    select: { select: (scores, { floor: _, ...selection }) => reference.select(scores, selection) },
    force: { force: (scores) => scores },
    blockMeans: { blockMeans: (x, layout) => reference.blockMeans(x, layout) },
    center: { center: (x) => x },
    product: { product: (a, b, scale) => reference.product(a, b, Math.abs(scale)) },
    softmax: { softmax: (x) => scaled(reference.softmax(x), 1.001) },
    reduce: { reduce: (x) => reference.reduce(x, 'sum') },
    argmax: { argmax: (x) => reference.argmax(reference.step(x, 2, 0, 1)) },
    minMax: { minMax: (x) => scaled(reference.minMax(x), 1.001) },
    top: { top: (x, count) => reference.top(x, count + 1) },
    step: { step: (x, threshold, below) => reference.step(x, threshold, below, 0) },
    multiply: { multiply: (a, b) => reference.force(a, b) },
    pick: { pick: (tables, choice) => reference.pick(tables, reference.argmax(reference.reshape(choice, [6, 1]))) },
    recall: { recall: (scores, plan) => scaled(reference.recall(scores, plan), 0.999) },
    planTable: { planTable: (plan, { read }) => reference.planTable(plan, { read, left: read }) },
    headBudgets: { headBudgets: (recall, options) => reference.headBudgets(recall, { ...options, threshold: 0.95 }) },
  };

  test.each(Object.entries(defects))('a wrong %s', async (operation, defect) => {
    // From the last on, which are the cheapest, to the first that fails.
    const concerned = conformance('f32').filter(({ name }) => name.startsWith(operation));
    for await (const outcome of runChecks(concerned.reverse(), { ...reference, ...defect })) if (!passes(outcome)) return;
    expect.unreachable('no check fails');
  });

  test('an operation that fails', async () => {
    const failing: Backend = {
      ...reference,
      attendAll() {
        throw new RangeError('no');
      },
    };
    for await (const outcome of runChecks(conformance('f32', ['quick']).slice(0, 1), failing)) {
      expect(outcome).toMatchObject({ name: expect.stringContaining('attendAll'), failed: 'no' });
      expect(passes(outcome)).toBe(false);
    }
  });
});

test('f16 on the host rounds to nearest, ties to even', () => {
  const cases = [
    [1 + 2 ** -11, 1],
    [1 + 3 * 2 ** -11, 1 + 2 ** -9],
    [65519, 65504],
    [65520, Infinity],
    [-1e6, -Infinity],
    [2 ** -25, 0],
    [1.5 * 2 ** -24, 2 ** -23],
    [2 ** -14 - 2 ** -26, 2 ** -14],
    [1 / 3, 0.333251953125],
  ];
  for (const [x, rounded] of cases) expect(toF16(x)).toBe(rounded);
});
