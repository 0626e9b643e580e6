// A perceptual distance that needs no trained network: the gradient magnitude similarity deviation of Xue et al.
import type { Frame } from '../video/frame.ts';
import { checkPair, luma } from './frames.ts';

/** The constant of the paper for luma of 0..255. */
const C = 170;

/**
 * GMSD (Xue, Zhang, Mou, Bovik, IEEE TIP 2014) of the luma, mean over frames: 0 for equal clips, larger is worse. Luma is halved by means of
 * 2 x 2, Prewitt gradients are compared at every place, and the standard deviation of that is the distance.
 * Not LPIPS. @throws RangeError for unlike clips, and for frames under 4 pixels a side.
 */
export function gmsd(a: readonly Frame[], b: readonly Frame[]): number {
  checkPair(a, b);
  const { width, height } = a[0];
  if (Math.min(width, height) < 4) throw new RangeError(`Frames are ${width}x${height}; GMSD needs at least 4 pixels a side.`);
  const sum = a.reduce((total, frame, at) => total + deviation(gradients(frame), gradients(b[at])), 0);
  return sum / a.length;
}

function deviation(a: Float64Array, b: Float64Array): number {
  const alike = a.map((value, i) => (2 * value * b[i] + C) / (value ** 2 + b[i] ** 2 + C));
  const mean = alike.reduce((sum, value) => sum + value, 0) / alike.length;
  return Math.sqrt(alike.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (alike.length - 1));
}

/** Prewitt gradient magnitude of the halved luma, with zeros around it as in the authors' code. */
function gradients(frame: Frame): Float64Array {
  const { values, width, height } = halved(frame);
  const at = (y: number, x: number): number => (y < 0 || x < 0 || y >= height || x >= width ? 0 : values[y * width + x]);
  return values.map((_, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    let [across, down] = [0, 0];
    for (const k of [-1, 0, 1]) {
      across += (at(y + k, x + 1) - at(y + k, x - 1)) / 3;
      down += (at(y + 1, x + k) - at(y - 1, x + k)) / 3;
    }
    return Math.hypot(across, down);
  });
}

/** Means of 2 x 2 pixels of luma; an odd last row or column is averaged with zeros. */
function halved(frame: Frame): { readonly values: Float64Array; readonly width: number; readonly height: number } {
  const picture = luma(frame);
  const [width, height] = [Math.ceil(frame.width / 2), Math.ceil(frame.height / 2)];
  const values = new Float64Array(width * height);
  for (const [i, value] of picture.entries()) {
    const [y, x] = [Math.floor(i / frame.width), i % frame.width];
    values[(y >> 1) * width + (x >> 1)] += value / 4;
  }
  return { values, width, height };
}
