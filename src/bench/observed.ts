// A method under observation: what one attention call took, and which plan it read.
import { createAttention } from '../attention.ts';
import type { Backend } from '../backend/backend.ts';
import { timeOf } from '../measure.ts';
import type { Layouts, Method, Phase, Schedule } from '../method.ts';
import type { Plan } from '../sparse3d/plan.ts';
import type { Recorded } from './recorded.ts';

/** One attention call of a method. */
export interface Observation {
  readonly phase: Phase;
  readonly milliseconds: number;
  /** Of these, what scoring and selecting took; 0 without a search. */
  readonly searchMilliseconds: number;
  /** FLOP-equivalent share of full attention. */
  readonly density: number;
  /** [heads, tokens, dim] on the host. */
  readonly out: Float32Array;
  /** What was read; absent where full attention was computed. Lives until the next call. */
  readonly read?: { readonly plan: Plan; readonly layout: Layouts };
}

export interface Observed {
  /** Calls come in the order of a run. */
  attend(call: Recorded): Promise<Observation>;
  /** Ends the run, and frees what was remembered. */
  reset(): void;
}

/** Binds a method as a model's run does. Nothing else may be under way on the device while it attends. */
export function observe(ops: Backend, method: Method): Observed {
  let seen: { read?: Observation['read']; from?: Promise<number>; to?: Promise<number> } = {};
  // A scorer may attend to a few rows of its own.
  let searching = false;
  const watching: Backend = {
    ...ops,
    attend(q, k, v, plan, layout, options) {
      if (!searching) seen.read ??= { plan, layout };
      return ops.attend(q, k, v, plan, layout, options);
    },
  };
  const { score, select } = method;
  const bound = createAttention(watching, {
    ...method,
    score: Object.assign((call: Parameters<typeof score>[0]) => {
      seen.from ??= timeOf(ops, call.v, call.memory.lse);
      searching = true;
      return score(call);
    }, score),
    select: (call, scores, levels) => {
      const plan = select(call, scores, levels);
      seen.to = timeOf(ops, plan.blocks);
      searching = false;
      return plan;
    },
  });
  return {
    async attend({ q, k, v, site }) {
      seen = {};
      searching = false;
      const start = performance.now();
      const out = bound.attention(q, k, v, site);
      await ops.wait(out);
      const milliseconds = performance.now() - start;
      const { density, searches, reuses } = await bound.take();
      const numbers = (await ops.read(out)) as Float32Array;
      ops.release(out);
      return {
        phase: searches > 0 ? 'search' : reuses > 0 ? 'reuse' : 'dense',
        ...{ milliseconds, density, out: numbers },
        searchMilliseconds: seen.from && seen.to ? (await seen.to) - (await seen.from) : 0,
        ...(seen.read && { read: seen.read }),
      };
    },
    reset: bound.reset,
  };
}

/** Sessions and kernels are made when they are first needed: every phase once, so that none of it is counted. */
export async function warmUp(ops: Backend, method: Method, call: Recorded): Promise<void> {
  const schedule: Schedule = ({ step }) => (step < 2 ? 'search' : 'reuse');
  const observed = observe(ops, { ...method, schedule });
  for (let step = 0; step < 3; step++) await observed.attend({ ...call, site: { ...call.site, step, steps: 3 } });
  observed.reset();
}
