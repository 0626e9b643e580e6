// What a result file holds of each video: one prompt, seed and contender.
import type { Case } from '../results.ts';
import type { Seconds } from './clip.ts';

/** How near a video is to that of dense attention, of the same prompt and seed. */
export interface Nearness {
  /** Length of the difference of the last latents over that of the dense ones. */
  readonly latentError: number;
  /** dB over all pixels and frames; equal videos count as 100. */
  readonly psnr: number;
  readonly ssim: number;
  /** Gradient magnitude similarity deviation: 0 for equal videos, 0.35 for a ruined one. */
  readonly gmsd: number;
  /** Mean absolute difference of the changes from frame to frame, of pixels in 0..1; absent for one frame. */
  readonly changes?: number;
}

/** What the model's own ground truth says of a video: whether a judge sees what the prompt asked for. */
export interface Adherence {
  readonly subject: boolean;
  readonly scene: boolean;
  readonly motion: boolean;
  /** Of what moves along a line, and was found in the video. */
  readonly direction?: boolean;
}

/** What each step did, in order. */
export interface CaseSteps {
  readonly milliseconds: readonly number[];
  /** FLOP-equivalent share of full attention; 0 where the step cache skipped it. */
  readonly density: readonly number[];
  /** Relative error of the latents to those of the dense run; absent where that has other steps. */
  readonly error?: readonly number[];
}

/** Plans of one run, which was not timed. */
export interface CasePlans {
  /** [step][layer], mean over heads, and [layer][head], mean over steps: FLOP-equivalent shares of full attention. */
  readonly densityByLayer: readonly (readonly number[])[];
  readonly densityByHead: readonly (readonly number[])[];
  /** Share of the exact softmax mass in the blocks that a plan reads, and in those read token by token, mean over heads. */
  readonly recall: readonly { readonly step: number; readonly layer: number; readonly read: number; readonly full: number }[];
}

/** One video, or with `plans` one run that was looked at. */
export interface VideoCase extends Case {
  readonly contender: string;
  readonly prompt: string;
  readonly seed: number;
  readonly seconds?: Seconds;
  /** Of the dense run of the same prompt and seed that was made in the same process; absent for that run. */
  readonly denseSeconds?: Seconds;
  /** Mean FLOP-equivalent share of full attention over all steps. */
  readonly density?: number;
  /** Share of attention calls that the schedule computes in full, and of steps that the step cache gave. */
  readonly warmUp?: number;
  readonly cached?: number;
  readonly steps?: CaseSteps;
  /** Mean absolute second difference over time, of pixels in 0..1; absent under 3 frames. */
  readonly flicker?: number;
  readonly nearness?: Nearness;
  readonly adherence?: Adherence;
  /** Small frames of the video, as data URLs. */
  readonly frames?: readonly string[];
  readonly plans?: CasePlans;
}

/** `adaSpa 0.8/a red car .../seed 1` */
export const caseId = (contender: string, prompt: string, seed: number): string => `${contender}/${prompt}/seed ${seed}`;
/** Of a run that is looked at. */
export const plansId = (contender: string, prompt: string, seed: number): string => `${caseId(contender, prompt, seed)}/plans`;

/** A number with so many digits, for files that many of them are kept in. */
export const rounded = (value: number, digits = 4): number => Number(value.toPrecision(digits));
