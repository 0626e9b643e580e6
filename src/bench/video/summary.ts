// What the videos of each contender come to: means, and for what differs from dense attention paired intervals of 95 %.
import { type Interval, pairedInterval } from '../../quality/interval.ts';
import { type Adherence, type CasePlans, caseId, rounded, type VideoCase } from './case.ts';
import { totalOf } from './clip.ts';

/** A figure over pairs of a contender's and the dense video, of the same prompt and seed; `count` is the number of pairs. */
export type Paired = Interval;

/** How often a part of the prompt is seen, and the change to dense, in shares: -0.01 is one video in a hundred less. */
export interface AdherenceChange {
  readonly share: number;
  readonly change: Paired;
}

export type AdherencePart = keyof Adherence;
export const ADHERENCE_PARTS: readonly AdherencePart[] = ['subject', 'scene', 'motion', 'direction'];

export interface VideoSummary {
  readonly contender: string;
  /** Videos; each is a pair with the dense one, except for dense itself. */
  readonly pairs: number;
  readonly prompts: number;
  /** Means: FLOP-equivalent share of full attention, share of calls computed in full by schedule, share of steps that the cache gave. */
  readonly density: number;
  readonly warmUp: number;
  readonly cached: number;
  /** Means over videos. */
  readonly seconds: { readonly text: number; readonly denoise: number; readonly decode: number; readonly total: number };
  /** Times as fast as dense beside it, in geometric means: the whole run, and denoising alone. Absent for dense, as all that follows. */
  readonly speedup?: Paired;
  readonly denoiseSpeedup?: Paired;
  readonly latentError?: Paired;
  readonly psnr?: Paired;
  readonly ssim?: Paired;
  readonly gmsd?: Paired;
  readonly changes?: Paired;
  /** Flicker over that of the dense video, in geometric means. */
  readonly flicker?: Paired;
  readonly adherence?: Partial<Record<AdherencePart, AdherenceChange>>;
  /** Means over videos of what each step did; absent where cases leave it out. */
  readonly steps?: { readonly milliseconds: readonly number[]; readonly density: readonly number[]; readonly error?: readonly number[] };
  /** Of the runs that were looked at: means over them. */
  readonly plans?: Pick<CasePlans, 'densityByLayer' | 'densityByHead'> & {
    readonly runs: number;
    readonly recall?: { readonly read: number; readonly full: number; readonly calls: number };
  };
  /** Why a video of this contender could not be made. */
  readonly failed?: string;
}

/** One summary for each contender, in the order of the cases, dense first. */
export function summarize(cases: readonly VideoCase[]): VideoSummary[] {
  const dense = new Map(cases.filter(({ contender, plans }) => contender === 'dense' && !plans).map((one) => [one.id, one]));
  const labels = [...new Set(['dense', ...cases.map(({ contender }) => contender)])];
  return labels.flatMap((label) => {
    const own = cases.filter(({ contender }) => contender === label);
    return own.length === 0 ? [] : [summaryOf(label, own, dense)];
  });
}

function summaryOf(contender: string, cases: readonly VideoCase[], dense: ReadonlyMap<string, VideoCase>): VideoSummary {
  const videos = cases.filter(({ seconds }) => seconds);
  const failed = cases.find((one) => one.failed !== undefined)?.failed;
  const seconds = { text: 0, denoise: 0, decode: 0, total: 0 };
  for (const { seconds: own } of videos) {
    for (const part of ['text', 'denoise', 'decode'] as const) seconds[part] += own![part] / videos.length;
    seconds.total += totalOf(own!) / videos.length;
  }
  const steps = stepsOf(videos);
  const plans = plansOf(cases);
  return {
    ...{ contender, pairs: videos.length, prompts: new Set(videos.map(({ prompt }) => prompt)).size },
    ...{ density: mean(videos, 'density'), warmUp: mean(videos, 'warmUp'), cached: mean(videos, 'cached'), seconds },
    ...(contender !== 'dense' && videos.length > 0 && paired(videos, dense)),
    ...(steps && { steps }),
    ...(plans && { plans }),
    ...(failed !== undefined && { failed }),
  };
}

/** Everything that is held against the dense video of the same pair. */
function paired(videos: readonly VideoCase[], dense: ReadonlyMap<string, VideoCase>): Partial<VideoSummary> {
  const twin = ({ prompt, seed }: VideoCase): VideoCase | undefined => dense.get(caseId('dense', prompt, seed));
  const over = (of: (one: VideoCase) => number | undefined): Paired | undefined => {
    const known = videos.map(of).filter((value) => value !== undefined);
    return known.length === 0 ? undefined : pairedInterval(known);
  };
  const ratio = (of: (one: VideoCase) => number | undefined) => {
    const logs = over((one) => {
      const value = of(one);
      return value !== undefined && value > 0 ? Math.log(value) : undefined;
    });
    return logs && { ...logs, mean: Math.exp(logs.mean), low: Math.exp(logs.low), high: Math.exp(logs.high) };
  };
  const figures = {
    speedup: ratio(({ seconds, denseSeconds }) => denseSeconds && totalOf(denseSeconds) / totalOf(seconds!)),
    denoiseSpeedup: ratio(({ seconds, denseSeconds }) => denseSeconds && denseSeconds.denoise / seconds!.denoise),
    latentError: over(({ nearness }) => nearness?.latentError),
    psnr: over(({ nearness }) => nearness?.psnr),
    ssim: over(({ nearness }) => nearness?.ssim),
    gmsd: over(({ nearness }) => nearness?.gmsd),
    changes: over(({ nearness }) => nearness?.changes),
    flicker: ratio((one) => quotient(one.flicker, twin(one)?.flicker)),
  };
  const adherence = adherenceOf(videos, twin);
  const known = Object.entries(figures).filter(([, figure]) => figure !== undefined);
  return { ...(Object.fromEntries(known) as Partial<VideoSummary>), ...(adherence && { adherence }) };
}

const quotient = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined || b === 0 ? undefined : a / b;

/** Of pairs in which both videos were judged. */
function adherenceOf(videos: readonly VideoCase[], twin: (one: VideoCase) => VideoCase | undefined): VideoSummary['adherence'] {
  const parts = ADHERENCE_PARTS.flatMap((part): [AdherencePart, AdherenceChange][] => {
    const pairs = videos.flatMap((one) => {
      const [own, other] = [one.adherence?.[part], twin(one)?.adherence?.[part]];
      return own === undefined || other === undefined ? [] : [{ own: Number(own), other: Number(other) }];
    });
    if (pairs.length === 0) return [];
    const share = pairs.reduce((sum, { own }) => sum + own, 0) / pairs.length;
    return [[part, { share, change: pairedInterval(pairs.map(({ own, other }) => own - other)) }]];
  });
  return parts.length === 0 ? undefined : Object.fromEntries(parts);
}

function stepsOf(videos: readonly VideoCase[]): VideoSummary['steps'] {
  const all = videos.flatMap(({ steps }) => (steps ? [steps] : []));
  if (all.length === 0) return undefined;
  const errors = all.flatMap(({ error }) => (error ? [error] : []));
  return {
    milliseconds: meanRow(all.map(({ milliseconds }) => milliseconds)),
    density: meanRow(all.map(({ density }) => density)),
    ...(errors.length > 0 && { error: meanRow(errors) }),
  };
}

function plansOf(cases: readonly VideoCase[]): VideoSummary['plans'] {
  const all = cases.flatMap(({ plans }) => (plans ? [plans] : []));
  if (all.length === 0) return undefined;
  const recall = all.flatMap((plans) => plans.recall);
  const table = (of: (plans: CasePlans) => readonly (readonly number[])[]) =>
    of(all[0]).map((_, row) => meanRow(all.map((plans) => of(plans)[row])));
  return {
    runs: all.length,
    densityByLayer: table(({ densityByLayer }) => densityByLayer),
    densityByHead: table(({ densityByHead }) => densityByHead),
    ...(recall.length > 0 && { recall: { read: mean(recall, 'read'), full: mean(recall, 'full'), calls: recall.length } }),
  };
}

/** The mean at each place of rows that are as long. */
const meanRow = (rows: readonly (readonly number[])[]): number[] =>
  rows[0].map((_, at) => rounded(rows.reduce((sum, row) => sum + row[at], 0) / rows.length));

const mean = <Field extends string>(parts: readonly Readonly<Partial<Record<Field, number>>>[], field: Field): number =>
  parts.length === 0 ? 0 : parts.reduce((sum, part) => sum + (part[field] ?? 0), 0) / parts.length;
