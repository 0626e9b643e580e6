// The measures of quality that a chart can have as its axis.
import type { Interval } from '../quality/interval.ts';
import type { VideoRow } from './data.ts';

export interface Measure {
  readonly id: string;
  readonly name: string;
  /** What it is, in a sentence. */
  readonly note: string;
  /** Whether more of it is nearer to dense attention, or better. */
  readonly moreIsBetter: boolean;
  readonly digits: number;
  readonly of: (row: VideoRow) => Interval | undefined;
}

const adherence = (part: 'subject' | 'scene' | 'motion' | 'direction'): Measure => ({
  ...{ id: part, name: `${part}, points`, moreIsBetter: true, digits: 1 },
  note: `Change of the share of videos that show the ${part} of the prompt, against dense attention: -1 is one video in a hundred less.`,
  of: ({ adherence: all }) => {
    const change = all?.[part]?.change;
    return change && { mean: 100 * change.mean, low: 100 * change.low, high: 100 * change.high, count: change.count };
  },
});

/** In the order in which one is chosen when a reader has not. */
export const MEASURES: readonly Measure[] = [
  {
    ...{ id: 'latentError', name: 'latent error', moreIsBetter: false, digits: 3, of: (row) => row.latentError },
    note: 'Length of the difference of the last latents from those of dense attention, over their length.',
  },
  {
    ...{ id: 'psnr', name: 'PSNR, dB', moreIsBetter: true, digits: 1, of: (row) => row.psnr },
    note: 'Peak signal to noise of the video against that of dense attention.',
  },
  {
    ...{ id: 'ssim', name: 'SSIM', moreIsBetter: true, digits: 3, of: (row) => row.ssim },
    note: 'Structural similarity of the video to that of dense attention, 1 for the same.',
  },
  {
    ...{ id: 'gmsd', name: 'GMSD', moreIsBetter: false, digits: 3, of: (row) => row.gmsd },
    note: 'Gradient magnitude similarity deviation, a perceptual distance: 0 for the same video.',
  },
  {
    ...{ id: 'changes', name: 'change difference', moreIsBetter: false, digits: 4, of: (row) => row.changes },
    note: 'Mean absolute difference of what changes from frame to frame.',
  },
  ...(['subject', 'scene', 'motion', 'direction'] as const).map(adherence),
];

/** Those that some row has. */
export const measuresOf = (rows: readonly VideoRow[]): Measure[] => MEASURES.filter(({ of }) => rows.some((row) => of(row) !== undefined));
