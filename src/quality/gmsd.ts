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
  const alike = a.map((value, i) => (2 * value * b[i] + C) / (value * value + b[i] * b[i] + C));
  const mean = alike.reduce((sum, value) => sum + value, 0) / alike.length;
  return Math.sqrt(alike.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (alike.length - 1));
}

/** Prewitt gradient magnitude of the halved luma, with zeros around it as in the authors' code. */
function gradients(frame: Frame): Float64Array {
  const { values, width, height } = halved(frame);
  const stride = width + 2;
  const out = new Float64Array(width * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let [across, down] = [0, 0];
      const at = (y + 1) * stride + x + 1;
      for (let k = -1; k <= 1; k++) {
        across += values[at + k * stride + 1] - values[at + k * stride - 1];
        down += values[at + stride + k] - values[at - stride + k];
      }
      out[y * width + x] = Math.sqrt(across * across + down * down) / 3;
    }
  return out;
}

/** Means of 2 x 2 pixels of luma, [height + 2, width + 2] with zeros around them; an odd last row or column is averaged with zeros. */
function halved(frame: Frame): { readonly values: Float64Array; readonly width: number; readonly height: number } {
  const picture = luma(frame);
  const [width, height] = [Math.ceil(frame.width / 2), Math.ceil(frame.height / 2)];
  const values = new Float64Array((width + 2) * (height + 2));
  for (let y = 0; y < frame.height; y++)
    for (let x = 0; x < frame.width; x++) values[((y >> 1) + 1) * (width + 2) + (x >> 1) + 1] += picture[y * frame.width + x] / 4;
  return { values, width, height };
}
