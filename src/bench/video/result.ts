// The result file of `bench video`: cases as they are measured, written now and then and at the end, with what they come to.
import { existsSync } from 'node:fs';
import type { DeviceReport } from '../../device.ts';
import { type ResultFile, readResults, resumeResult, writeResult } from '../results.ts';
import type { VideoCase } from './case.ts';
import type { VideoContender } from './contenders.ts';
import { summarize, type VideoSummary } from './summary.ts';

/** A contender as data. */
export interface ContenderFacts extends Omit<VideoContender, 'method' | 'cache'> {
  readonly method: string;
  /** Threshold of its step cache. */
  readonly cache?: number;
}

export interface VideoResultFile extends ResultFile<VideoCase> {
  readonly device: DeviceReport;
  readonly runtime: string;
  /** Whether this is the embedded model, which is no evidence for others. */
  readonly embedded: boolean;
  readonly contenders: readonly ContenderFacts[];
  /** What the cases come to; empty until a call ends. */
  readonly summary: readonly VideoSummary[];
}

/** A result that grows. */
export interface VideoWriter {
  /** Ids of what is there. */
  readonly known: ReadonlySet<string>;
  /** Keeps a case in the place of one with its id; the file is written when the last time is a while ago. */
  add(one: VideoCase): Promise<void>;
  /** The whole result with its summary, once it is written. */
  finish(): Promise<VideoResultFile>;
}

/** Writing takes longer the more cases there are. */
const WRITE_EVERY_MILLISECONDS = 10_000;
/** Options that only choose cases, or what is kept of them. */
const CHOOSING = 'prompt,prompts,captions,seeds,methods,sparsities,cache,floor,frames,recall,brief,filter'.split(',');

export const factsOf = ({ method, cache, ...facts }: VideoContender): ContenderFacts => ({
  ...{ ...facts, method: method.name },
  ...(cache && { cache: cache.threshold }),
});

/** Opens the result at `path`, or one that is kept in memory alone. @throws Error as `resumeResult`, for a file that does not go with this run. */
export async function openVideoResult(path: string | undefined, fresh: Omit<VideoResultFile, 'cases' | 'summary'>): Promise<VideoWriter> {
  const there = path !== undefined && existsSync(path) ? ((await readResults([path]))[0] as object as Partial<VideoResultFile>) : undefined;
  const resumed = await resumeResult<VideoCase>(path, { ...fresh, cases: [] }, CHOOSING);
  const cases = new Map(resumed.cases.map((one) => [one.id, one]));
  const facts = new Map([...(there?.contenders ?? []), ...fresh.contenders].map((one) => [one.label, one]));
  const result = (summary: readonly VideoSummary[]): VideoResultFile => ({
    ...fresh,
    ...{ contenders: [...facts.values()], summary, cases: [...cases.values()] },
  });
  let writtenAt = performance.now();
  const write = async (summary: readonly VideoSummary[]): Promise<VideoResultFile> => {
    const whole = result(summary);
    if (path !== undefined) await writeResult(path, whole);
    writtenAt = performance.now();
    return whole;
  };
  return {
    known: new Set(cases.keys()),
    async add(one) {
      cases.set(one.id, one);
      if (performance.now() - writtenAt > WRITE_EVERY_MILLISECONDS) await write([]);
    },
    finish: () => write(summarize([...cases.values()])),
  };
}
