// Makes a calibration: a few runs with full attention, beside which every layer and head is tried with each window and its mass is looked at. Only
// sums stay: nothing of a call is kept.

import { basename } from 'node:path';
import type { Backend } from '../backend/backend.ts';
import { checkOptions, checkPipeline } from '../checks.ts';
import { denoiseOnly } from '../denoise-only.ts';
import { BRANCH } from '../dit/denoise.ts';
import type { Attention, Call, Site } from '../method.ts';
import type { GenerateOptions } from '../options.ts';
import type { TextToVideoPipeline } from '../pipeline.ts';
import type { Axes } from '../search/boxes.ts';
import { upTo } from '../search/levels.ts';
import { forced, pattern } from '../search/pattern.ts';
import { slidingTile } from '../search/windows.ts';
import { tiles } from '../sparse3d/layout.ts';
import type { Tensor } from '../tensor.ts';
import type { Calibration, StoredWindow } from './calibration.ts';
import { digestOf } from './file.ts';

/** What to record, and how. */
export interface CalibrateOptions {
  /** Prompts to record with, at least one; a run for each and each seed. */
  readonly prompts: readonly string[];
  /** Seeds of the noise, at least one. */
  readonly seeds: readonly number[];
  /** Size and steps of the runs; the model's own where left out. */
  readonly settings?: Omit<GenerateOptions, 'attention' | 'cache' | 'seed' | 'onStep' | 'signal'>;
  /** Told after each denoising step; runs and steps count from 0. */
  readonly onStep?: (step: { readonly run: number; readonly runs: number; readonly step: number; readonly steps: number }) => void;
  /** Ends the recording, which then throws its reason. */
  readonly signal?: AbortSignal;
}

const TILE: Axes = [4, 4, 4];
/** After the authors' lists for HunyuanVideo and Wan, and two smaller ones; null is the whole axis. */
const WINDOWS: readonly StoredWindow[] = [
  [null, null, null],
  ...([
    [null, 3, 3],
    [1, null, null],
    [3, 3, 5],
    [3, 5, 3],
    [null, 1, null],
    [null, null, 1],
    [3, 3, 3],
    [null, 1, 1],
    [1, 3, 3],
  ] as const),
];
const COVER = 0.9;
/** Steps that are looked at, as shares of a run. */
const LOOKS = [0.2, 0.4, 0.6, 0.8];

/**
 * Records the pipeline with full attention for each prompt and seed.
 * @throws RangeError for no prompts or seeds, and the signal's reason when it is aborted.
 */
export async function calibrate(pipe: TextToVideoPipeline, options: CalibrateOptions): Promise<Calibration> {
  checkPipeline(pipe);
  checkOptions('calibrate', options, ['prompts', 'seeds'], ['prompts', 'seeds', 'settings', 'onStep', 'signal']);
  const { prompts, seeds, settings, signal } = options;
  if (!Array.isArray(prompts) || !Array.isArray(seeds) || prompts.length * seeds.length === 0)
    throw new RangeError('there are no prompts or no seeds to record with; give lists with at least one of each');
  const sums = new Sums();
  const runs = prompts.flatMap((prompt) => seeds.map((seed) => ({ prompt, seed })));
  for (const [run, { prompt, seed }] of runs.entries()) {
    const looks: Look[] = [];
    try {
      await denoiseOnly(pipe, prompt, {
        ...settings,
        seed,
        attention: looking(pipe, (look) => looks.push(look)),
        signal,
        onStep: async ({ step, steps }) => {
          while (looks.length > 0) {
            await sums.add(pipe.ops, looks[0]);
            release(pipe.ops, looks.shift()!);
          }
          options.onStep?.({ run, runs: runs.length, step, steps });
        },
      });
    } finally {
      for (const look of looks) release(pipe.ops, look);
    }
  }
  const { folder } = pipe;
  return sums.calibration({ name: basename(folder), digest: await digestOf(folder) }, prompts, seeds);
}

/** What one call showed: of each window the squared error of each head, [heads], their squared outputs, and the shares of blocks. */
interface Look {
  readonly site: Site;
  readonly dim: number;
  readonly errors: readonly Tensor[];
  readonly squares: Tensor;
  readonly shares: Tensor;
  readonly densities: Promise<readonly number[]>;
}

function release(ops: Backend, { errors, squares, shares }: Look): void {
  for (const x of [...errors, squares, shares]) ops.release(x);
}

function looking({ ops }: TextToVideoPipeline, seen: (look: Look) => void): Attention {
  return (q, k, v, site) => {
    const item = site.branches.indexOf(BRANCH.conditional);
    if (item < 0 || !LOOKS.some((share) => Math.round(share * site.steps) === site.step)) return ops.attendAll(q, k, v, { lse: false }).out;
    const dense = ops.attendAll(q, k, v);
    const own = (x: Tensor): Tensor => ops.split(x, site.branches.length)[item];
    ops.scope(() => {
      const call = { q: own(q), k: own(k), v: own(v), site: { ...site, branches: [BRANCH.conditional] } };
      seen(look(ops, call, own(dense.out), own(dense.lse)));
    });
    return dense.out;
  };
}

function look(ops: Backend, { q, k, v, site }: Pick<Call, 'q' | 'k' | 'v' | 'site'>, out: Tensor, lse: Tensor): Look {
  const order = tiles(...TILE)(site.grid);
  const layout = { q: order, k: order };
  const blocked = { q: ops.gather(q, order), k: ops.gather(k, order), v: ops.gather(v, order) };
  const expected = ops.cast(ops.gather(out, order), 'f32');
  const squaresOf = (x: Tensor): Tensor => ops.keep(ops.reduce(ops.reduce(ops.multiply(x, x), 'sum'), 'sum'));
  const densities: Promise<number>[] = [];
  const errors = PATTERNS.map((score) =>
    ops.scope(() => {
      const call: Call = { ops, ...blocked, layout, site, memory: {}, forced: score.forced!(layout) };
      const plan = forced()(call, score(call), upTo(1));
      densities.push(ops.density(plan));
      const found = ops.attend(blocked.q, blocked.k, blocked.v, plan, layout, { lse: false }).out;
      return squaresOf(ops.combine([ops.cast(found, 'f32'), expected], [1, -1]));
    }),
  );
  const mass = ops.blockMass(blocked.q, blocked.k, ops.gather(lse, order), layout);
  const read = ops.planTable(ops.select(mass, { measure: 'mass', levels: upTo(COVER) }), { read: 1, left: 0 });
  const shares = ops.keep(ops.reduce(ops.reduce(read, 'mean'), 'mean'));
  const known = Promise.all(densities);
  // A run that fails learns of it by its latents; nobody may be left to ask for these.
  known.catch(() => undefined);
  return { site, dim: q.shape[2], errors, squares: squaresOf(expected), shares, densities: known };
}

const PATTERNS = WINDOWS.map((window) =>
  pattern(slidingTile({ tile: TILE, window: window.map((side) => side ?? Infinity) as unknown as Axes })),
);

/** Sums over calls, by layer. */
class Sums {
  readonly #layers: { calls: number; errors: number[][]; shares: number[] }[] = [];
  #densities: readonly number[] = [];
  #last?: { readonly site: Site; readonly dim: number };

  async add(ops: Backend, { site, dim, errors, squares, shares, densities }: Look): Promise<void> {
    const [numbers, own] = await Promise.all([Promise.all([...errors, squares, shares].map((x) => ops.read(x))), densities]);
    const heads = numbers[0].length;
    this.#layers[site.layer] ??= {
      calls: 0,
      errors: Array.from({ length: heads }, () => Array(errors.length).fill(0)),
      shares: Array(heads).fill(0),
    };
    const layer = this.#layers[site.layer];
    layer.calls++;
    for (let head = 0; head < heads; head++) {
      layer.shares[head] += numbers[errors.length + 1][head];
      for (let at = 0; at < errors.length; at++)
        layer.errors[head][at] += numbers[at][head] / Math.max(1e-30, numbers[errors.length][head]);
    }
    this.#densities = own;
    this.#last = { site, dim };
  }

  calibration(model: Calibration['model'], prompts: readonly string[], seeds: readonly number[]): Calibration {
    const { site, dim } = this.#last!;
    const { frames, height, width } = site.grid;
    const rounded = (x: number): number => Number(x.toPrecision(4));
    return {
      ...{ what: 'zoetrope calibration', version: 1, model },
      shape: { layers: site.layers, heads: this.#layers[0].shares.length, dim, frames, height, width },
      recorded: { prompts, seeds, steps: site.steps, calls: this.#layers.reduce((sum, { calls }) => sum + calls, 0) },
      windows: {
        ...{ tile: TILE, candidates: WINDOWS, densities: this.#densities.map(rounded) },
        errors: this.#layers.map(({ calls, errors }) => errors.map((own) => own.map((error) => rounded(error / calls)))),
      },
      shares: { cover: COVER, heads: this.#layers.map(({ calls, shares }) => shares.map((share) => rounded(share / calls))) },
    };
  }
}
