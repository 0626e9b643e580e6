// What many attention calls of a method come to.
import type { Phase } from '../method.ts';
import type { Recall } from '../quality/recall.ts';

/** One attention call of a method. */
export interface Sample {
  readonly layer: number;
  readonly phase: Phase;
  readonly milliseconds: number;
  readonly searchMilliseconds: number;
  /** What full attention of the same call took. */
  readonly denseMilliseconds: number;
  /** FLOP-equivalent share of full attention. */
  readonly density: number;
  /** Against full attention; absent where that is what was computed. */
  readonly quality?: { readonly error: number } & Recall;
}

/** Means over calls whose output came from a plan. */
export interface Quality {
  /** FLOP-equivalent share of full attention, 0..1. */
  readonly density: number;
  /** Relative Euclidean error of the attention output to that of full attention. */
  readonly error: number;
  /** Share of the exact softmax mass in the blocks that are read, and in those read token by token. */
  readonly recall: number;
  readonly fullRecall: number;
}

export interface Summary {
  /** Attention calls by phase; `planned` are those whose output came from a plan (a first search may be dense). */
  readonly calls: { readonly dense: number; readonly search: number; readonly reuse: number; readonly planned: number };
  /** Absent for a method that was never sparse. */
  readonly quality?: Quality & { readonly worstError: number; readonly layers: readonly ({ readonly layer: number } & Quality)[] };
  /** From the first search on: the share of the time that scoring and selecting took, and the time over that of full attention. */
  readonly sparse?: { readonly searchShare: number; readonly timeOverDense: number };
  /** The same over all calls, dense steps included. */
  readonly run: { readonly density: number; readonly timeOverDense: number };
}

/** @throws RangeError without a call. */
export function summary(samples: readonly Sample[]): Summary {
  if (samples.length === 0) throw new RangeError('no attention call was measured; record at least one step and one layer');
  const of = (phase: Phase) => samples.filter((sample) => sample.phase === phase).length;
  const planned = samples.filter(({ quality }) => quality);
  const due = samples.filter(({ phase }) => phase !== 'dense');
  const layers = [...new Set(planned.map(({ layer }) => layer))].sort((a, b) => a - b);
  return {
    calls: { dense: of('dense'), search: of('search'), reuse: of('reuse'), planned: planned.length },
    ...(planned.length > 0 && {
      quality: {
        ...qualityOf(planned),
        worstError: Math.max(...planned.map(({ quality }) => quality!.error)),
        layers: layers.map((layer) => ({ layer, ...qualityOf(planned.filter((sample) => sample.layer === layer)) })),
      },
    }),
    ...(due.length > 0 && {
      sparse: { searchShare: sum(due, (s) => s.searchMilliseconds) / sum(due, (s) => s.milliseconds), timeOverDense: timeOverDense(due) },
    }),
    run: { density: mean(samples, ({ density }) => density), timeOverDense: timeOverDense(samples) },
  };
}

/** Several runs of as many calls each as one: means, weighed by the runs that are in either. */
export function mergedSummary(a: Summary & { readonly runs: number }, b: Summary & { readonly runs: number }): Summary {
  const over = <Numbers extends object>(x: Numbers, y: Numbers): Numbers =>
    Object.fromEntries(
      Object.entries(x).map(([name, own]) => [name, (own * a.runs + (y as Record<string, number>)[name] * b.runs) / (a.runs + b.runs)]),
    ) as Numbers;
  const calls = Object.fromEntries(Object.entries(a.calls).map(([phase, own]) => [phase, own + b.calls[phase as Phase]]));
  return {
    calls: calls as unknown as Summary['calls'],
    ...(a.quality && b.quality && { quality: mergedQuality(a.quality, b.quality, over) }),
    ...(a.sparse && b.sparse && { sparse: over(a.sparse, b.sparse) }),
    run: over(a.run, b.run),
  };
}

function mergedQuality(
  { layers, worstError, ...means }: NonNullable<Summary['quality']>,
  other: NonNullable<Summary['quality']>,
  over: <Numbers extends object>(x: Numbers, y: Numbers) => Numbers,
): Summary['quality'] {
  return {
    ...over(means, other),
    worstError: Math.max(worstError, other.worstError),
    layers: layers.map((own, at) => ({ ...over(own, other.layers[at]), layer: own.layer })),
  };
}

const qualityOf = (samples: readonly Sample[]): Quality => ({
  density: mean(samples, ({ density }) => density),
  error: mean(samples, ({ quality }) => quality!.error),
  recall: mean(samples, ({ quality }) => quality!.read),
  fullRecall: mean(samples, ({ quality }) => quality!.full),
});

const timeOverDense = (samples: readonly Sample[]): number =>
  sum(samples, (s) => s.milliseconds) / sum(samples, (s) => s.denseMilliseconds);
const sum = (samples: readonly Sample[], of: (sample: Sample) => number): number =>
  samples.reduce((total, sample) => total + of(sample), 0);
const mean = (samples: readonly Sample[], of: (sample: Sample) => number): number => sum(samples, of) / samples.length;
