// Stills and contact sheets, read back pixel by pixel.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, it } from 'vitest';
import { contactSheet, saveStill } from '../../src/video/frames.ts';
import { gradientFrame } from './gradient.ts';

it('writes one frame as png, jpg and webp', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'still-'));
  const frame = gradientFrame(0, 20, 10);
  for (const name of ['a.png', 'a.jpg', 'a.webp']) {
    await saveStill(frame, join(folder, name));
    const { data, info } = await sharp(join(folder, name)).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([20, 10]);
    if (name === 'a.png') expect(Uint8Array.from(data)).toEqual(frame.data);
  }
  expect((await readdir(folder)).sort()).toEqual(['a.jpg', 'a.png', 'a.webp']);
  await expect(saveStill(frame, join(folder, 'a.bmp'))).rejects.toThrow('.png, .jpg or .webp');
  await expect(saveStill({ ...frame, width: 21 }, join(folder, 'b.png'))).rejects.toThrow('21x10 RGB needs 630');
  await rm(folder, { recursive: true });
});

it('lays frames out row by row', () => {
  const frames = [0, 1, 2, 3, 4].map((i) => gradientFrame(i, 6, 4));
  const sheet = contactSheet(frames, 3);
  expect([sheet.width, sheet.height]).toEqual([18, 8]);
  const pixel = (x: number, y: number) => [...sheet.data.subarray((y * 18 + x) * 3, (y * 18 + x) * 3 + 3)];
  expect(pixel(6 + 5, 4 + 3)).toEqual([...frames[4].data.slice(-3)]);
  expect(pixel(17, 7)).toEqual([0, 0, 0]);
  expect(contactSheet(frames).width).toBe(18);
  expect(() => contactSheet([])).toThrow('at least one frame');
  expect(() => contactSheet(frames, 0)).toThrow('0 was given');
  expect(() => contactSheet([frames[0], gradientFrame(1, 4, 4)])).toThrow('Frame 1 is 4x4');
});
