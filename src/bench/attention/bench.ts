// Attention kernels and whole methods against ONNX Runtime's own, in turns on the same inputs; each is held against f64 rows before it is timed.
import type { Method } from '../../method.ts';
import { tokensOf } from '../../sparse3d/plan.ts';
import type { ResultLog } from '../log.ts';
import type { Case } from '../results.ts';
import { median, type Spread, spreadOf } from '../spread.ts';
import { type Contender, kernels, methodContenders, type Prepared } from './contenders.ts';
import { openPlace, type Place, type PlaceOptions } from './place.ts';
import { rival } from './rivals.ts';
import { flopOf, type Inputs, inputsOf, numbersOf, type Reading, type Shape } from './shapes.ts';
import { type Expected, exactByPlan, exactDense, rowError, tokensChecked } from './twin.ts';

export interface AttentionBenchOptions extends PlaceOptions {
  readonly shapes: readonly Shape[];
  /** Plans to attend by. */
  readonly readings: readonly Reading[];
  /** Default all that the device has. */
  readonly dtypes?: readonly ('f16' | 'f32')[];
  /** Kernel variants of a GPU by name; default all. */
  readonly variants?: readonly string[];
  /** Whole methods, on the best kernel and the first dtype. */
  readonly methods: readonly { readonly label: string; readonly method: () => Method }[];
  /** Timed turns: at most so many. */
  readonly runs: number;
  /** Of turns that are not timed, one at least (default 1). */
  readonly warmUpSeconds?: number;
  readonly log: ResultLog<AttentionCase>;
  readonly onTurn?: (turn: { readonly group: string; readonly work: string; readonly turn: number; readonly runs: number }) => void;
  readonly signal?: AbortSignal;
}

/** One contender on one shape, dtype and device. */
export interface AttentionCase extends Case {
  readonly milliseconds?: Spread;
  readonly shape: string;
  readonly tokens: number;
  readonly heads: number;
  readonly dim: number;
  readonly device: string;
  readonly dtype: 'f16' | 'f32';
  readonly contender: string;
  readonly work: string;
  /** Versions of what computed. */
  readonly software: string;
  /** Share of full attention that is computed, in FLOP. */
  readonly density?: number;
  /** Of the work that is left. */
  readonly teraflops?: number;
  readonly check?: Check;
  readonly clock?: string;
  /** Median over the turns of the time of `than`, a case of the same turns, by its own. */
  readonly faster?: { readonly than: string; readonly times: number };
}

/** The relative Euclidean error of some rows, and how much is allowed. A method that corrects its output is only held to be nearer than nothing. */
export interface Check {
  readonly against: 'full attention in f64' | 'its plan in f64';
  readonly rows: number;
  readonly error: number;
  readonly allowed: number;
}

const ALLOWED = { f32: 1e-4, f16: 5e-3 };
// A group takes no further turn after so long, once there were a few.
const MOST_MILLISECONDS = 60_000;
const LEAST_TURNS = 5;

/** Measures what the log wants. @throws as `openPlace` does, and the signal's reason when it is aborted. */
export async function benchAttention(options: AttentionBenchOptions): Promise<void> {
  const place = await openPlace(options);
  try {
    await options.log.begin(place.gpu && (place.gpu.adapter.device || place.gpu.adapter.description));
    for (const shape of options.shapes) {
      let numbers: Inputs['numbers'] | undefined;
      for (const dtype of options.dtypes ?? place.dtypes) {
        const wanted = contendersOf(place, shape, dtype, options);
        if (wanted.length === 0) continue;
        numbers ??= numbersOf(shape);
        await benchGroup({ ...options, place, shape, dtype }, wanted, numbers);
      }
    }
  } finally {
    await place.dispose();
  }
}

interface Group extends AttentionBenchOptions {
  readonly place: Place;
  readonly shape: Shape;
  readonly dtype: 'f16' | 'f32';
}

const groupId = ({ name }: Shape, place: Place, dtype: string): string => `${name}/${place.name} ${dtype}`;

/** The contenders whose cases are wanted. */
function contendersOf(place: Place, shape: Shape, dtype: 'f16' | 'f32', options: AttentionBenchOptions): Contender[] {
  const { readings, variants, methods, log } = options;
  const isFirst = dtype === (options.dtypes ?? place.dtypes)[0];
  const all = [
    rival(place, shape, dtype),
    ...kernels(place, shape, dtype, readings, variants),
    ...(isFirst ? methods.flatMap(({ label, method }) => methodContenders(place, shape, label, method)) : []),
  ];
  return all.filter(({ name, work }) => log.wants(`${groupId(shape, place, dtype)}/${name}/${work}`));
}

interface Entry {
  readonly base: Omit<AttentionCase, 'milliseconds'>;
  readonly prepared: Prepared;
  readonly check: Check;
  readonly times: number[];
}

/** All contenders on one shape and dtype: checked one by one, then timed in turns. */
async function benchGroup(group: Group, contenders: readonly Contender[], numbers: Inputs['numbers']): Promise<void> {
  const { place, shape, dtype, log, signal } = group;
  if (!place.dtypes.includes(dtype)) {
    const reason = `${place.name} stores no ${dtype} here`;
    return log.add(contenders.map((contender) => ({ ...baseOf(group, contender), skipped: reason })));
  }
  const inputs = inputsOf(place.ops, place.gpu, shape, numbers, dtype);
  const entries: Entry[] = [];
  let dense: Expected | undefined;
  const expectedDense = () => (dense ??= exactDense(numbers, shape));
  try {
    for (const contender of contenders) {
      signal?.throwIfAborted();
      group.onTurn?.({ group: groupId(shape, place, dtype), work: `${contender.name} ${contender.work}`, turn: 0, runs: group.runs });
      const entry = await checked(group, contender, inputs, expectedDense);
      if ('prepared' in entry) entries.push(entry);
      else await log.add([entry]);
    }
    await takeTurns(group, entries);
    await log.add(entries.map((entry) => timed(group, entry, entries)));
  } finally {
    for (const { prepared } of entries) await prepared.dispose();
    for (const x of [inputs.q, inputs.k, inputs.v]) place.ops.release(x);
  }
}

function baseOf({ place, shape, dtype }: Group, { name, work }: Contender): Omit<AttentionCase, 'milliseconds'> {
  return {
    id: `${groupId(shape, place, dtype)}/${name}/${work}`,
    ...{ shape: shape.name, tokens: tokensOf(shape.grid), heads: shape.heads, dim: shape.dim },
    ...{ device: place.name, dtype, contender: name, work, software: place.software },
  };
}

/** Ready to be timed, or a case that says why not. */
async function checked(group: Group, contender: Contender, inputs: Inputs, dense: () => Expected): Promise<Entry | AttentionCase> {
  const { shape, dtype, place } = group;
  const base = baseOf(group, contender);
  if (contender.skipped) return { ...base, skipped: contender.skipped };
  let prepared: Prepared | undefined;
  try {
    prepared = await contender.prepare(inputs);
    const out = await prepared.checkedHeads();
    const { plan, corrected } = prepared;
    const byPlan = plan !== undefined && !corrected;
    const expected = byPlan ? await exactByPlan(place.ops, inputs.numbers, shape, plan.plan, plan.layout) : dense();
    const check: Check = {
      against: byPlan ? 'its plan in f64' : 'full attention in f64',
      rows: expected.length * tokensChecked(shape).length,
      error: rowError(out, shape, expected),
      allowed: corrected ? 1 : ALLOWED[dtype],
    };
    if (check.error <= check.allowed) return { base, prepared, check, times: [] };
    await prepared.dispose();
    return { ...base, check, failed: `it is off by ${check.error.toPrecision(3)} where ${check.allowed} is allowed, so it was not timed` };
  } catch (error) {
    await prepared?.dispose().catch(() => undefined);
    return { ...base, failed: (error as Error).message.split('\n')[0] };
  }
}

/** Warms up, then runs each contender once a turn. */
async function takeTurns(
  { runs, warmUpSeconds = 1, place, shape, dtype, onTurn, signal }: Group,
  entries: readonly Entry[],
): Promise<void> {
  if (entries.length === 0) return;
  const turn = async (note: (entry: Entry, milliseconds: number) => void) => {
    for (const entry of entries) {
      signal?.throwIfAborted();
      note(entry, await entry.prepared.time());
    }
  };
  const start = performance.now();
  do await turn(() => {});
  while (performance.now() - start < 1000 * warmUpSeconds);
  const timing = performance.now();
  for (let done = 0; done < runs; done++) {
    if (done >= LEAST_TURNS && performance.now() - timing > MOST_MILLISECONDS) break;
    onTurn?.({ group: groupId(shape, place, dtype), work: `${entries.length} in turns`, turn: done + 1, runs });
    await turn(({ times }, milliseconds) => times.push(milliseconds));
  }
}

function timed({ shape }: Group, { base, prepared, check, times }: Entry, [first]: readonly Entry[]): AttentionCase {
  const milliseconds = spreadOf(times);
  const { density, clock } = prepared;
  return {
    ...{ ...base, milliseconds, density, check, clock },
    teraflops: (density * flopOf(shape)) / milliseconds.median / 1e9,
    ...(first.times !== times && { faster: { than: first.base.id, times: median(first.times.map((time, turn) => time / times[turn])) } }),
  };
}
