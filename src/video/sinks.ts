// Three ways to turn frames into files: ffmpeg (mp4, webm), sharp in one piece (gif, webp), sharp frame by frame (png sequence).
import { once } from 'node:events';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import ffmpeg from 'fluent-ffmpeg';
import sharp from 'sharp';
import type { Frame } from './frame.ts';
import { frameImage } from './frames.ts';

/** Takes the frames of one video. `write` resolves when the next frame may come; `failed` rejects when the encoder dies on its own. */
export interface Sink {
  write(frame: Frame): Promise<void>;
  /** Resolves when the files are whole and closed. */
  finish(): Promise<void>;
  /** Stops the encoder and resolves when it no longer touches its file; removes nothing. */
  cancel(): Promise<void>;
  readonly failed: Promise<never>;
}

/** What every sink needs: where to write, the size in pixels, frames per second, quality 1..100. */
export interface SinkOptions {
  readonly path: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly quality: number;
}

/** Quality 80 is libx264 crf 18 and libvpx-vp9 crf 24; ten points are five steps of crf. */
const crf = (quality: number, best: number, worst: number): string => String(Math.min(worst, Math.round(best + (100 - quality) / 2)));

const CODECS = {
  mp4: (quality: number) => ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', crf(quality, 8, 51), '-movflags', '+faststart'],
  webm: (quality: number) => [
    '-c:v',
    'libvpx-vp9',
    '-deadline',
    'realtime',
    '-cpu-used',
    '6',
    '-row-mt',
    '1',
    '-b:v',
    '0',
    '-crf',
    crf(quality, 14, 63),
  ],
};

// The matrix is stated and tagged: players guess it from the height otherwise, and shift the colours.
const COLOUR = [
  '-vf',
  'scale=out_color_matrix=bt709:out_range=tv',
  '-pix_fmt',
  'yuv420p',
  '-colorspace',
  'bt709',
  '-color_primaries',
  'bt709',
];
const TRANSFER = ['-color_trc', 'bt709', '-color_range', 'tv'];

/** Streams frames into ffmpeg's stdin; at most two frames wait there. H.264 needs even sizes, so an odd mp4 repeats its last column or row once. */
export function ffmpegSink(kind: 'mp4' | 'webm', binary: string, options: SinkOptions): Sink {
  const even = (size: number): number => (kind === 'mp4' ? size + (size % 2) : size);
  const [width, height] = [even(options.width), even(options.height)];
  const input = new PassThrough({ highWaterMark: width * height * 3 });
  const command = ffmpeg(input)
    .setFfmpegPath(binary)
    .inputOptions(['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', `${width}x${height}`, '-framerate', String(options.fps)])
    .outputOptions([...CODECS[kind](options.quality), ...COLOUR, ...TRANSFER, '-an', '-f', kind]);
  const started = new Promise<void>((resolve) => command.once('start', () => resolve()));
  const ended = new Promise<void>((resolve, reject) => {
    command.once('end', () => resolve());
    command.once('error', (error: Error) =>
      reject(new Error(`ffmpeg could not encode the video: ${error.message.trim().split('\n').at(-1)}.`)),
    );
  });
  const failed = ended.then(() => new Promise<never>(() => {}));
  failed.catch(() => {}); // whoever races it hears of it; a failure after a cancel is no news
  command.save(options.path);
  return {
    failed,
    async write(frame) {
      const data = width === frame.width && height === frame.height ? frame.data : extended(frame, width, height);
      if (!input.write(data)) await once(input, 'drain');
    },
    async finish() {
      input.end();
      await ended;
    },
    async cancel() {
      await Promise.race([started, ended]).catch(() => {});
      command.on('error', () => {}).kill('SIGKILL');
      await ended.catch(() => {});
    },
  };
}

/** The frame with its last column and row repeated until it is `width` x `height`. */
function extended(frame: Frame, width: number, height: number): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const row = Math.min(y, frame.height - 1) * frame.width * 3;
    const pixels = frame.data.subarray(row, row + frame.width * 3);
    data.set(pixels, y * width * 3);
    for (let x = frame.width; x < width; x++) data.set(pixels.subarray(-3), (y * width + x) * 3);
  }
  return data;
}

const NEVER = new Promise<never>(() => {});

/** Keeps every frame (`width * height * 3` bytes each) and encodes them at the end: sharp has no streaming form of gif and webp. */
export function animationSink(kind: 'gif' | 'webp', options: SinkOptions): Sink {
  const frames: Uint8Array[] = [];
  let encoding: Promise<unknown> = Promise.resolve();
  return {
    failed: NEVER,
    async write(frame) {
      frames.push(frame.data);
    },
    async finish() {
      const { width, height, fps, quality, path } = options;
      const raw = { width, height: height * frames.length, channels: 3 as const, pageHeight: height };
      const image = sharp(Buffer.concat(frames), { raw, limitInputPixels: false });
      const delay = frameDelays(frames.length, fps, kind === 'gif' ? 10 : 1);
      encoding = (kind === 'gif' ? image.gif({ delay, loop: 0, effort: 3 }) : image.webp({ delay, loop: 0, quality, effort: 2 })).toFile(
        path,
      );
      await encoding;
    },
    async cancel() {
      await encoding.catch(() => {});
    },
  };
}

/** Milliseconds each frame stays, as multiples of `unit` (10 in a gif) that add up to the true length: 12 fps in a gif is 80, 90, 80, ... */
export function frameDelays(count: number, fps: number, unit: number): number[] {
  const ends = Array.from({ length: count + 1 }, (_, i) => Math.round((i * 1000) / fps / unit) * unit);
  return ends.slice(1).map((end, i) => Math.max(unit, end - ends[i]));
}

/** Writes each frame as a png into the folder `scratch` and moves all of them to their place at the end; `name(1)` is the path of the first. */
export function sequenceSink(name: (number: number) => string, scratch: string): Sink {
  const written: string[] = [];
  let writing: Promise<unknown> = Promise.resolve();
  return {
    failed: NEVER,
    async write(frame) {
      const target = name(written.length + 1);
      writing = mkdir(scratch, { recursive: true }).then(() =>
        frameImage(frame)
          .png({ compressionLevel: 6 })
          .toFile(join(scratch, basename(target))),
      );
      await writing;
      written.push(target);
    },
    async finish() {
      for (const target of written) {
        await mkdir(dirname(target), { recursive: true });
        await rename(join(scratch, basename(target)), target);
      }
      await rm(scratch, { recursive: true, force: true });
    },
    async cancel() {
      await writing.catch(() => {});
    },
  };
}
