// How alike two clips are, pixel by pixel (PSNR, SSIM, how they change), and how steady one clip is (flicker). Pixels count in [0, 1].
import { shown } from '../checks.ts';
import { checkFrame, type Frame } from '../video/frame.ts';

/** Peak signal-to-noise ratio in dB over all pixels, colours and frames together; Infinity for equal clips. @throws RangeError for unlike clips. */
export function psnr(a: readonly Frame[], b: readonly Frame[]): number {
  checkPair(a, b);
  let squares = 0;
  for (const [at, { data }] of a.entries()) for (let i = 0; i < data.length; i++) squares += (data[i] - b[at].data[i]) ** 2;
  return 10 * Math.log10((255 ** 2 * a.length * a[0].data.length) / squares);
}

/**
 * Structural similarity of the luma (Rec. 601), mean over frames: 1 for equal clips. As Wang et al. (2004): an 11 x 11 Gaussian window of
 * sigma 1.5 wherever it fits in the picture, K1 = 0.01, K2 = 0.03. @throws RangeError for unlike clips, and under 11 pixels a side.
 */
export function ssim(a: readonly Frame[], b: readonly Frame[]): number {
  checkPair(a, b);
  const { width, height } = a[0];
  if (Math.min(width, height) < SIDE) throw new RangeError(`Frames are ${width}x${height}; SSIM needs at least ${SIDE} pixels a side.`);
  return mean(a.map((frame, at) => similarity(luma(frame), luma(b[at]), width, height)));
}

/**
 * Mean absolute second difference over time, over all pixels and colours: 0 for a clip that stands still or changes at an even rate. Frames are
 * rounded to bytes, which adds up to about 0.0003 to what training measures on fractions. @throws RangeError under 3 frames.
 */
export function flicker(frames: readonly Frame[]): number {
  checkClip(frames);
  if (frames.length < 3) throw new RangeError(`The clip has ${frames.length} frames; flicker needs at least 3.`);
  return mean(
    frames.slice(2).map(({ data }, at) => {
      const [before, middle] = [frames[at].data, frames[at + 1].data];
      let sum = 0;
      for (let i = 0; i < data.length; i++) sum += Math.abs(data[i] - 2 * middle[i] + before[i]);
      return sum / data.length / 255;
    }),
  );
}

/** Mean absolute difference of the two clips' changes from frame to frame: 0 when they move alike. @throws RangeError for unlike clips, and under 2 frames. */
export function changeDifference(a: readonly Frame[], b: readonly Frame[]): number {
  checkPair(a, b);
  if (a.length < 2) throw new RangeError('The clip has 1 frame; its change needs at least 2.');
  return mean(
    a.slice(1).map(({ data }, at) => {
      const [before, other, otherBefore] = [a[at].data, b[at + 1].data, b[at].data];
      let sum = 0;
      for (let i = 0; i < data.length; i++) sum += Math.abs(data[i] - before[i] - other[i] + otherBefore[i]);
      return sum / data.length / 255;
    }),
  );
}

/** Luma of a frame by Rec. 601, 0..255, [height, width]. */
export function luma({ data }: Frame): Float64Array {
  const out = new Float64Array(data.length / 3);
  for (let i = 0; i < out.length; i++) out[i] = 0.299 * data[3 * i] + 0.587 * data[3 * i + 1] + 0.114 * data[3 * i + 2];
  return out;
}

/** Throws a RangeError unless the clips have as many frames, of one size. */
export function checkPair(a: readonly Frame[], b: readonly Frame[]): void {
  checkClip(a);
  if (!Array.isArray(b)) throw new TypeError(`The other clip is ${shown(b)}; give a list of frames.`);
  if (a.length !== b.length) throw new RangeError(`A clip of ${a.length} frames is compared with one of ${b.length}; give as many.`);
  for (const frame of b) checkFrame(frame, a[0].width, a[0].height);
}

function checkClip(frames: readonly Frame[]): void {
  if (!Array.isArray(frames)) throw new TypeError(`The clip is ${shown(frames)}; give a list of frames.`);
  if (frames.length === 0) throw new RangeError('The clip has no frames; give at least 1.');
  for (const frame of frames) checkFrame(frame, frames[0].width, frames[0].height);
}

/** Pixels of a side of the window. */
const SIDE = 11;
/** Half of the window, from its end to its middle: the other half is the same. */
const HALF = Float64Array.from({ length: 6 }, (_, i) => Math.exp(-((i - 5) ** 2) / (2 * 1.5 ** 2)));
const WEIGHT = HALF.reduce((sum, value, i) => sum + (i < 5 ? 2 : 1) * value, 0);
const WINDOW = HALF.map((value) => value / WEIGHT);
const [C1, C2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];

/** SSIM of two pictures [height, width], mean over all places of the window. */
function similarity(a: Float64Array, b: Float64Array, width: number, height: number): number {
  const local = (picture: Float64Array) => windowed(picture, width, height);
  const [meanA, meanB, product] = [local(a), local(b), local(a.map((value, i) => value * b[i]))];
  const both = local(a.map((value, i) => value * value + b[i] * b[i]));
  let sum = 0;
  for (let i = 0; i < meanA.length; i++) {
    const cross = meanA[i] * meanB[i];
    const squares = meanA[i] * meanA[i] + meanB[i] * meanB[i];
    sum += ((2 * cross + C1) * (2 * (product[i] - cross) + C2)) / ((squares + C1) * (both[i] - squares + C2));
  }
  return sum / meanA.length;
}

/** Gaussian means of a picture wherever the window fits, rows first and then columns. */
function windowed(picture: Float64Array, width: number, height: number): Float64Array {
  const [across, down] = [width - SIDE + 1, height - SIDE + 1];
  const rows = new Float64Array(height * across);
  for (let y = 0; y < height; y++) for (let x = 0; x < across; x++) rows[y * across + x] = weighed(picture, y * width + x, 1);
  const out = new Float64Array(down * across);
  for (let i = 0; i < out.length; i++) out[i] = weighed(rows, i, across);
  return out;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean by the window, of numbers that are `stride` apart, from `at` on. */
function weighed(values: Float64Array, at: number, stride: number): number {
  let sum = WINDOW[5] * values[at + 5 * stride];
  for (let k = 0; k < 5; k++) sum += WINDOW[k] * (values[at + k * stride] + values[at + (10 - k) * stride]);
  return sum;
}
