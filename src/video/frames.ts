// Still pictures from frames: one frame as a file (sharp), and many frames as one contact sheet.

import { rename, rm } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { checkObject, shown } from '../checks.ts';
import { checkFrame, type Frame } from './frame.ts';
import { checkPlace, partialPath } from './place.ts';

const STILL_EXTENSIONS = ['.png', '.jpg', '.jpeg', '.webp'];

/** A sharp image of one frame. */
export function frameImage(frame: Frame): Sharp {
  const { width, height, data } = frame;
  return sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
}

/** Checks that a still can be written to `path`. Throws a TypeError unless it ends in .png, .jpg, .jpeg or .webp, an Error when the folder takes no files. */
export async function checkStill(path: string): Promise<void> {
  if (typeof path !== 'string') throw new TypeError(`The path of the picture is ${shown(path)}; give a name such as 'frame.png'.`);
  if (!STILL_EXTENSIONS.includes(extname(path).toLowerCase())) {
    throw new TypeError(`A still picture cannot be written to "${path}": give a name that ends in .png, .jpg or .webp.`);
  }
  await checkPlace(resolve(path));
}

/**
 * Writes one frame as .png, .jpg or .webp (by extension; jpg and webp at quality 90). The file appears whole or not at all, so a viewer that
 * watches a preview never reads half a picture. Throws what `checkStill` throws.
 */
export async function saveStill(frame: Frame, path: string): Promise<void> {
  await checkStill(path);
  checkObject('The frame is', frame, 'give one that a video has.');
  checkFrame(frame, frame.width, frame.height);
  const partial = partialPath(resolve(path));
  const extension = extname(path).toLowerCase();
  const image = frameImage(frame);
  const encoded = extension === '.png' ? image.png() : extension === '.webp' ? image.webp({ quality: 90 }) : image.jpeg({ quality: 90 });
  try {
    await encoded.toFile(partial);
    await rename(partial, resolve(path));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/**
 * Lays frames out row by row, `columns` in a row, into one frame of `columns * width` x `ceil(count / columns) * height` pixels; cells that stay
 * empty are black. Throws a RangeError on no frames, on frames of unequal size, and when `columns` is not a positive integer.
 */
export function contactSheet(frames: readonly Frame[], columns: number = Math.ceil(Math.sqrt(frames?.length))): Frame {
  if (!Array.isArray(frames)) throw new TypeError(`The frames are ${shown(frames)}; give a list of them.`);
  if (frames.length === 0) throw new RangeError('A contact sheet needs at least one frame; 0 were given.');
  if (!Number.isInteger(columns) || columns < 1) throw new RangeError(`A contact sheet needs 1 or more columns; ${columns} was given.`);
  const { width, height } = frames[0];
  const across = Math.min(columns, frames.length);
  const rows = Math.ceil(frames.length / across);
  const sheetWidth = across * width;
  const data = new Uint8Array(sheetWidth * rows * height * 3);
  frames.forEach((frame, i) => {
    checkFrame(frame, width, height);
    const corner = (Math.floor(i / across) * height * sheetWidth + (i % across) * width) * 3;
    for (let y = 0; y < height; y++) data.set(frame.data.subarray(y * width * 3, (y + 1) * width * 3), corner + y * sheetWidth * 3);
  });
  return { index: 0, width: sheetWidth, height: rows * height, data };
}
