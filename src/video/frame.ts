// What a pipeline yields and what the files are made of: RGB frames, one by one, and a video that is an async iterable of them.

/** One picture: `data` is RGB, row-major, `width * height * 3` bytes. Whoever receives a frame owns its data: the source never writes to it again. */
export interface Frame {
  /** Its place in the video, from 0. */
  readonly index: number;
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** RGB, row by row, `width * height * 3` bytes. */
  readonly data: Uint8Array;
}

/** Frames in order, made while they are asked for; `fps` is frames per second. Every frame has the video's width and height, in pixels. */
export interface Video extends AsyncIterable<Frame> {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** Frames that come. */
  readonly numFrames: number;
  /** Frames per second. */
  readonly fps: number;
}

/** Throws a RangeError when a frame does not have the given size, or its data not `width * height * 3` bytes. */
export function checkFrame(frame: Frame, width: number, height: number): void {
  if (frame.width !== width || frame.height !== height) {
    throw new RangeError(
      `Frame ${frame.index} is ${frame.width}x${frame.height} but the video is ${width}x${height}; all frames need one size.`,
    );
  }
  const bytes = width * height * 3;
  if (frame.data.length !== bytes) {
    throw new RangeError(`Frame ${frame.index} has ${frame.data.length} bytes; ${width}x${height} RGB needs ${bytes}.`);
  }
}
