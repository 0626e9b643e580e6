// Result files of the benches: cases whose ids stay the same, read, written whole or not at all, and gone on with.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { examineMachine } from '../doctor/report.ts';
import { writeWhole } from '../video/place.ts';
import type { Times } from './spread.ts';

/** One thing that was measured, or the reason why it was not. Each bench adds fields of its own. */
export interface Case {
  /** What it is, from the shape to the work, joined by "/": `wan-480p/webgpu f16/zoetrope matrix/dense`. Unique in a file. */
  readonly id: string;
  readonly milliseconds?: Times;
  /** It broke, or what it computed was wrong: it was not timed. */
  readonly failed?: string;
  /** It cannot run here. */
  readonly skipped?: string;
}

/** Where something was measured. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly platform?: string;
  readonly node?: string;
  readonly memoryBytes?: number;
  /** Absent where none took part. */
  readonly gpu?: string;
}

/** One JSON file under bench/results. */
export interface ResultFile<Own extends Case = Case> {
  readonly bench: string;
  /** Of the last run that added to it, as 2026-11-24. */
  readonly date: string;
  /** Of zoetrope, or of what was measured instead. */
  readonly version: string;
  readonly machine: Machine;
  /** Everything that was asked for. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly cases: readonly Own[];
}

/** A result file and where it was read. */
export type ReadResult = ResultFile & { readonly file: string };

/** This machine, with the GPU by its name if one takes part. */
export function machineOf(gpu?: string): Machine {
  const { platform, node, processor, cores, memoryBytes } = examineMachine();
  return { processor, cores, platform, node, memoryBytes, ...(gpu !== undefined && { gpu }) };
}

/** A machine as a chart or a table names it: its GPU, or its processor and cores. */
export const machineName = ({ gpu, processor, cores }: Machine): string =>
  gpu ?? `${processor}, ${cores} ${cores === 1 ? 'core' : 'cores'}`;

/**
 * Reads result files.
 * @throws Error with one sentence for a file that is missing, damaged or no result, and TypeError without a path.
 */
export async function readResults(paths: readonly string[]): Promise<ReadResult[]> {
  if (paths.length === 0) throw new TypeError('no result file was named; give at least one, as bench/results/step.json');
  return Promise.all(paths.map(readResult));
}

const UNREADABLE: Readonly<Record<string, string>> = { ENOENT: 'it is not there', EISDIR: 'it is a folder' };

async function readResult(file: string): Promise<ReadResult> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`The result file "${file}" cannot be read: ${UNREADABLE[error.code!] ?? error.message}.`);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`The result file "${file}" is damaged: ${(error as Error).message}; measure it again, or take it out of the list.`);
  }
  const wrong = faultOf(json);
  if (wrong !== undefined) throw new Error(`"${file}" is no result file of a bench: ${wrong}.`);
  return { ...(json as ResultFile), file };
}

/** What keeps a JSON value from being a result. */
function faultOf(json: unknown): string | undefined {
  if (!isObject(json)) return `it holds ${JSON.stringify(json)?.slice(0, 20)}, not an object`;
  const { bench, date, version, machine, options, cases } = json;
  if (cases === undefined) return `it has no cases (its fields are ${Object.keys(json).join(', ') || 'none'})`;
  for (const [name, value] of Object.entries({ bench, date, version })) if (typeof value !== 'string') return `its ${name} is no text`;
  if (!isObject(machine) || typeof machine.processor !== 'string') return 'it does not say on which machine it was measured';
  if (!isObject(options)) return 'its options are no object';
  if (!Array.isArray(cases)) return 'its cases are no list';
  const bad = cases.findIndex((one) => !isObject(one) || typeof one.id !== 'string');
  if (bad >= 0) return `its case ${bad} has no id`;
  const ids = cases.map(({ id }: Case) => id);
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  return twice === undefined ? undefined : `it has the case "${twice}" twice`;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Writes a result beside its place and moves it there, so that the file is old or new and never half; a case is a line. @throws as the file system does. */
export async function writeResult(path: string, result: ResultFile): Promise<void> {
  const { cases, ...rest } = result;
  const lines = cases.map((one) => `\n  ${JSON.stringify(one)}`);
  await writeWhole(path, `${JSON.stringify(rest, null, 1).slice(0, -2)},\n "cases": [${lines.join(',')}\n ]\n}\n`);
}

/**
 * What a file already holds of a run, or the run as it is where there is no file. `choosing` names the options that only choose cases: all others
 * must agree. What failed or was skipped is not kept, so that it is tried again.
 * @throws Error with one sentence for a file of another bench, version, machine or with other options.
 */
export async function resumeResult<Own extends Case>(
  path: string | undefined,
  fresh: ResultFile<Own>,
  choosing: readonly string[] = [],
): Promise<ResultFile<Own>> {
  if (path === undefined || !existsSync(path)) return fresh;
  const there = await readResult(path);
  const difference = differenceOf(there, fresh, choosing);
  if (difference) throw new Error(`"${path}" cannot be gone on with: ${difference}; give another --out, or remove the file.`);
  const kept = there.cases.filter(({ failed, skipped }) => failed === undefined && skipped === undefined) as Own[];
  return { ...fresh, cases: [...kept, ...fresh.cases.filter(({ id }) => !kept.some((one) => one.id === id))] };
}

function differenceOf(there: ResultFile, fresh: ResultFile, choosing: readonly string[]): string | undefined {
  if (there.bench !== fresh.bench) return `it is of "bench ${there.bench}", not "bench ${fresh.bench}"`;
  if (there.version !== fresh.version) return `it is of version ${there.version}, not ${fresh.version}`;
  if (!sameMachine(there.machine, fresh.machine)) return `it is of ${machineName(there.machine)}, not ${machineName(fresh.machine)}`;
  for (const name of new Set([...Object.keys(there.options), ...Object.keys(fresh.options)])) {
    if (choosing.includes(name)) continue;
    const [was, is] = [there, fresh].map(({ options }) => JSON.stringify(options[name]) ?? 'left out');
    if (was !== is) return `its option ${name} is ${was}, not ${is}`;
  }
  return undefined;
}

/** Whether figures of two files may be compared as they are. */
export const sameMachine = (a: Machine, b: Machine): boolean =>
  a.processor === b.processor && a.cores === b.cores && a.gpu === b.gpu && (a.platform ?? b.platform) === (b.platform ?? a.platform);

/** Whether a case is asked for: every word of the filter is in its id, in any case of letters. */
export const isWanted = (id: string, filter = ''): boolean =>
  filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => id.toLowerCase().includes(word));

/** A case of both files; `ratio` above 1 is faster than before. */
export interface Compared {
  readonly id: string;
  readonly before: number;
  readonly after: number;
  readonly ratio: number;
}

/** Median times of the cases that two files share, and whether they are of one machine. @throws RangeError when they share none. */
export function compareResults(
  before: ResultFile,
  after: ResultFile,
): { readonly sameMachine: boolean; readonly cases: readonly Compared[] } {
  const old = new Map(before.cases.map((one) => [one.id, one.milliseconds?.median]));
  const cases = after.cases.flatMap(({ id, milliseconds }) => {
    const was = old.get(id);
    return was && milliseconds ? [{ id, before: was, after: milliseconds.median, ratio: was / milliseconds.median }] : [];
  });
  if (cases.length === 0)
    throw new RangeError('the two results share no case that was timed in both; compare results of the same shapes and devices');
  return { sameMachine: sameMachine(before.machine, after.machine), cases };
}
