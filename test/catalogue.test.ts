// Every method of the catalogue over short runs on the CPU: what all of them promise, whatever their stages.
import { describe, expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import type { Backend } from '../src/backend/backend.ts';
import type { Method } from '../src/method.ts';
import { catalogue, dense, methodNamed } from '../src/methods.ts';
import { randomFrom } from '../src/search/sampling.ts';
import { type Grid, tokensOf } from '../src/sparse3d/plan.ts';
import type { Tensor } from '../src/tensor.ts';
import { openedOps } from './backend/opened.ts';

const [STEPS, HEADS, DIM] = [4, 2, 16];
const sparse = catalogue.filter(({ name }) => name !== 'dense');
const joint: Grid = { frames: 5, height: 7, width: 9, text: 13 };
const wide: Grid = { frames: 7, height: 9, width: 17, text: 5 };

/** Queries and keys that want what is near them in the video, with tokens 8 times as large and a drift over steps; text wants anything. */
function inputs(grid: Grid, step: number): Float32Array[] {
  const random = randomFrom(7);
  const waves = Array.from({ length: (HEADS * DIM) / 2 }, () => [random(), random(), random()].map((x) => (x - 0.5) * 0.8));
  const video = tokensOf(grid) - grid.text;
  const fields = [0.1, 0.1].map((noise) => {
    const x = new Float32Array(HEADS * tokensOf(grid) * DIM);
    for (let at = 0; at < x.length; at++) {
      const [token, dim] = [Math.floor(at / DIM) % tokensOf(grid), at % DIM];
      const [f, h, w] = waves[Math.floor(at / DIM / tokensOf(grid)) * (DIM / 2) + (dim >> 1)];
      const frame = Math.floor(token / grid.height / grid.width);
      const [row, column] = [Math.floor(token / grid.width) % grid.height, token % grid.width];
      const phase = f * frame + h * row + w * column + 0.02 * step;
      const wave = token < video ? 3 * (dim % 2 ? Math.sin(phase) : Math.cos(phase)) : random() - 0.5;
      x[at] = wave + noise * (random() - 0.5);
    }
    for (let token = 11; token < HEADS * tokensOf(grid); token += 64)
      for (let dim = 0; dim < DIM; dim++) x[token * DIM + dim] *= dim < 2 ? 8 : 1;
    return x;
  });
  return [...fields, fields[0].map((x) => 0.5 * x + random() - 0.5)];
}

interface Run {
  readonly outputs: readonly ArrayLike<number>[];
  readonly densities: readonly number[];
  /** The numbers of each plan that was attended by. */
  readonly plans: readonly string[];
  readonly phases: string;
}

interface Watched {
  readonly ops: Backend;
  readonly plans: Promise<string>[];
}

/** The same operations, with a list of the plans that were attended by. */
function watch(ops: Backend): Watched {
  const plans: Promise<string>[] = [];
  const attend: Backend['attend'] = (q, k, v, plan, ...rest) => {
    plans.push(Promise.all([ops.read(plan.counts), ops.read(plan.blocks)]).then((numbers) => numbers.map(String).join(';')));
    return ops.attend(q, k, v, plan, ...rest);
  };
  return { ops: { ...ops, attend }, plans };
}

/** A run over some of the steps, whose plans are checked. */
async function drive(
  ops: Backend,
  method: Method,
  grid: Grid,
  steps: readonly number[] = [0, 1, 2, 3],
  { ops: watched, plans } = watch(ops),
): Promise<Run> {
  const bound = createAttention(watched, { ...method, checkPlans: true });
  const [outputs, densities]: [ArrayLike<number>[], number[]] = [[], []];
  let phases = '';
  for (const step of steps) {
    const [q, k, v] = inputs(grid, step).map((x) => ops.upload(x, [HEADS, tokensOf(grid), DIM]));
    outputs.push(await ops.read(bound.attention(q, k, v, { step, steps: STEPS, layer: 3, layers: 6, branches: [0], grid })));
    const { density, dense, searches, reuses } = await bound.take();
    densities.push(density);
    phases += 'd'.repeat(dense) + 's'.repeat(searches) + 'r'.repeat(reuses);
  }
  bound.reset();
  return { outputs, densities, plans: await Promise.all(plans), phases };
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [gap, size] = [0, 0];
  for (let at = 0; at < expected.length; at++) {
    gap += (actual[at] - expected[at]) ** 2;
    size += expected[at] ** 2;
  }
  return Math.sqrt(gap / size);
}

test('names are told apart, and every method says where it comes from', () => {
  const names = catalogue.flatMap(({ name, aliases }) => [name, ...aliases]).map((name) => name.toLowerCase());
  expect(new Set(names).size).toBe(names.length);
  for (const { name, paper, mark, stages, preset } of catalogue) {
    expect(paper === '').toBe(mark === 'own');
    expect(stages.length).toBeGreaterThan(2);
    expect(preset().name).toBe(name);
    expect(methodNamed(name.toUpperCase()).name).toBe(name);
  }
  expect(() => methodNamed('')).toThrow('there is no method ""');
});

describe('on the CPU', async () => {
  const ops = await openedOps('onnxruntime-node');
  const full = await drive(ops, dense(), joint);

  describe.each(sparse)('$name', ({ name, preset, sparsity }) => {
    test.each<Grid>([
      { frames: 9, height: 17, width: 9, text: 0 },
      { frames: 3, height: 1, width: 5, text: 3 },
      { frames: 1, height: 1, width: 1, text: 0 },
    ])('makes valid plans on $frames x $height x $width and $text text tokens', async (grid) => {
      const { outputs, densities, plans } = await drive(ops, preset(), grid, [2, 3]);
      for (const output of outputs) expect(Array.from(output as Float32Array).every(Number.isFinite)).toBe(true);
      // Rows that a correction computes come on top: on a grid of one token as much again.
      for (const density of densities) expect(density > 0 && density < 1.0001 + (preset().correct ? 1 : 0)).toBe(true);
      expect(plans.length).toBeGreaterThan(0);
      // The guard of sparge reads whatever is unlike itself, and in raster order here all is.
      if (tokensOf(grid) > 1000 && name !== 'sparge') expect(Math.min(...densities)).toBeLessThan(0.95);
    });

    test('does the same again, and stays near to dense where what is wanted is near', async () => {
      const run = await drive(ops, preset(), joint);
      expect(await drive(ops, preset(), joint)).toEqual(run);
      for (const [step, output] of run.outputs.entries()) expect(relativeError(output, full.outputs[step])).toBeLessThan(0.75);
    });

    test('searches where there is no plan, and goes on after a step that was skipped', async () => {
      const late = await drive(ops, preset(), joint, [3]);
      expect(late.phases).toBe('s');
      const skipped = await drive(ops, preset(), joint, [0, 1, 3]);
      expect(skipped.phases).toHaveLength(3);
      expect(relativeError(skipped.outputs[2], full.outputs[3])).toBeLessThan(0.75);
    });

    test.skipIf(!sparsity)('reads all at sparsity 0, and less as it rises', async () => {
      const whole = await drive(ops, preset({ sparsity: 0 }), joint);
      for (const [step, output] of whole.outputs.entries()) expect(relativeError(output, full.outputs[step])).toBeLessThan(2e-5);
      const densities: number[] = [];
      for (const share of [0.4, 0.9]) densities.push((await drive(ops, preset({ sparsity: share }), wide, [2, 3])).densities.at(-1)!);
      expect(densities[1]).toBeLessThan(densities[0]);
      for (const wrong of [1, -0.1, Number.NaN])
        expect(() => preset({ sparsity: wrong }), name).toThrow(`sparsity of ${wrong} is out of range`);
    });
  });

  test('methods of different stages make different plans', async () => {
    const seen = new Map<string, string>();
    for (const { preset, stages } of sparse) {
      const { plans } = await drive(ops, preset(), { ...wide, height: 17 }, [2, 3]);
      const made = stages.slice(0, -1).join();
      expect(seen.get(plans.join()) ?? made).toBe(made);
      seen.set(plans.join(), made);
    }
  });

  test('nothing is held after a run that was not before it', async () => {
    const held = new Set<Tensor>();
    const counting: Backend = {
      ...ops,
      keep(x) {
        held.add(x);
        return ops.keep(x);
      },
      release(x) {
        held.delete(x);
        ops.release(x);
      },
    };
    for (const { name, preset } of sparse) {
      const method = preset();
      const watched = watch(counting);
      await drive(counting, method, joint, [2, 3], watched); // tables of a grid stay
      const before = held.size;
      await drive(counting, method, joint, [2, 3], watched);
      expect(held.size, name).toBe(before);
    }
  });
});
