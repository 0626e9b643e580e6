// A video beside the dense one of the same prompt and seed.
import { changeDifference, flicker, psnr, ssim } from '../../quality/frames.ts';
import { gmsd } from '../../quality/gmsd.ts';
import type { Frame } from '../../video/frame.ts';
import { type Nearness, rounded } from './case.ts';

/** Stands for the infinite PSNR of equal videos, which neither JSON nor a mean can hold. */
export const EQUAL_PSNR = 100;

/** How near a video is to the dense one. @throws RangeError for frames of other sizes, or too small to compare. */
export function nearness(frames: readonly Frame[], dense: readonly Frame[], latentError: number): Nearness {
  return {
    latentError: rounded(latentError),
    psnr: rounded(Math.min(EQUAL_PSNR, psnr(frames, dense))),
    ssim: rounded(ssim(frames, dense)),
    gmsd: rounded(gmsd(frames, dense)),
    ...(frames.length > 1 && { changes: rounded(changeDifference(frames, dense)) }),
  };
}

/** Flicker of a video; undefined under 3 frames. */
export const flickerOf = (frames: readonly Frame[]): number | undefined => (frames.length < 3 ? undefined : rounded(flicker(frames)));
