// Methods side by side on what a model really attends to: how much each computes, how far its attention is from full attention, what it
// recalls, and what that takes. Contenders run in turns on the same recorded calls, each with the memory of its own run.
import type { Backend } from '../backend/backend.ts';
import type { Method } from '../method.ts';
import type { Listed } from '../methods/catalogue.ts';
import type { TextToVideoPipeline } from '../pipeline.ts';
import { relativeError } from '../quality/error.ts';
import { massTables, recallOf } from '../quality/recall.ts';
import { tokensOf } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { type Observed, observe, warmUp } from './observed.ts';
import { type Recorded, type Recording, recordRun } from './recorded.ts';
import type { Case } from './results.ts';
import { type Sample, type Summary, summary } from './summary.ts';

/** What is measured under a label; methods are made anew for each run. */
export interface Contender {
  readonly label: string;
  readonly method: () => Method;
}

export interface MethodsBenchOptions {
  readonly contenders: readonly Contender[];
  readonly prompts: readonly string[];
  readonly seeds: readonly number[];
  /** Layers to look at, counted from 0. */
  readonly layers: readonly number[];
  /** Size and steps of the recorded runs; the model's own where left out. */
  readonly settings?: Recording['options'];
  readonly onStep?: (step: { readonly run: number; readonly runs: number; readonly step: number; readonly steps: number }) => void;
  readonly signal?: AbortSignal;
}

/** A contender that failed says why, and is left out from then on. */
export type MethodResult = { readonly label: string } & (Summary | { readonly failed: string });

export interface MethodsBench {
  /** Attention calls that were recorded. */
  readonly calls: number;
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  readonly steps: number;
  readonly layers: readonly number[];
  readonly results: readonly MethodResult[];
}

/** A result with what the catalogue says of its method, the sparsity that was asked of it if it was not its own, and where it was measured. */
export type MethodCase = Case &
  MethodResult &
  Pick<Listed, 'name' | 'mark' | 'reconstruction'> & {
    readonly sparsity?: number;
    readonly setting: Omit<MethodsBench, 'results'>;
    readonly runs: number;
    readonly software: string;
  };

/**
 * Runs the pipeline with full attention for each prompt and seed, and every contender beside it.
 * @throws as `recordRun` does, and RangeError when there is nothing to record.
 */
export async function benchMethods(pipe: TextToVideoPipeline, options: MethodsBenchOptions): Promise<MethodsBench> {
  const { prompts, seeds, layers, settings, signal } = options;
  for (const [name, items] of Object.entries({ prompts, seeds, layers }))
    if (items.length === 0) throw new RangeError(`there are no ${name} to record with; give at least one`);
  const entries = options.contenders.map((contender): Entry => ({ contender, samples: [] }));
  const runs = prompts.flatMap((prompt) => seeds.map((seed) => ({ prompt, seed })));
  const seen: { calls: number; shape?: Shape } = { calls: 0 };
  for (const [run, { prompt, seed }] of runs.entries()) {
    const onStep = async (recorded: readonly Recorded[]): Promise<void> => {
      for (const call of recorded) {
        if (!seen.shape) await each(entries, ({ contender }) => warmUp(pipe.ops, contender.method(), call), signal);
        seen.shape ??= shapeOf(call);
        await measure(pipe.ops, entries, call, signal);
        seen.calls++;
      }
      const { step, steps } = recorded[0].site;
      options.onStep?.({ run, runs: runs.length, step, steps });
    };
    await recordRun(pipe, { prompt, options: { ...settings, seed }, layers, onStep, signal });
    for (const entry of entries) {
      entry.running?.reset();
      entry.running = undefined;
    }
  }
  const results = entries.map(({ contender: { label }, samples, failed }) => ({ label, ...(failed ? { failed } : summary(samples)) }));
  return { calls: seen.calls, ...seen.shape!, layers, results };
}

type Shape = Pick<MethodsBench, 'tokens' | 'heads' | 'dim' | 'steps'>;

const shapeOf = ({ q: { shape }, site }: Recorded): Shape => ({
  ...{ tokens: tokensOf(site.grid), heads: shape[0], dim: shape[2], steps: site.steps },
});

interface Entry {
  readonly contender: Contender;
  readonly samples: Sample[];
  running?: Observed;
  failed?: string;
}

/** Does something for each contender that has not failed. */
async function each(entries: readonly Entry[], work: (entry: Entry) => Promise<void>, signal?: AbortSignal): Promise<void> {
  for (const entry of entries) {
    signal?.throwIfAborted();
    if (entry.failed === undefined)
      await work(entry).catch((error: Error) => {
        entry.failed = error.message;
      });
  }
}

/** All contenders on one call, between two runs of full attention on it. */
async function measure(ops: Backend, entries: readonly Entry[], call: Recorded, signal?: AbortSignal): Promise<void> {
  const { q, k, v, site } = call;
  const exact = ops.attendAll(q, k, v);
  const expected = (await ops.read(exact.out)) as Float32Array;
  const tables = massTables(ops, { q, k, lse: exact.lse });
  const before = await denseMilliseconds(ops, call);
  const taken = new Map<Entry, Omit<Sample, 'denseMilliseconds'>>();
  const attend = async (entry: Entry): Promise<void> => {
    entry.running ??= observe(ops, entry.contender.method());
    const { out, read, ...rest } = await entry.running.attend(call);
    const quality = read && { error: relativeError(out, expected), ...(await recallOf(ops, read.plan, await tables(read.layout))) };
    taken.set(entry, { ...rest, layer: site.layer, ...(quality && { quality }) });
  };
  await each(entries, attend, signal);
  const denseTime = (before + (await denseMilliseconds(ops, call))) / 2;
  for (const x of [exact.out, exact.lse]) ops.release(x);
  for (const [{ samples }, sample] of taken) samples.push({ ...sample, denseMilliseconds: denseTime });
}

async function denseMilliseconds(ops: Backend, { q, k, v }: Recorded): Promise<number> {
  const start = performance.now();
  const out: Tensor = ops.attendAll(q, k, v, { lse: false }).out;
  await ops.wait(out);
  const milliseconds = performance.now() - start;
  ops.release(out);
  return milliseconds;
}
