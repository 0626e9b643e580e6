// A method under observation: what one attention call took, and which plan it read.
import { type BoundAttention, createAttention } from '../attention.ts';
import type { Backend } from '../backend/backend.ts';
import { timeOf } from '../measure.ts';
import type { Layouts, Method, Phase, Schedule } from '../method.ts';
import { differsByHead, paddedShare } from '../sparse3d/heads.ts';
import type { Plan } from '../sparse3d/plan.ts';
import type { Recorded } from './recorded.ts';

/** One attention call of a method. */
export interface Observation {
  readonly phase: Phase;
  readonly milliseconds: number;
  /** Of these, what scoring and selecting took; 0 without a search. */
  readonly searchMilliseconds: number;
  /** FLOP-equivalent share of full attention, in slots: kernels compute a short block as a whole one, so that layouts with padding are dearer. */
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

/** What a call did, as far as it is under way. */
interface Seen {
  read?: Observation['read'];
  /** When scoring began and selecting ended. */
  from?: Promise<number>;
  to?: Promise<number>;
  /** A scorer may attend to a few rows of its own, which is not what the call reads. */
  searching?: boolean;
}

/** Binds a method as a model's run does. Nothing else may be under way on the device while it attends. */
export function observe(ops: Backend, method: Method): Observed {
  let seen: Seen = {};
  const bound = watched(ops, method, () => seen);
  return {
    async attend({ q, k, v, site }) {
      seen = {};
      const start = performance.now();
      const out = bound.attention(q, k, v, site);
      await ops.wait(out);
      const milliseconds = performance.now() - start;
      const { density, searches, reuses } = await bound.take();
      const numbers = (await ops.read(out)) as Float32Array;
      ops.release(out);
      return {
        phase: searches > 0 ? 'search' : reuses > 0 ? 'reuse' : 'dense',
        ...{ milliseconds, density: density * slots(seen.read), out: numbers },
        searchMilliseconds: seen.from && seen.to ? (await seen.to) - (await seen.from) : 0,
        ...(seen.read && { read: seen.read }),
      };
    },
    reset: bound.reset,
  };
}

/** Plans whose heads differ in their blocks count slots already. */
const slots = (read: Observation['read']): number => (read && !differsByHead(read.layout) ? paddedShare(read.layout) : 1);

/** A bound method that notes what it does. */
function watched(ops: Backend, method: Method, seen: () => Seen): BoundAttention {
  const watching: Backend = {
    ...ops,
    attend(q, k, v, plan, layout, options) {
      if (!seen().searching) seen().read ??= { plan, layout };
      return ops.attend(q, k, v, plan, layout, options);
    },
  };
  const { score, select } = method;
  const scoring = (call: Parameters<typeof score>[0]) => {
    seen().from ??= timeOf(ops, call.v, call.memory.lse);
    seen().searching = true;
    return score(call);
  };
  return createAttention(watching, {
    ...method,
    score: Object.assign(scoring, score),
    select(call, scores, levels) {
      const plan = select(call, scores, levels);
      seen().to = timeOf(ops, plan.blocks);
      seen().searching = false;
      return plan;
    },
  });
}

/** Sessions and kernels are made when they are first needed: every phase once, so that none of it is counted. */
export async function warmUp(ops: Backend, method: Method, call: Recorded): Promise<void> {
  const schedule: Schedule = ({ step }) => (step < 2 ? 'search' : 'reuse');
  const observed = observe(ops, { ...method, schedule });
  for (let step = 0; step < 3; step++) await observed.attend({ ...call, site: { ...call.site, step, steps: 3 } });
  observed.reset();
}
