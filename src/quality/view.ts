// What the judge sees of a clip: eight frames spread evenly over it, each averaged down to 128 x 128.
import { checkFrame, type Frame } from '../video/frame.ts';

export const VIEW_FRAMES = 8;
export const VIEW_SIZE = 128;

/** The view of a clip of any size, [8, 3, 128, 128] in [0, 1]. @throws RangeError under 8 frames, or for frames of unlike sizes. */
export function viewOf(frames: readonly Frame[]): Float32Array {
  if (frames.length < VIEW_FRAMES)
    throw new RangeError(`The clip has ${frames.length} frames; it takes at least ${VIEW_FRAMES} to judge one.`);
  for (const frame of frames) checkFrame(frame, frames[0].width, frames[0].height);
  const view = new Float32Array(VIEW_FRAMES * 3 * VIEW_SIZE ** 2);
  for (let at = 0; at < VIEW_FRAMES; at++)
    reduce(frames[Math.round((at * (frames.length - 1)) / (VIEW_FRAMES - 1))], view.subarray(at * 3 * VIEW_SIZE ** 2));
  return view;
}

/** A frame as planes [3, 128, 128] of means over areas, as PyTorch's area interpolation makes them: areas may share a pixel. */
function reduce({ width, height, data }: Frame, out: Float32Array): void {
  const [across, down] = [areas(width), areas(height)];
  const rows = new Float64Array(3 * VIEW_SIZE * height);
  for (let y = 0; y < height; y++)
    for (const [x, [start, end]] of across.entries())
      for (let colour = 0; colour < 3; colour++) {
        let sum = 0;
        for (let from = start; from < end; from++) sum += data[(y * width + from) * 3 + colour];
        rows[(colour * height + y) * VIEW_SIZE + x] = sum / (end - start) / 255;
      }
  for (let colour = 0; colour < 3; colour++)
    for (const [y, [start, end]] of down.entries())
      for (let x = 0; x < VIEW_SIZE; x++) {
        let sum = 0;
        for (let from = start; from < end; from++) sum += rows[(colour * height + from) * VIEW_SIZE + x];
        out[(colour * VIEW_SIZE + y) * VIEW_SIZE + x] = sum / (end - start);
      }
}

/** The pixels [start, end) that each of the 128 is the mean of. */
const areas = (size: number): [number, number][] =>
  Array.from({ length: VIEW_SIZE }, (_, at) => [Math.floor((at * size) / VIEW_SIZE), Math.ceil(((at + 1) * size) / VIEW_SIZE)]);
