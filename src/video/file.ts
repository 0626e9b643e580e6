// A video as a file: mp4 and webm through ffmpeg, gif and webp through sharp, or a png for every frame. `saveVideo` is the whole of it; what can
// go wrong with the place is found by `checkOutput` before the first frame is computed.
import { rmSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { shown } from '../checks.ts';
import { findFfmpeg } from './ffmpeg.ts';
import { checkFrame, type Frame, type Video } from './frame.ts';
import { checkPlace, partialPath } from './place.ts';
import { animationSink, ffmpegSink, type Sink, type SinkOptions, sequenceSink } from './sinks.ts';

/** How a video is written. */
export interface OutputOptions {
  /** Frames per second; the video's own by default. */
  readonly fps?: number;
  /** 1..100, 80 by default: libx264 crf 18, libvpx-vp9 crf 24, webp quality 80. Not for gif and png, which have none. */
  readonly quality?: number;
  /** Path of an ffmpeg. Default: that of the environment's FFMPEG_PATH, the package `@ffmpeg-installer/ffmpeg`, `ffmpeg` on PATH. */
  readonly ffmpeg?: string;
}

/** How a video is written, and what is told meanwhile. */
export interface SaveOptions extends OutputOptions {
  /** Ends the work: ffmpeg is killed, the unfinished file removed, the source told by `return()`, and the signal's reason thrown. */
  readonly signal?: AbortSignal;
  /** Called with the number of frames taken so far. */
  readonly onFrame?: (frames: number) => void;
}

/** What was written. `path` is absolute (for a sequence, the pattern); `milliseconds` counts encoding alone, not the wait for frames. */
export interface SavedVideo {
  /** Absolute; of a sequence the pattern. */
  readonly path: string;
  /** Frames that were written. */
  readonly frames: number;
  /** Size of the file, or of all files of a sequence. */
  readonly bytes: number;
  /** What encoding took, without the wait for frames. */
  readonly milliseconds: number;
}

/** A checked place for a video; `partial` is the hidden file (for a sequence, folder) that is written before anything takes its own name. */
export interface Output {
  /** The format, by the name. */
  readonly kind: 'mp4' | 'webm' | 'gif' | 'webp' | 'sequence';
  /** Absolute; of a sequence the pattern. */
  readonly path: string;
  /** The hidden file or folder that is written first. */
  readonly partial: string;
  /** The ffmpeg that was found, for mp4 and webm. */
  readonly ffmpeg?: string;
}

const NUMBER = /%0(\d)d/;
const ENCODERS = { mp4: 'libx264', webm: 'libvpx-vp9' } as const;

/**
 * Checks that a video can be written to `path` and says how. By the name: `.mp4` and `.webm` (ffmpeg), `.gif` and `.webp` (animated), a name with a
 * number like `frame-%05d.png` or a folder that ends in `/` (one png a frame, counted from 1). The folder must exist and take files; only a
 * sequence's own folder may be missing. Throws a TypeError or RangeError for what was asked, an Error for the place, an UnsupportedError without ffmpeg.
 */
export async function checkOutput(path: string, options: OutputOptions = {}): Promise<Output> {
  if (typeof path !== 'string') throw new TypeError(`The path of the video is ${shown(path)}; give a name such as 'video.mp4'.`);
  const kind = kindOf(path);
  const { fps, quality } = options;
  if (fps !== undefined && !(fps > 0 && fps <= 1000)) throw new RangeError(`fps is ${fps}; give frames per second above 0, up to 1000.`);
  if (quality !== undefined && !(quality >= 1 && quality <= 100))
    throw new RangeError(`quality is ${quality}; give a number from 1 to 100.`);
  if (quality !== undefined && (kind === 'gif' || kind === 'sequence')) {
    throw new TypeError(`quality is ${quality} but "${path}" has no quality to set; leave it out or write .mp4, .webm or .webp.`);
  }
  const isFolder = /[/\\]$/.test(path);
  const target = isFolder ? join(resolve(path), 'frame-%05d.png') : resolve(path);
  const folder = isFolder && !(await exists(resolve(path))) ? dirname(resolve(path)) : dirname(target);
  const partial = kind === 'sequence' ? join(folder, `.${basename(target, '.png')}.partial`) : partialPath(target);
  await checkPlace(target, kind === 'sequence' ? `${partial}.check` : partial);
  const ffmpeg = kind === 'mp4' || kind === 'webm' ? await findFfmpeg(ENCODERS[kind], options.ffmpeg) : undefined;
  return { kind, path: target, partial, ffmpeg };
}

function kindOf(path: string): Output['kind'] {
  if (/[/\\]$/.test(path)) return 'sequence';
  const extension = extname(path).toLowerCase();
  if (extension === '.mp4' || extension === '.webm' || extension === '.gif' || extension === '.webp')
    return extension.slice(1) as Output['kind'];
  if (extension === '.png' && NUMBER.test(basename(path))) return 'sequence';
  if (extension === '.png') {
    throw new TypeError(
      `"${path}" is the name of one picture; write ${basename(path, extname(path))}-%05d.png for a picture of every frame, or .mp4 for a video.`,
    );
  }
  throw new TypeError(
    `A video cannot be written to "${path}": give a name that ends in .mp4, .webm, .gif, .webp or %05d.png, or a folder that ends in "/".`,
  );
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/**
 * Writes a video to `path` and returns when the file is whole. Frames are pulled one by one and only as fast as they are encoded; mp4, webm and png
 * hold two at most, gif and webp hold all of them until the end (sharp has no streaming form). A file that was there is replaced at the very end; on an
 * error or abort it stays as it was. An mp4 of odd size repeats its last column or row, as H.264 needs even sizes.
 * Throws what `checkOutput` throws, the source's own error, a RangeError on a wrong frame, an Error when the encoder fails.
 */
export async function saveVideo(video: Video, path: string, options: SaveOptions = {}): Promise<SavedVideo> {
  if (typeof (video as Partial<Video> | undefined)?.[Symbol.asyncIterator] !== 'function')
    throw new TypeError(`The video is ${shown(video)}; give what a pipeline returned, or a Video of your own.`);
  const { fps = video.fps, quality, signal } = options;
  signal?.throwIfAborted();
  const output = await checkOutput(path, { ...options, fps });
  const removePartial = (): void => rmSync(output.partial, { recursive: true, force: true });
  process.once('exit', removePartial);
  const iterator = video[Symbol.asyncIterator]();
  const stopped = abortion(signal);
  const makeSink = (): Sink =>
    openSink(output, { path: output.partial, width: video.width, height: video.height, fps, quality: quality ?? 80 });
  try {
    const { frames, milliseconds } = await encode(video, iterator, makeSink, stopped.promise, options.onFrame);
    if (output.kind !== 'sequence') await rename(output.partial, output.path);
    const names = output.kind === 'sequence' ? Array.from({ length: frames }, (_, i) => numbered(output.path, i + 1)) : [output.path];
    const sizes = await Promise.all(names.map(async (name) => (await stat(name)).size));
    return { path: output.path, frames, bytes: sizes.reduce((sum, size) => sum + size, 0), milliseconds };
  } finally {
    stopped.forget();
    process.off('exit', removePartial);
    await rm(output.partial, { recursive: true, force: true });
  }
}

/** Moves every frame from the source to the sink. The sink opens with the first frame: no encoder idles while a long generation computes. */
async function encode(
  video: Video,
  iterator: AsyncIterator<Frame>,
  makeSink: () => Sink,
  stopped: Promise<never>,
  onFrame?: (frames: number) => void,
): Promise<{ frames: number; milliseconds: number }> {
  let sink: Sink | undefined;
  let [frames, milliseconds, sourceEnded] = [0, 0, false];
  const timed = async (work: Promise<void>): Promise<void> => {
    const start = performance.now();
    await Promise.race([work, stopped, sink!.failed]);
    milliseconds += performance.now() - start;
  };
  try {
    for (;;) {
      const next = await Promise.race(sink ? [iterator.next(), stopped, sink.failed] : [iterator.next(), stopped]);
      sourceEnded = next.done === true;
      if (next.done) break;
      checkFrame(next.value, video.width, video.height);
      sink ??= makeSink();
      await timed(sink.write(next.value));
      frames++;
      onFrame?.(frames);
    }
    if (!sink) throw new Error('The video has no frames; nothing was written.');
    await timed(sink.finish());
    return { frames, milliseconds };
  } catch (error) {
    if (!sourceEnded) iterator.return?.().catch(() => {}); // not awaited: a source busy with a long step answers only after it
    await sink?.cancel();
    throw error;
  }
}

function openSink(output: Output, options: SinkOptions): Sink {
  if (output.kind === 'sequence') return sequenceSink((number) => numbered(output.path, number), output.partial);
  if (output.kind === 'gif' || output.kind === 'webp') return animationSink(output.kind, options);
  return ffmpegSink(output.kind, output.ffmpeg!, options);
}

/** `frame-%05d.png`, 7 -> `frame-00007.png`; only in the file's own name, never in a folder's. */
function numbered(pattern: string, number: number): string {
  const name = basename(pattern).replace(NUMBER, (_, digits: string) => String(number).padStart(Number(digits), '0'));
  return join(dirname(pattern), name);
}

function abortion(signal?: AbortSignal): { promise: Promise<never>; forget(): void } {
  let onAbort = (): void => {};
  const promise = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
  });
  promise.catch(() => {}); // an abort between two races is heard by the next one
  return { promise, forget: () => signal?.removeEventListener('abort', onAbort) };
}
