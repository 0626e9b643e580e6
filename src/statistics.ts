// What attention did, counted as it is done: what is not asked for takes no more room for it.
import type { Phase } from './method.ts';

/** What attention did since it was last asked; calls count once per batch item. */
export interface StepStatistics {
  readonly calls: number;
  readonly dense: number;
  readonly searches: number;
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
