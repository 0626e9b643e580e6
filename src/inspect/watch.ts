// An attention of a method that tells what each call did: which plan it made or read and, where asked, what that plan recalls.
import { type BoundAttention, createAttention } from '../attention.ts';
import type { Backend } from '../backend/backend.ts';
import { BRANCH } from '../dit/denoise.ts';
import type { Attention, Layouts, Method, Phase, Site } from '../method.ts';
import { type MassTable, massTable } from '../quality/recall.ts';
import type { Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';

/** A plan's numbers, on their way to the host. */
export interface PlanNumbers {
  readonly counts: Int32Array;
  /** Absent unless the call is looked at closely. */
  readonly blocks?: Int32Array;
  /** Of the exact attention; absent with `blocks`. */
  readonly mass?: MassTable;
}

/** One attention call of the conditional branch. */
export interface WatchedCall {
  readonly site: Site;
  readonly heads: number;
  readonly phase: Phase;
  /** What was made or read; absent for a dense call that made no plan. */
  readonly plan?: {
    readonly layout: Layouts;
    readonly pools: readonly number[];
    readonly keyBlocks: number;
    readonly width: number;
    /** False where full attention was computed and the plan kept for later. */
    readonly isRead: boolean;
    readonly numbers: Promise<PlanNumbers>;
  };
}

export interface Watched {
  readonly attention: Attention;
  /** Calls since the last `take`. */
  take(): WatchedCall[];
  /** Ends the run, and frees what was remembered. */
  reset(): void;
}

/** What is known of the call under way. */
interface Seen {
  phase: Phase;
  plan?: Plan;
  layout?: Layouts;
  isRead?: boolean;
  counts?: Promise<Int32Array>;
  blocks?: Promise<Int32Array>;
}

/** Binds a method as a model's run does. `isClose` chooses calls whose blocks and exact mass are read too, at the cost of full attention. */
export function watch(ops: Backend, method: Method, isClose: (site: Site) => boolean): Watched {
  let calls: WatchedCall[] = [];
  const following = follow(ops, isClose);
  const bound = bind(ops, method, following);
  const attention: Attention = (q, k, v, site) => {
    following.enter(site);
    const out = bound.attention(q, k, v, site);
    const item = site.branches.indexOf(BRANCH.conditional);
    const seen = following.take();
    if (seen) {
      const heads = q.shape[0] / site.branches.length;
      const mass = isClose(site) && seen.layout ? massOf(ops, { q, k, v }, site, item, seen.layout) : undefined;
      calls.push({ site, heads, phase: seen.phase, ...planOf(seen, mass) });
    }
    return out;
  };
  return {
    attention: Object.defineProperty(attention, 'name', { value: method.name }),
    take() {
      const taken = calls;
      calls = [];
      return taken;
    },
    reset: bound.reset,
  };
}

/** The method with its stages watched by `seen`. */
function bind(ops: Backend, method: Method, seen: ReturnType<typeof follow>): BoundAttention {
  const { schedule, score, select } = method;
  const watching: Backend = {
    ...ops,
    attend(q, k, v, plan, layout, options) {
      seen.read(plan, layout);
      return ops.attend(q, k, v, plan, layout, options);
    },
  };
  return createAttention(watching, {
    ...method,
    schedule: Object.assign((site: Site) => {
      const phase = schedule(site);
      seen.due(site, phase);
      return phase;
    }, schedule),
    score: Object.assign((call: Parameters<typeof score>[0]) => {
      seen.search();
      return score(call);
    }, score),
    select: (call, scores, levels) => {
      const plan = select(call, scores, levels);
      seen.chosen(plan, call.layout);
      return plan;
    },
  });
}

/** What the last item of the conditional branch did, stage by stage. */
function follow(ops: Backend, isClose: (site: Site) => boolean) {
  let [current, last]: (Seen | undefined)[] = [];
  let [step, close, searching] = [-1, false, false];
  const keep = (plan: Plan, layout: Layouts) => {
    if (!current || current.plan === plan) return;
    const read = (x: Tensor) => quiet(ops.read(x) as Promise<Int32Array>);
    Object.assign(current, { plan, layout, counts: read(plan.counts), ...(close && { blocks: read(plan.blocks) }) });
  };
  return {
    enter(site: Site) {
      step = site.step;
    },
    due(site: Site, phase: Phase) {
      // A call also asks what was due at the steps that were skipped before it.
      if (site.step !== step) return;
      current = site.branches[0] === BRANCH.conditional ? { phase } : undefined;
      last = current ?? last;
      close = isClose(site);
    },
    /** A scorer may attend to a few rows of its own: until the plan is there, what is attended is not it. */
    search() {
      searching = true;
    },
    chosen(plan: Plan, layout: Layouts) {
      searching = false;
      if (current) current.phase = 'search';
      keep(plan, layout);
    },
    read(plan: Plan, layout: Layouts) {
      if (searching || !current) return;
      keep(plan, layout);
      current.isRead = true;
    },
    take(): Seen | undefined {
      const taken = last;
      last = undefined;
      return taken;
    },
  };
}

/** Exact mass of the block pairs of one item of the batch. */
function massOf(ops: Backend, x: { q: Tensor; k: Tensor; v: Tensor }, site: Site, item: number, layout: Layouts): Promise<MassTable> {
  return ops.scope(() => {
    const [q, k, v] = [x.q, x.k, x.v].map((all) => (site.branches.length === 1 ? all : ops.split(all, site.branches.length)[item]));
    return quiet(massTable(ops, { q, k, lse: ops.attendAll(q, k, v).lse }, layout));
  });
}

function planOf({ plan, layout, counts, blocks, isRead = false }: Seen, mass?: Promise<MassTable>): Pick<WatchedCall, 'plan'> {
  if (!plan || !layout || !counts) return {};
  const numbers = Promise.all([counts, blocks, mass]).then(([known, list, table]) => ({
    counts: known,
    ...(list && table && { blocks: list, mass: table }),
  }));
  const [width, keyBlocks] = [plan.blocks.shape[2], layout.k.blocks];
  return { plan: { layout, pools: plan.levels.map(({ pool }) => pool), keyBlocks, width, isRead, numbers: quiet(numbers) } };
}

/** A failure is seen by whoever waits for the promise, and by nobody else. */
function quiet<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined);
  return promise;
}
