// The control flow of one attention call: a method bound to a backend is the `Attention` that a model calls at its seam.
// State is kept per layer, guidance branch and grid, and belongs to one run.
import type { Attended, Backend } from './backend/backend.ts';
import { checkBackend, checkMethod, checkObject, shown } from './checks.ts';
import { between, massRead, timeOf } from './measure.ts';
import type { Attention, Call, Layouts, Memory, Method, Phase, Site } from './method.ts';
import { checkHeads, headLayouts, tensorsIn, withoutEmpty } from './method-heads.ts';
import { checkPlanLayer, isOrderOf, keptOrder, keysOf, layoutsOf } from './method-order.ts';
import { oneBlock, paddingOf, wholePlan } from './sparse3d/order.ts';
import { type Layout, tokensOf } from './sparse3d/plan.ts';
import { checkedDensity } from './sparse3d/plan-rows.ts';
import { type NotedCall, type StepStatistics, tally } from './statistics.ts';
import type { Tensor } from './tensor.ts';

export type { StepStatistics } from './statistics.ts';

/** A method on a backend, with what it remembers of its run. */
export interface BoundAttention {
  /** What a model calls at its seam. */
  readonly attention: Attention;
  /**
   * The one token order of all calls of a forward, where keeping it from the first layer to the last costs less than moving tokens at every
   * call: a model that does so names it as `Site.layout`.
   */
  order(forward: Omit<Site, 'layer' | 'layout'>): Layout | undefined;
  /** Mean density since the last `take`, waiting for plans that are under way. */
  density(): Promise<number>;
  /** Statistics since the last `take`; the count starts again. */
  take(): Promise<StepStatistics>;
  /** Forgets plans and log-sum-exps and frees their memory: call it after a run. */
  reset(): void;
}

/** What one layer and branch remembers, with the density of its plan. */
type Kept = Memory & { density?: Promise<number> };
interface Answer {
  readonly out: Tensor;
  readonly density: number | Promise<number>;
  /** What a correction computed beside that. */
  readonly beside?: number;
  readonly measured?: NotedCall['measured'];
}

/** What `createAttention` takes beside a method. */
export interface AttentionOptions {
  /** Called for each batch item of each call, as it is enqueued. */
  readonly onCall?: (call: NotedCall) => void;
  /** Called when a run is over: at `reset`, and before the first call of another one. */
  readonly onEnd?: () => void;
}

/**
 * Binds a method to a backend. Items of a batch are treated one by one, each with the memory of its branch. A step before the last one seen, or
 * one that the same layer, branch and grid has seen, starts a new run. The attention only enqueues; a failure shows where its result is read.
 * @throws TypeError for what is no backend or no method; a call RangeError when q, k, v do not fit the site's grid, order and branches.
 */
export function createAttention(ops: Backend, method: Method, { onCall, onEnd }: AttentionOptions = {}): BoundAttention {
  checkBackend(ops);
  checkMethod(method);
  checkHeads(method);
  const memories = new Map<string, Kept>();
  const run = runOf(() => {
    forget(ops, memories);
    onEnd?.();
  });
  let done = tally();
  const attendItem = (q: Tensor, k: Tensor, v: Tensor, site: Site, ordinal: number): Tensor => {
    const { phase, answer } = answered(q, k, v, site, ordinal);
    const { out, density, beside, measured } = answer;
    done.note(phase, density, beside);
    onCall?.({ step: site.step, layer: site.layer, branch: site.branches[0], phase, density, beside, measured });
    return out;
  };
  const answered = (q: Tensor, k: Tensor, v: Tensor, site: Site, ordinal: number): { phase: Phase; answer: Answer } => {
    const phase = phaseOf(method, site, run.before(site));
    if (phase === 'dense') return { phase, answer: { out: attendAll(ops, q, k, v, site.layout, false).out, density: 1 } };
    const memory = remember(memories, { ...site, layer: method.schedule.planLayer?.(site) ?? site.layer }, ordinal);
    const due = memory.plan ? phase : 'search';
    return { phase: due, answer: sparse(ops, method, due, memory, q, k, v, site) };
  };
  return {
    attention(q, k, v, site) {
      checkCall(q, k, v, site);
      run.enter(site);
      return ops.scope(() => eachItem(ops, attendItem, q, k, v, site));
    },
    order: keptOrder(method),
    density: async () => (await done.statistics()).density,
    take() {
      const before = done;
      done = tally();
      return before.statistics();
    },
    reset: run.end,
  };
}

/** Where one run ends and the next one begins, told by the sites of its calls; `forget` is called in between. */
function runOf(forget: () => void) {
  const steps = new Map<string, { readonly step: number; readonly before?: number }>();
  let last = 0;
  const end = () => {
    steps.clear();
    last = 0;
    forget();
  };
  return {
    end,
    /** The step at which a layer and branch was called before. */
    before: (site: Site): number | undefined => steps.get(keyOf(site, site.branches[0]))?.before,
    enter(site: Site) {
      const { step } = site;
      const keys = site.branches.map((branch) => keyOf(site, branch));
      if (step < last || keys.some((key) => steps.get(key)?.step === step)) end();
      last = step;
      for (const key of keys) steps.set(key, { step, before: steps.get(key)?.step });
    },
  };
}

/** What is due. A search due at a step that was skipped since the call before is made now. */
function phaseOf({ schedule }: Method, site: Site, before = site.step): Phase {
  const phase = schedule(site);
  if (phase !== 'reuse') return phase;
  for (let step = before + 1; step < site.step; step++) if (schedule({ ...site, step }) === 'search') return 'search';
  return phase;
}

type AttendItem = (q: Tensor, k: Tensor, v: Tensor, site: Site, ordinal: number) => Tensor;

/** Attends the items of a batch one by one; `ordinal` counts items of the same branch. */
function eachItem(ops: Backend, attendItem: AttendItem, q: Tensor, k: Tensor, v: Tensor, site: Site): Tensor {
  const { branches } = site;
  if (branches.length === 1) return attendItem(q, k, v, site, 0);
  const [queries, keys, values] = [q, k, v].map((x) => ops.split(x, branches.length));
  return ops.concat(
    branches.map((branch, item) => {
      const ordinal = branches.slice(0, item).filter((other) => other === branch).length;
      return ops.scope(() => attendItem(queries[item], keys[item], values[item], { ...site, branches: [branch] }, ordinal));
    }),
  );
}

/**
 * One search or reuse of one batch item. A search whose scorer needs a log-sum-exp that is not there is dense, keeps it, and makes the plan
 * beside its output.
 */
function sparse(ops: Backend, method: Method, due: 'search' | 'reuse', memory: Kept, q: Tensor, k: Tensor, v: Tensor, site: Site): Answer {
  const known = layoutsOf(method, site);
  checkPlanLayer(method, site, known);
  const layout = method.layout.byHead ? headLayouts(method, due, { ops, q, k, v, site, memory }) : known;
  const ordered = site.layout !== undefined;
  if (ordered) checkOrder(site.layout, layout, site);
  const ofKeys = ordered ? keysOf(layout) : layout.k;
  const [keys, values] = ofKeys ? [ops.gather(k, ofKeys), ops.gather(v, ofKeys)] : [k, v];
  const blocked = { q: ordered ? q : ops.gather(q, layout.q), k: keys, v: values };
  const call: Call = { ops, ...blocked, layout, site, phase: due, memory, forced: method.score.forced?.(layout) };
  if (due === 'search' && method.score.needsLse && !memory.lse) {
    const dense = attendAll(ops, q, k, v, site.layout, true);
    memory.lse = ops.keep(ordered ? dense.lse : ops.gather(dense.lse, layout.q));
    return { out: dense.out, density: 1, measured: keep(call, memory, method) };
  }
  const search = due === 'search' ? keep(call, memory, method) : undefined;
  const measured = method.measure ? { ...search, recall: massRead(call, fullLse(call, q, k, v), memory.plan!) } : undefined;
  const result = ops.attend(blocked.q, blocked.k, blocked.v, memory.plan!, layout, { lse: method.correct !== undefined });
  const beside = method.correct?.share?.(call);
  const { out } = method.correct?.(call, result) ?? result;
  return { out: ordered ? out : ops.scatter(out, layout.q), density: memory.density!, beside, measured };
}

/** Full attention of tensors in raster order, or blocked in a layout whose padding, if any, is behind the last token. */
function attendAll(ops: Backend, q: Tensor, k: Tensor, v: Tensor, layout: Layout | undefined, lse: boolean): Attended {
  if (!layout || paddingOf(layout) === 0) return ops.attendAll(q, k, v, { lse });
  const block = oneBlock(layout);
  return ops.attend(q, k, v, wholePlan(ops, q.shape[0]), { q: block, k: block }, { lse });
}

/**
 * Makes a plan and remembers it in the place of the one before; gives the time of that where it is measured. Its counts are read in the order of
 * the queue, so it may be released at any time.
 */
function keep(call: Call, memory: Kept, method: Method): NotedCall['measured'] {
  const { ops } = call;
  const start = method.measure ? timeOf(ops, call.v, memory.lse) : undefined;
  const plan = method.select(call, withoutEmpty(call, method.score(call)), method.levels);
  const density = method.checkPlans ? checkedDensity(ops, plan, call.q.shape[0], call.layout) : ops.density(plan, call.layout);
  density.catch(() => undefined);
  const before = memory.plan;
  for (const name of ['counts', 'blocks'] as const) {
    ops.keep(plan[name]);
    if (before && before[name] !== plan[name]) ops.release(before[name]);
  }
  Object.assign(memory, { plan, density });
  return start && { searchMilliseconds: between(start, timeOf(ops, plan.counts, plan.blocks)) };
}

/** The log-sum-exp of full attention, blocked. */
function fullLse({ ops, layout, site }: Call, q: Tensor, k: Tensor, v: Tensor): Tensor {
  const { lse } = attendAll(ops, q, k, v, site.layout, true);
  return site.layout ? lse : ops.gather(lse, layout.q);
}

/** Empties all memories and frees what they hold. */
function forget(ops: Backend, memories: Map<string, Kept>): void {
  for (const memory of memories.values()) for (const held of tensorsIn(memory)) ops.release(held);
  memories.clear();
}

/** The memory of a layer and branch; `ordinal` tells items of one branch in a batch apart. */
function remember(memories: Map<string, Kept>, site: Site, ordinal: number): Kept {
  const key = `${keyOf(site, site.branches[0])}/${ordinal}`;
  let memory = memories.get(key);
  if (!memory) {
    memory = {};
    memories.set(key, memory);
  }
  return memory;
}

/** One text for each layer, branch and grid. */
const keyOf = ({ layer, grid: { frames, height, width, text } }: Site, branch: number): string =>
  [layer, branch, frames, height, width, text].join('/');

function checkOrder(order: Layout, { q, k }: Layouts, { layer }: Site): void {
  if (!isOrderOf(order, { q, k }))
    throw new RangeError(
      `tokens come in the order ${order.name}, but layer ${layer} of this method takes ${q === k ? q.name : `${q.name} and ${k.name}`}; keep the method's own order, or none`,
    );
}

function checkCall(q: Tensor, k: Tensor, v: Tensor, site: Site): void {
  checkObject('the site of a call is', site, 'give { step, steps, layer, layers, branches, grid }');
  const { branches, grid, layout } = site;
  checkObject('the grid of a call is', grid, 'give { frames, height, width, text } in tokens');
  const tokens = layout?.order.length ?? tokensOf(grid);
  const sides = `${grid.frames} x ${grid.height} x ${grid.width}`;
  for (const [name, tensor] of Object.entries({ q, k, v })) {
    const shape = (tensor as Tensor | undefined)?.shape;
    if (!shape) throw new TypeError(`${name} is ${shown(tensor)}; give a tensor, as the backend's upload makes one`);
    if (shape.length !== 3 || shape[1] !== tokens || shape[0] !== q.shape[0] || (name !== 'v' && shape[2] !== q.shape[2]))
      throw new RangeError(
        `${name} has shape [${shape}], expected [batch * heads, ${tokens}, dim] for a grid of ${sides} tokens and ${grid.text} text tokens${layout ? ` in the order ${layout.name}` : ''}`,
      );
  }
  if (!(branches?.length > 0) || q.shape[0] % branches.length !== 0)
    throw new RangeError(
      `q holds ${q.shape[0]} heads for ${branches?.length ?? 'no'} batch items; name one branch per item, each with the same number of heads`,
    );
}
