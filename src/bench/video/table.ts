// Summaries of videos as Markdown, with what each figure must be read with: density, warm-up, pairs.
import type { Compared } from '../results.ts';
import { ADHERENCE_PARTS, type AdherencePart, type Paired, type VideoSummary } from './summary.ts';

const SPEED = 'contender, pairs, density, warm-up, cached, seconds, denoising, times as fast, in denoising'.split(', ');
const NEAR = 'contender, pairs, density, warm-up, latent error, PSNR dB, SSIM, GMSD, changes, flicker / dense, recall'.split(', ');

const LEGEND = `Each pair is one prompt and seed, made with dense (full) attention and with the contender. Density is the FLOP-equivalent share of full attention
over all steps, warm-up the share of attention calls that the schedule computes in full, cached that of steps that the step cache gave. Seconds are
those of a whole video, and of its denoising alone; times as fast is dense by the contender, so above 1 is faster. "a [b, c]" is a mean with its
bootstrap interval of 95 % over pairs. "dense, 1 step more" is how far a video moves by a change that nobody would miss: what is nearer is as good.
Of PSNR and SSIM (1 for equal videos) more is nearer to dense, of latent error, GMSD (a perceptual distance) and changes less. Latent error is
relative (Euclidean) at the last step; changes is the mean absolute difference of what changes from frame to frame, flicker / dense how uneven
they are beside those of the dense video, 1 for as much. Recall is the share of the exact softmax mass that plans read, of sampled layers
and steps, measured apart from the timing. Adherence reads "change in points (pairs) to the share of clips that show what was asked for"; where no
pair changed the interval is empty, and up to 3 in that many pairs may still change.`;

const EMBEDDED = 'The embedded model is small and knows a few dozen cartoon subjects: these figures are no evidence for Wan itself.';

/** The tables of a bench. `embedded`: says that the embedded model is no evidence for others. */
export function videoMarkdown(summaries: readonly VideoSummary[], { embedded }: { readonly embedded: boolean }): string {
  const made = summaries.filter(({ pairs }) => pairs > 0);
  const others = made.filter(({ contender }) => contender !== 'dense');
  const judged = others.filter(({ adherence }) => adherence);
  const failures = summaries.filter(({ failed }) => failed !== undefined);
  const parts = [
    `## Speed\n\n${table(SPEED, made.map(speedRow))}`,
    ...(others.length > 0 ? [`## Nearness to the dense video\n\n${table(NEAR, others.map(nearRow))}`] : []),
    ...(judged.length > 0 ? [`## Adherence to the prompt, change in points\n\n${adherenceTable(judged)}`] : []),
    ...(failures.length > 0 ? [failures.map(({ contender, failed }) => `- ${contender} failed: ${failed}`).join('\n')] : []),
    LEGEND,
    ...(embedded ? [EMBEDDED] : []),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** Times of cases that an earlier result has too, by contender. */
export function comparedMarkdown(
  { sameMachine, cases }: { readonly sameMachine: boolean; readonly cases: readonly Compared[] },
  file: string,
): string {
  const contenderOf = ({ id }: Compared): string => id.slice(0, id.indexOf('/'));
  const rows = [...new Set(cases.map(contenderOf))].map((contender) => {
    const logs = cases.filter((one) => contenderOf(one) === contender).map(({ ratio }) => Math.log(ratio));
    return [contender, String(logs.length), Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length).toFixed(2)];
  });
  const machines = sameMachine ? '' : 'The two results are of different machines: the ratios say nothing of the code.\n\n';
  return `## Against ${file}\n\n${machines}${table(['contender', 'cases', 'times as fast as then'], rows)}\n`;
}

const common = ({ contender, pairs, density, warmUp }: VideoSummary): string[] => [
  ...[contender, String(pairs), density.toFixed(3), warmUp.toFixed(2)],
];

function speedRow(one: VideoSummary): string[] {
  const { cached, seconds, speedup, denoiseSpeedup } = one;
  return [...common(one), cached.toFixed(2), time(seconds.total), time(seconds.denoise), shown(speedup, 2), shown(denoiseSpeedup, 2)];
}

function nearRow(one: VideoSummary): string[] {
  const { latentError, psnr, ssim, gmsd, changes, flicker, plans } = one;
  return [
    ...common(one),
    ...[shown(latentError, 3), shown(psnr, 1), shown(ssim, 3), shown(gmsd, 3), shown(changes, 4), shown(flicker, 2)],
    plans?.recall ? plans.recall.read.toFixed(3) : '',
  ];
}

/** A row of dense attention's own shares first. */
function adherenceTable(judged: readonly VideoSummary[]): string {
  const rows = judged.map((one) => [
    ...common(one),
    ...ADHERENCE_PARTS.map((part) => {
      const own = one.adherence?.[part];
      return own ? `${shown(points(own.change), 1)} (${own.change.count}) to ${(100 * own.share).toFixed(1)} %` : '';
    }),
  ]);
  const own = ADHERENCE_PARTS.map((part) => denseShare(judged, part));
  return table(['contender', 'pairs', 'density', 'warm-up', ...ADHERENCE_PARTS], [['dense', '', '1.000', '1.00', ...own], ...rows]);
}

/** How often dense videos show it, of the contender that was judged in the most pairs. */
function denseShare(judged: readonly VideoSummary[], part: AdherencePart): string {
  const all = judged.flatMap(({ adherence }) => adherence?.[part] ?? []);
  if (all.length === 0) return '';
  const { share, change } = all.reduce((most, one) => (one.change.count > most.change.count ? one : most));
  return `(${change.count}) ${(100 * (share - change.mean)).toFixed(1)} %`;
}

const points = ({ mean, low, high, count }: Paired): Paired => ({ mean: 100 * mean, low: 100 * low, high: 100 * high, count });
/** One pair has no interval. */
function shown(figure: Paired | undefined, digits: number): string {
  if (!figure) return '';
  const [mean, low, high] = [figure.mean, figure.low, figure.high].map((value) => value.toFixed(digits));
  return figure.count === 1 ? mean : `${mean} [${low}, ${high}]`;
}
const time = (seconds: number): string => seconds.toFixed(seconds < 10 ? 2 : 1);
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ').replaceAll('  ', ' ')} |`).join('\n');
