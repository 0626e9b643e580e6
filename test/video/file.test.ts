// Real files through the real encoders: what was written is read back with ffmpeg and sharp.
import { chmod, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UnsupportedError } from '../../src/errors.ts';
import { findFfmpeg } from '../../src/video/ffmpeg.ts';
import { checkOutput, saveVideo } from '../../src/video/file.ts';
import { frameDelays } from '../../src/video/sinks.ts';
import { gradientFrame, gradientVideo } from './gradient.ts';
import { binary, probe } from './probe.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'video-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const meanDifference = (a: Iterable<number>, b: Uint8Array): number => {
  const values = [...a];
  return values.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / values.length;
};

describe('saveVideo through ffmpeg', () => {
  it('writes an mp4 with the size, rate, count, colours and a leading moov', async () => {
    const path = join(folder, 'clip.mp4');
    let seen = 0;
    const saved = await saveVideo(gradientVideo(64, 48, 13), path, { onFrame: (n) => (seen = n) });
    const video = await probe(path);
    expect(video).toMatchObject({ codec: 'h264', format: 'yuv420p', width: 64, height: 48, fps: 12, frames: 13 });
    expect(saved).toMatchObject({ path, frames: 13 });
    expect(seen).toBe(13);
    const bytes = await readFile(path);
    expect(saved.bytes).toBe(bytes.length);
    expect(bytes.indexOf('moov')).toBeLessThan(bytes.indexOf('mdat'));
    expect(video.report).toMatch(/yuv420p\(tv, bt709/);
    for (const i of [0, 12])
      expect(meanDifference(video.pixels.subarray(i * 9216, (i + 1) * 9216), gradientFrame(i, 64, 48).data)).toBeLessThan(6);
    expect(await readdir(folder)).toEqual(['clip.mp4']);
  });

  it('pads an odd mp4 to even by repeating the edge, and leaves an odd webm as it is', async () => {
    await saveVideo(gradientVideo(33, 21, 3), join(folder, 'odd.mp4'));
    const mp4 = await probe(join(folder, 'odd.mp4'));
    expect(mp4).toMatchObject({ width: 34, height: 22, frames: 3 });
    const corner = mp4.pixels.subarray(34 * 22 * 3 - 3, 34 * 22 * 3);
    expect(corner[0]).toBeGreaterThan(200); // the gradient's bright corner, not a black border
    await saveVideo(gradientVideo(33, 21, 3), join(folder, 'odd.webm'));
    expect(await probe(join(folder, 'odd.webm'))).toMatchObject({ codec: 'vp9', width: 33, height: 21, frames: 3, fps: 12 });
  });

  it('takes another rate and makes a smaller file of lower quality', async () => {
    const video = () => gradientVideo(96, 64, 8);
    const good = await saveVideo(video(), join(folder, 'good.mp4'), { fps: 7.5, quality: 90 });
    const poor = await saveVideo(video(), join(folder, 'poor.mp4'), { quality: 20 });
    expect((await probe(good.path)).fps).toBe(7.5);
    expect(poor.bytes).toBeLessThan(0.7 * good.bytes);
  });

  it('pulls frames only as fast as they are encoded', async () => {
    let ahead = 0;
    let encoded = 0;
    const video = gradientVideo(640, 480, 40, 12, (i) => {
      ahead = Math.max(ahead, i - encoded);
    });
    await saveVideo(video, join(folder, 'long.mp4'), { onFrame: (n) => (encoded = n) });
    expect(video.pulled).toBe(40);
    expect(ahead).toBeLessThanOrEqual(1);
  });
});

describe('saveVideo through sharp', () => {
  it.each(['gif', 'webp'] as const)('writes an animated %s that loops', async (kind) => {
    const path = join(folder, `clip.${kind}`);
    const saved = await saveVideo(gradientVideo(40, 30, 6), path);
    const info = await sharp(path, { animated: true }).metadata();
    expect(info).toMatchObject({ format: kind, width: 40, pageHeight: 30, pages: 6, loop: 0 });
    expect(info.delay!.reduce((a, b) => a + b, 0)).toBe(500);
    const { data } = await sharp(path, { page: 5 }).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    expect(meanDifference(data, gradientFrame(5, 40, 30).data)).toBeLessThan(12);
    expect(saved.frames).toBe(6);
  });

  it('spreads a rate that has no whole delay', () => {
    expect(frameDelays(4, 12, 10)).toEqual([80, 90, 80, 80]);
    expect(frameDelays(3, 16, 1)).toEqual([63, 62, 63]);
  });

  it('writes a png for every frame, exactly, by pattern or into a new folder', async () => {
    const saved = await saveVideo(gradientVideo(17, 9, 3), join(folder, 'f-%03d.png'));
    expect((await readdir(folder)).sort()).toEqual(['f-001.png', 'f-002.png', 'f-003.png']);
    const pixels = await sharp(join(folder, 'f-003.png')).raw().toBuffer();
    expect(Uint8Array.from(pixels)).toEqual(gradientFrame(2, 17, 9).data);
    expect(saved.bytes).toBeGreaterThan(100);
    await saveVideo(gradientVideo(17, 9, 2), `${join(folder, 'frames')}/`);
    expect((await readdir(join(folder, 'frames'))).sort()).toEqual(['frame-00001.png', 'frame-00002.png']);
  });
});

describe('when it goes wrong', () => {
  const names = ['clip.mp4', 'clip.webm', 'clip.webp', 'f-%02d.png'];

  it.each(names)('an abort leaves nothing and tells the source: %s', async (name) => {
    const controller = new AbortController();
    const video = gradientVideo(64, 48, 30, 12, (i) => (i === 5 ? controller.abort(new Error('stop now')) : undefined));
    await expect(saveVideo(video, join(folder, name), { signal: controller.signal })).rejects.toThrow('stop now');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(video.returned).toBe(true);
    expect(video.pulled).toBeLessThan(8);
    expect(await readdir(folder)).toEqual([]);
  });

  it('an abort does not wait for a source that hangs', async () => {
    const controller = new AbortController();
    const video = gradientVideo(64, 48, 3, 12, (i) => (i === 1 ? new Promise<void>(() => {}) : undefined));
    setTimeout(() => controller.abort(), 100);
    await expect(saveVideo(video, join(folder, 'clip.mp4'), { signal: controller.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('an abort before the start pulls nothing', async () => {
    const video = gradientVideo(8, 8, 2);
    await expect(saveVideo(video, join(folder, 'clip.mp4'), { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    expect(video.pulled).toBe(0);
  });

  it.each(names)("the source's error comes through and the old file stays: %s", async (name) => {
    const path = join(folder, name);
    if (name !== 'f-%02d.png') await writeFile(path, 'old');
    const failure = new Error('step 3 went wrong');
    const video = gradientVideo(64, 48, 9, 12, (i) => {
      if (i === 3) throw failure;
    });
    await expect(saveVideo(video, path)).rejects.toBe(failure);
    expect(await readdir(folder)).toEqual(name === 'f-%02d.png' ? [] : [name]);
    if (name !== 'f-%02d.png') expect(await readFile(path, 'utf8')).toBe('old');
  });

  it('a frame of another size, and a video of none', async () => {
    const mixed = { ...gradientVideo(16, 16, 2), width: 32 };
    await expect(saveVideo(mixed, join(folder, 'clip.mp4'))).rejects.toThrow('Frame 0 is 16x16 but the video is 32x16');
    await expect(saveVideo(gradientVideo(16, 16, 0), join(folder, 'clip.mp4'))).rejects.toThrow('has no frames');
    expect(await readdir(folder)).toEqual([]);
  });

  it('an ffmpeg that dies while frames come', async () => {
    const dying = join(folder, 'dying');
    await writeFile(
      dying,
      `#!/bin/sh\ncase "$*" in *rawvideo*) head -c 100 >/dev/null; echo 'disk is full' >&2; exit 3;; *) exec "${binary}" "$@";; esac\n`,
    );
    await chmod(dying, 0o755);
    const failing = saveVideo(gradientVideo(320, 240, 50), join(folder, 'clip.mp4'), { ffmpeg: dying });
    await expect(failing).rejects.toThrow(/^ffmpeg could not encode the video: .*disk is full/);
    expect(await readdir(folder)).toEqual(['dying']);
  });
});

describe('checkOutput', () => {
  const unwritable = process.getuid?.() === 0 ? '/proc' : undefined; // root may write into any real folder

  it('names what cannot be written, before a frame is pulled', async () => {
    const video = gradientVideo(8, 8, 2);
    await expect(saveVideo(video, join(folder, 'clip.avi'))).rejects.toThrow(/clip\.avi".*\.mp4, \.webm/);
    await expect(saveVideo(video, join(folder, 'clip'))).rejects.toThrow(TypeError);
    await expect(saveVideo(video, join(folder, 'clip.png'))).rejects.toThrow('clip-%05d.png');
    await expect(saveVideo(video, join(folder, 'no', 'clip.mp4'))).rejects.toThrow(`The folder "${join(folder, 'no')}" does not exist`);
    await expect(saveVideo(video, join(folder, 'clip.mp4'), { fps: 0 })).rejects.toThrow('fps is 0');
    await expect(saveVideo(video, join(folder, 'clip.mp4'), { fps: Number.NaN })).rejects.toThrow('fps is NaN');
    await expect(saveVideo(video, join(folder, 'clip.mp4'), { quality: 101 })).rejects.toThrow('quality is 101');
    await expect(saveVideo(video, join(folder, 'clip.gif'), { quality: 50 })).rejects.toThrow('has no quality');
    expect(video.pulled).toBe(0);
  });

  it('finds a folder that takes no files', async () => {
    if (!unwritable) await chmod(folder, 0o555);
    await expect(checkOutput(join(unwritable ?? folder, 'clip.mp4'))).rejects.toThrow(/Nothing can be written into the folder .* \(E/);
    await chmod(folder, 0o755);
    await writeFile(join(folder, 'file'), '');
    await expect(checkOutput(join(folder, 'file', 'clip.mp4'))).rejects.toThrow('is not a folder');
  });

  it('leaves nothing behind and says where the video will be', async () => {
    expect(await checkOutput(join(folder, 'clip.webp'))).toMatchObject({
      kind: 'webp',
      path: join(folder, 'clip.webp'),
      ffmpeg: undefined,
    });
    expect(await checkOutput(`${folder}/`)).toMatchObject({ kind: 'sequence', path: join(folder, 'frame-%05d.png') });
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('findFfmpeg', () => {
  it('says that a named binary is missing, and does not take another', async () => {
    const path = join(folder, 'nowhere');
    const failing = saveVideo(gradientVideo(8, 8, 2), join(folder, 'clip.mp4'), { ffmpeg: path });
    await expect(failing).rejects.toThrow(UnsupportedError);
    await expect(failing).rejects.toThrow(/nowhere" from the option ffmpeg was not found\).*npm install @ffmpeg-installer\/ffmpeg.*\.webp/);
  });

  it('refuses a program without the encoder', async () => {
    await expect(findFfmpeg('libx264', process.execPath)).rejects.toThrow(/failed: it exited with code/);
    await expect(findFfmpeg('libnothing', binary)).rejects.toThrow('has no encoder libnothing');
  });

  it('takes FFMPEG_PATH before the package', async () => {
    const named = join(folder, 'ffmpeg-by-name');
    await symlink(binary, named);
    process.env.FFMPEG_PATH = named;
    try {
      expect(await findFfmpeg('libx264')).toBe(named);
    } finally {
      delete process.env.FFMPEG_PATH;
    }
    expect(await findFfmpeg('libx264')).toBe(binary);
  });

  it('says that a file may not be executed', async () => {
    const plain = join(folder, 'plain');
    await writeFile(plain, 'no program');
    await chmod(plain, 0o644);
    await expect(findFfmpeg('libx264', plain)).rejects.toThrow('may not be executed');
  });
});
