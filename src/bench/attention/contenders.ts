// What attends to the inputs of a shape: this project's kernels, dense and by plans, and whole methods.
import { type BoundAttention, createAttention } from '../../attention.ts';
import type { Backend } from '../../backend/backend.ts';
import { webgpuBackend } from '../../backend/webgpu/backend.ts';
import type { Layouts, Method, Phase } from '../../method.ts';
import { attendVariantsFor } from '../../sparse3d/gpu-attend.ts';
import { raster } from '../../sparse3d/layout.ts';
import type { Plan } from '../../sparse3d/plan.ts';
import type { Tensor } from '../../tensor.ts';
import type { Place } from './place.ts';
import { type Inputs, planOf, type Reading, type Shape } from './shapes.ts';
import { headsChecked } from './twin.ts';

/** Something that can attend to inputs of a shape, on a place that is open. */
export interface Contender {
  /** As ids name it: `zoetrope matrix`. */
  readonly name: string;
  /** `dense`, `blocks 0.2`, `adaSpa 0.8 reuse`. */
  readonly work: string;
  /** Why it cannot run here. */
  readonly skipped?: string;
  /** Makes what is not timed. */
  prepare(inputs: Inputs): Promise<Prepared>;
}

export interface Prepared {
  /** Share of full attention that is computed, in FLOP. */
  readonly density: number;
  /** Milliseconds of one run. */
  time(): Promise<number>;
  /** The output of one run for the checked heads, [heads checked, tokens, dim]. */
  checkedHeads(): Promise<ArrayLike<number>>;
  /** What the last output came from; full attention where there is none. */
  readonly plan?: { readonly plan: Plan; readonly layout: Layouts };
  /** It adds to its plan's output, so that only its distance from full attention can be told. */
  readonly corrected?: boolean;
  readonly clock: string;
  dispose(): Promise<void>;
}

/** A kernel's contenders: dense, and each reading as a plan in raster order, with key blocks of 64. */
export function kernels(
  place: Place,
  shape: Shape,
  dtype: 'f16' | 'f32',
  readings: readonly Reading[],
  wanted?: readonly string[],
): Contender[] {
  const contenders = (name: string, ops: () => Promise<Backend>, skipped?: string): Contender[] => [
    { name, work: 'dense', ...(skipped && { skipped }), prepare: async (inputs) => dense(place, await ops(), shape, inputs) },
    ...(place.gpu
      ? []
      : [{ name, work: 'dense without log-sum-exp', prepare: async (inputs: Inputs) => dense(place, await ops(), shape, inputs, false) }]),
    ...readings.map((reading) => ({
      ...{ name, work: reading.name, ...(skipped && { skipped }) },
      prepare: async (inputs: Inputs) => byPlan(place, await ops(), shape, inputs, reading),
    })),
  ];
  const { gpu } = place;
  if (!gpu) return contenders('zoetrope', async () => place.ops);
  return attendVariantsFor({ dtype })
    .filter(({ name }) => !wanted || wanted.includes(name))
    .flatMap(({ name, lacking }) =>
      contenders(`zoetrope ${name}`, () => webgpuBackend(gpu, { attend: name }), lacking(gpu.adapter, { dim: shape.dim, dtype })),
    );
}

async function dense(place: Place, ops: Backend, shape: Shape, { q, k, v }: Inputs, lse = true): Promise<Prepared> {
  const attend = () => ops.attendAll(q, k, v, { lse }).out;
  return {
    ...{ density: 1, clock: place.clock },
    time: () => place.time(ops, attend),
    checkedHeads: () => headsOf(ops, shape, attend),
    dispose: async () => {},
  };
}

async function byPlan(place: Place, ops: Backend, shape: Shape, { q, k, v }: Inputs, reading: Reading): Promise<Prepared> {
  const { queries = 64 } = reading;
  const keys = raster(64)(shape.grid);
  const layout = { q: queries === 64 ? keys : raster(queries)(shape.grid), k: keys };
  const blocked: [Tensor, Tensor, Tensor] = [ops.gather(q, layout.q), ops.gather(k, keys), ops.gather(v, keys)];
  const plan = planOf(ops, shape.heads, layout, reading);
  const attend = () => ops.attend(...blocked, plan, layout).out;
  return {
    ...{ density: await ops.density(plan), clock: place.clock, plan: { plan, layout } },
    time: () => place.time(ops, attend),
    checkedHeads: () => headsOf(ops, shape, () => ops.scatter(attend(), layout.q)),
    async dispose() {
      for (const x of [...blocked, plan.counts, plan.blocks]) ops.release(x);
    },
  };
}

/** A method's attention call that searches, and one that reuses its plan; tokens come and go in raster order. */
export const methodContenders = (place: Place, shape: Shape, label: string, method: () => Method): Contender[] =>
  (['search', 'reuse'] as const).map((phase) => ({
    ...{ name: 'zoetrope', work: `${label} ${phase}` },
    prepare: (inputs) => byMethod(place, shape, inputs, method(), phase),
  }));

async function byMethod(place: Place, shape: Shape, { q, k, v }: Inputs, method: Method, phase: Phase): Promise<Prepared> {
  const { ops } = place;
  let due: Phase = 'search';
  let step = 0;
  const seen: { read?: Prepared['plan'] } = {};
  const bound = watched(ops, { ...method, schedule: () => due }, seen);
  const attend = () => bound.attention(q, k, v, { step: step++, steps: 1000, layer: 0, layers: 1, branches: [0], grid: shape.grid });
  // The first search may be dense, to have something to go by.
  for (let call = 0; call < 2; call++) await place.time(ops, attend);
  due = phase;
  await bound.take();
  await place.time(ops, attend);
  const { density } = await bound.take();
  return {
    ...{ density, clock: place.clock, corrected: method.correct !== undefined },
    get plan() {
      return seen.read;
    },
    time: () => place.time(ops, attend),
    checkedHeads: () => headsOf(ops, shape, attend),
    dispose: async () => bound.reset(),
  };
}

/** A method bound to a backend that tells by which plan was attended last; a scorer may attend to a few rows of its own, which does not count. */
function watched(ops: Backend, method: Method, seen: { read?: Prepared['plan'] }): BoundAttention {
  let searching = false;
  const { score, select } = method;
  const watching: Backend = {
    ...ops,
    attend(q, k, v, plan, layout, options) {
      if (!searching) seen.read = { plan, layout };
      return ops.attend(q, k, v, plan, layout, options);
    },
  };
  const scoring = (call: Parameters<typeof score>[0]) => {
    searching = true;
    return score(call);
  };
  return createAttention(watching, {
    ...method,
    score: Object.assign(scoring, score),
    select(call, scores, levels) {
      searching = false;
      return select(call, scores, levels);
    },
  });
}

/** The checked heads of an output [heads, tokens, dim]. */
async function headsOf(ops: Backend, shape: Shape, attend: () => Tensor): Promise<Float32Array> {
  const own = ops.scope(() => {
    const heads = ops.split(attend(), shape.heads);
    return headsChecked(shape).map((head) => ops.keep(heads[head]));
  });
  const parts = (await Promise.all(own.map((x) => ops.read(x)))) as Float32Array[];
  for (const x of own) ops.release(x);
  const out = new Float32Array(parts.length * parts[0].length);
  for (const [at, part] of parts.entries()) out.set(part, at * part.length);
  return out;
}
