// Methods side by side on what a model really attends to: how much each computes, how far its attention is from full attention, what it
// recalls, and what that takes. Contenders run in turns on the same recorded calls, each with the memory of its own run, run after run.
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
import { mergedSummary, type Sample, type Summary, summary } from './summary.ts';

/** What is measured under a label; methods are made anew for each run. */
export interface Contender {
  readonly label: string;
  readonly method: () => Method;
  /** So many runs, the first ones, are measured already. Default 0. */
  readonly done?: number;
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

/** One run. */
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
    /** Runs so far, the first ones in the order of prompts and seeds; the result is their mean. */
    readonly runs: number;
    /** The mean error of each run whose output came from a plan. */
    readonly errors: readonly number[];
    readonly software: string;
  };

/** A case after one run more: means over all of its runs. */
export function mergedCase(before: MethodCase | undefined, last: MethodCase): MethodCase {
  if (!before || 'failed' in before || 'failed' in last) return last;
  const setting = { ...last.setting, calls: before.setting.calls + last.setting.calls };
  const both = { runs: before.runs + last.runs, errors: [...before.errors, ...last.errors] };
  return { ...last, ...mergedSummary(before, last), setting, ...both };
}

/**
 * Runs the pipeline with full attention for each prompt and seed, and every contender beside it; gives each run when it is over. Runs that all
 * contenders have done are left out.
 * @throws as `recordRun` does, and RangeError when there is nothing to record.
 */
export async function* benchMethods(pipe: TextToVideoPipeline, options: MethodsBenchOptions): AsyncGenerator<MethodsBench> {
  const { prompts, seeds, layers } = options;
  for (const [name, items] of Object.entries({ prompts, seeds, layers }))
    if (items.length === 0) throw new RangeError(`there are no ${name} to record with; give at least one`);
  const all = options.contenders.map((contender): Entry => ({ contender, samples: [], warm: false }));
  const runs = prompts.flatMap((prompt) => seeds.map((seed) => ({ prompt, seed })));
  for (const [run, subject] of runs.entries()) {
    const entries = all.filter(({ contender: { done = 0 } }) => done <= run);
    if (entries.length > 0) yield await measureRun(pipe, entries, subject, options, (at) => ({ ...at, run, runs: runs.length }));
  }
}

type Reported = Parameters<NonNullable<MethodsBenchOptions['onStep']>>[0];

async function measureRun(
  pipe: TextToVideoPipeline,
  entries: readonly Entry[],
  { prompt, seed }: { readonly prompt: string; readonly seed: number },
  { layers, settings, signal, onStep }: MethodsBenchOptions,
  reported: (at: Pick<Reported, 'step' | 'steps'>) => Reported,
): Promise<MethodsBench> {
  const seen: { calls: number; shape?: Shape } = { calls: 0 };
  const measureStep = async (recorded: readonly Recorded[]): Promise<void> => {
    for (const call of recorded) {
      await each(entries, (entry) => warm(pipe.ops, entry, call), signal);
      seen.shape ??= shapeOf(call);
      await measure(pipe.ops, entries, call, signal);
      seen.calls++;
    }
    const { step, steps } = recorded[0].site;
    onStep?.(reported({ step, steps }));
  };
  try {
    await recordRun(pipe, { prompt, options: { ...settings, seed }, layers, onStep: measureStep, signal });
    return { calls: seen.calls, ...seen.shape!, layers, results: entries.map(resultOf) };
  } finally {
    for (const entry of entries) end(entry);
  }
}

const resultOf = ({ contender: { label }, samples, failed }: Entry): MethodResult => ({
  label,
  ...(failed === undefined ? summary(samples) : { failed }),
});

/** Frees what a contender remembers of its run. */
function end(entry: Entry): void {
  entry.running?.reset();
  entry.running = undefined;
  entry.samples = [];
}

/** Makes what a contender needs, once, so that it is not timed. */
async function warm(ops: Backend, entry: Entry, call: Recorded): Promise<void> {
  if (!entry.warm) await warmUp(ops, entry.contender.method(), call);
  entry.warm = true;
}

type Shape = Pick<MethodsBench, 'tokens' | 'heads' | 'dim' | 'steps'>;

const shapeOf = ({ q: { shape }, site }: Recorded): Shape => ({
  ...{ tokens: tokensOf(site.grid), heads: shape[0], dim: shape[2], steps: site.steps },
});

interface Entry {
  readonly contender: Contender;
  /** Of the run under way. */
  samples: Sample[];
  /** Whether its kernels and sessions are made. */
  warm: boolean;
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
