// What a bench has measured so far, kept in its file after each case: a run that is stopped goes on from there.
import { type Case, isWanted, machineOf, type ResultFile, resumeResult, writeResult } from './results.ts';

export interface LogOptions extends Omit<ResultFile, 'date' | 'machine' | 'cases'> {
  /** Where the result is kept; in memory alone when left out. */
  readonly out?: string;
  /** Options that only choose cases: all others must be those of the file. */
  readonly choosing: readonly string[];
  /** Words that must be in an id. */
  readonly filter?: string;
}

/** The result that grows. */
export interface ResultLog<Own extends Case = Case> {
  /** Reads what the file holds, before anything is measured; `gpu` is its name where one takes part. @throws as `resumeResult` does. */
  begin(gpu?: string): Promise<void>;
  /** Whether a case is asked for. */
  asks(id: string): boolean;
  /** Whether a case is asked for and not there yet. */
  wants(id: string): boolean;
  /** Adds cases and writes the file. */
  add(cases: readonly Own[]): Promise<void>;
  /** Everything in the file, with what was added. */
  readonly result: ResultFile;
  /** Ids that this run asked for, whoever measured them. */
  readonly asked: ReadonlySet<string>;
}

export function resultLog<Own extends Case>({ out, choosing, filter, ...fixed }: LogOptions): ResultLog<Own> {
  const today = new Date().toISOString().slice(0, 10);
  let result: ResultFile = { ...fixed, date: today, machine: machineOf(), cases: [] };
  const asked = new Set<string>();
  const asks = (id: string): boolean => {
    if (!isWanted(id, filter)) return false;
    asked.add(id);
    return true;
  };
  return {
    get result() {
      return result;
    },
    asked,
    async begin(gpu) {
      result = await resumeResult(out, { ...result, machine: machineOf(gpu) }, choosing);
    },
    asks,
    wants: (id) => asks(id) && !result.cases.some((one) => one.id === id),
    async add(cases) {
      if (cases.length === 0) return;
      result = { ...result, cases: [...result.cases.filter(({ id }) => !cases.some((one) => one.id === id)), ...cases] };
      if (out !== undefined) await writeResult(out, result);
    },
  };
}
