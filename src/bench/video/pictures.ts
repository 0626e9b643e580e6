// Small frames of a video as text, for pages that show contenders side by side.
import type { Frame } from '../../video/frame.ts';

/** Longest side of a small frame in pixels, and how well it is kept. */
const SIDE = 96;
const QUALITY = 60;

/** Makes some frames of a video small, as data URLs of webp pictures: the first, the last, and others evenly between. */
export type Shrink = (frames: readonly Frame[]) => Promise<readonly string[]>;

/** A `Shrink` to so many frames, or the reason why there is none: sharp, which draws them, may not be installed. */
export async function shrinker(count: number): Promise<Shrink | string> {
  const video = await import('../../video/frames.ts').catch((error: Error) => error);
  if (video instanceof Error) return `no frames are kept, because sharp does not load: ${video.message.split('\n')[0]}`;
  const small = async (frame: Frame): Promise<string> => {
    const image = video.frameImage(frame).resize({ width: SIDE, height: SIDE, fit: 'inside', withoutEnlargement: true });
    return `data:image/webp;base64,${(await image.webp({ quality: QUALITY }).toBuffer()).toString('base64')}`;
  };
  return (frames) => Promise.all(chosen(frames.length, count).map((at) => small(frames[at])));
}

/** `count` of `length` places, spread evenly from the first to the last. */
function chosen(length: number, count: number): number[] {
  if (count >= length) return Array.from({ length }, (_, at) => at);
  if (count === 1) return [length >> 1];
  return Array.from({ length: count }, (_, at) => Math.round((at * (length - 1)) / (count - 1)));
}
