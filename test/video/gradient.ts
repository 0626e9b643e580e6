// A moving gradient with a bright square: what the video tests write.
import type { Frame, Video } from '../../src/video/frame.ts';

/** One frame: red grows to the right, green downwards, blue with time; a white square moves by two pixels a frame. */
export function gradientFrame(index: number, width: number, height: number): Frame {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const white = Math.abs(x - 4 - 2 * index) < 4 && Math.abs(y - height / 2) < 4;
      const at = (y * width + x) * 3;
      data[at] = white ? 255 : Math.round((255 * x) / (width - 1));
      data[at + 1] = white ? 255 : Math.round((255 * y) / (height - 1));
      data[at + 2] = white ? 255 : (40 + 8 * index) % 256;
    }
  }
  return { index, width, height, data };
}

/** What a source saw: the frames pulled from it, and whether its consumer said that it stops early. */
export interface Source extends Video {
  pulled: number;
  returned: boolean;
}

/** A video that makes its frames on demand. `before(i)` runs ahead of frame i: to throw, wait, or abort there. */
export function gradientVideo(
  width: number,
  height: number,
  numFrames: number,
  fps = 12,
  before?: (index: number) => void | Promise<void>,
): Source {
  const source: Source = {
    width,
    height,
    numFrames,
    fps,
    pulled: 0,
    returned: false,
    async *[Symbol.asyncIterator]() {
      let done = false;
      try {
        for (let i = 0; i < numFrames; i++) {
          await before?.(i);
          source.pulled++;
          yield gradientFrame(i, width, height);
        }
        done = true;
      } finally {
        source.returned = !done;
      }
    },
  };
  return source;
}
