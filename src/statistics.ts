// What attention did, counted as it is done, in all and call by call: what is not asked for takes no more room for it.
import type { Phase } from './method.ts';

/** What attention did since it was last asked; calls count once per batch item. */
export interface StepStatistics {
  /** All calls. */
  readonly calls: number;
  /** Calls that the schedule kept dense. */
  readonly dense: number;
  /** Calls that made a plan. */
  readonly searches: number;
  /** Calls that read a plan made before. */
  readonly reuses: number;
  /**
   * Mean FLOP-equivalent share of full attention that was computed, text and corrections included, so that it may be above 1; dense is 1, and so
   * is no call.
   */
  readonly density: number;
}

export interface Tally {
  /** Counts a call, and what was computed `beside` its plan; a density that is not known yet is added up when it is. */
  note(phase: Phase, density: number | Promise<number>, beside?: number): void;
  /** All that was noted. @throws what a density failed with. */
  statistics(): Promise<StepStatistics>;
}

/** A count that begins now. */
export function tally(): Tally {
  const calls = { dense: 0, search: 0, reuse: 0 };
  const pending = new Map<Promise<number>, number>();
  let [known, failure]: [number, { readonly error: unknown } | undefined] = [0, undefined];
  const settle = async (density: Promise<number>) => {
    try {
      const share = await density;
      known += share * pending.get(density)!;
    } catch (error) {
      failure ??= { error };
    }
    pending.delete(density);
  };
  return {
    note(phase, density, beside = 0) {
      calls[phase]++;
      known += beside;
      if (typeof density === 'number') known += density;
      else {
        const times = pending.get(density) ?? 0;
        pending.set(density, times + 1);
        if (times === 0) settle(density);
      }
    },
    async statistics() {
      const { dense, search, reuse } = calls;
      const [sum, waiting] = [known, [...pending]];
      const shares = await Promise.all(waiting.map(async ([density, times]) => times * (await density)));
      if (failure) throw failure.error;
      const all = dense + search + reuse;
      const density = all ? shares.reduce((total, share) => total + share, sum) / all : 1;
      return { calls: all, dense, searches: search, reuses: reuse, density };
    },
  };
}

/** One attention call of one guidance branch. */
export interface CallStatistics {
  /** Denoising step, from 0. */
  readonly step: number;
  /** Layer of the model, from 0. */
  readonly layer: number;
  /** 0 conditional, 1 unconditional. */
  readonly branch: number;
  /** What was due. */
  readonly phase: Phase;
  /** FLOP-equivalent share of full attention that was computed, corrections included. */
  readonly density: number;
  /** Milliseconds that scoring and selecting took; of searches, where the method measures. */
  readonly searchMilliseconds?: number;
  /** Share of the exact softmax mass in key blocks that were read, 0..1; where the method measures. */
  readonly recall?: number;
}

/** What attention did in one run, call by call; a skipped step has no calls. */
export interface AttentionStatistics {
  /** The name of the method. */
  readonly method: string;
  /** In the order in which they were made. */
  readonly calls: readonly CallStatistics[];
}

/** A call as it is enqueued. */
export interface NotedCall extends Pick<CallStatistics, 'step' | 'layer' | 'branch' | 'phase'> {
  /** FLOP-equivalent share of full attention that the plan computes; a promise where its counts are still to be read. */
  readonly density: number | Promise<number>;
  /** What a correction computes beside the plan, in full attentions; none when left out. */
  readonly beside?: number;
  /** Where the method measures. */
  readonly measured?: {
    /** Milliseconds that scoring and selecting took; of searches. */
    readonly searchMilliseconds?: Promise<number>;
    /** Share of the exact softmax mass in key blocks that were read, 0..1. */
    readonly recall?: Promise<number>;
  };
}

/** All calls of a run. */
export function callLog(method: string, measures = false) {
  const calls: Promise<CallStatistics>[] = [];
  return {
    note(call: NotedCall): void {
      const settled = settle(call, measures);
      // Whoever asks learns of a failure.
      settled.catch(() => undefined);
      calls.push(settled);
    },
    /** @throws what a density or a measurement failed with. */
    statistics: async (): Promise<AttentionStatistics> => ({ method, calls: await Promise.all(calls) }),
  };
}

async function settle({ density, beside = 0, measured, ...call }: NotedCall, measures: boolean): Promise<CallStatistics> {
  const [share, searchMilliseconds, recall] = await Promise.all([density, measured?.searchMilliseconds, measured?.recall]);
  return {
    ...{ ...call, density: share + beside },
    ...(searchMilliseconds !== undefined && { searchMilliseconds }),
    ...(recall !== undefined ? { recall } : measures && { recall: 1 }),
  };
}
