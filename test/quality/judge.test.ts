// The judge against PyTorch's figures for the same clips: view, probe, templates and tracks. Clips are made of sprites by whole numbers alone.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { loadRuntime } from '../../src/backend/runtime.ts';
import { loadJudge } from '../../src/quality/judge.ts';
import { openProbe } from '../../src/quality/probe.ts';
import { HEADS } from '../../src/quality/prompts.ts';
import { templatesOf } from '../../src/quality/sprites.ts';
import { viewOf } from '../../src/quality/view.ts';
import type { Frame } from '../../src/video/frame.ts';
import { flat } from './clips.ts';
import golden from './judge.json' with { type: 'json' };

const judge = await loadJudge();
const { world } = judge;
afterAll(() => judge.dispose());

/** A sprite of `side` pixels that moves by `step` a frame over coloured slopes: 9 frames of 160 x 160. */
async function clipOf({ subject, side, step: [dx, dy] }: { subject: string; side: number; step: number[] }): Promise<Frame[]> {
  const size = 160;
  const sheets = JSON.parse(readFileSync(join(world.folder, 'assets', 'index.json'), 'utf8')).subjects;
  const { code, cols, n } = sheets.find(({ name }: { name: string }) => name === subject);
  const file = join(world.folder, 'assets', `sprite_${code}.webp`);
  const sheet = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return Array.from({ length: 9 }, (_, t) => {
    const data = new Uint8Array(size * size * 3);
    const [left, top] = [dx, dy].map((by) => (size - side) / 2 + by * (t - 4));
    const [row, column] = [Math.floor((t % n) / cols) * 128, ((t % n) % cols) * 128];
    for (let i = 0; i < size * size; i++) {
      const [y, x] = [Math.floor(i / size), i % size];
      data.set([(x + y) >> 1, 200 - Math.floor((x * y) / 200), 90 + (y >> 1)], 3 * i);
      if (x < left || y < top || x >= left + side || y >= top + side) continue;
      const [atY, atX] = [y - top, x - left].map((at) => Math.floor((at * 128) / side));
      const from = ((row + atY) * sheet.info.width + column + atX) * 4;
      if (sheet.data[from + 3] > 127) data.set(sheet.data.subarray(from, from + 3), 3 * i);
    }
    return { index: t, width: size, height: size, data };
  });
}

const nearTo = (found: ArrayLike<number>, expected: readonly number[], within: number): void => {
  expect(found).toHaveLength(expected.length);
  for (const [at, value] of expected.entries()) expect(Math.abs(found[at] - value), `number ${at}`).toBeLessThan(within);
};

describe.each(golden.clips)('a clip of a $subject', (one) => {
  it('looks to the judge as to PyTorch', async () => {
    const view = viewOf(await clipOf(one));
    const mean = (of: (value: number) => number) => view.reduce((sum, value) => sum + of(value), 0) / view.length;
    nearTo([mean((value) => value), mean((value) => value ** 2), view[((3 * 3 + 1) * 128 + 70) * 128 + 77]], one.view, 2e-6);
  });

  it('has the logits of PyTorch', async () => {
    const probe = await openProbe(world, await loadRuntime());
    const logits = await probe.logits(viewOf(await clipOf(one)));
    for (const head of HEADS) nearTo(logits[head], one.logits[head], 1e-4);
    await probe.dispose();
  });

  it('is tracked where PyTorch finds it, the way it goes', async () => {
    const { direction, path, peaks } = await judge.track(await clipOf(one), one);
    expect(path.map(({ x, y }) => [128 * x, 128 * y])).toEqual(one.path);
    nearTo(peaks, one.peaks, 1e-4);
    expect(direction).toBe(one.direction);
  });
});

it.each(golden.templates)(
  'templates of a $subject are those of the renderer, turned and flipped',
  async ({ subject, size, side, colour, mask }) => {
    const found = await templatesOf(world, subject, size);
    expect(found.side).toBe(side);
    for (let one = 0; one < found.count; one++) {
      let [ramp, opaque] = [0, 0];
      for (let i = 0; i < side ** 2; i++) {
        const weight = (Math.floor(i / side) + 2 * (i % side)) / side;
        for (let c = 0; c < 3; c++) ramp += weight * found.colour[(one * 3 + c) * side ** 2 + i];
        opaque += found.mask[one * side ** 2 + i];
      }
      expect(Math.abs(ramp / colour[one] - 1)).toBeLessThan(1e-5);
      expect(opaque).toBe(mask[one]);
    }
  },
);

it('judges a clip against what was asked for', async () => {
  const [car] = golden.clips;
  const frames = await clipOf(car);
  const asked = { subject: 'red car', scene: 'sunset', motion: 'left', size: '' };
  const found = await judge.judge(frames, asked);
  expect(found).toMatchObject({ subject: true, direction: true });
  expect(await judge.judge(frames, { ...asked, motion: 'right' })).toMatchObject({ subject: true, direction: false });
  expect(await judge.judge(frames, { ...asked, motion: 'still' })).not.toHaveProperty('direction');
  expect(found.verdict.subject.probability).toBeGreaterThan(0.5);
});

it('a clip that stands still has no direction', async () => {
  const { direction } = await judge.track(await clipOf({ ...golden.clips[0], step: [0, 0] }), golden.clips[0]);
  expect(direction).toBeUndefined();
});

it('refuses what it cannot judge, in one sentence', async () => {
  await expect(judge.verdict(flat([1, 2, 3]))).rejects.toThrow('The clip has 3 frames; it takes at least 8 to judge one.');
  await expect(judge.track(flat(Array(8).fill(9)), { subject: 'sphinx', size: '' })).rejects.toThrow(
    'subject is "sphinx"; there are sprites of rocket',
  );
  await expect(judge.track(flat(Array(8).fill(9)), { subject: 'rocket', size: 'vast' })).rejects.toThrow(
    'size is "vast"; the world has "small", "", "big".',
  );
});

it('a folder without a probe, or with that of another world, is one sentence', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zoetrope-judge-'));
  mkdirSync(join(folder, 'assets'));
  const { folder: from, ...grammar } = world;
  writeFileSync(join(folder, 'grammar.json'), JSON.stringify({ ...grammar, scenes: grammar.scenes.slice(1) }));
  await expect(loadJudge({ folder })).rejects.toThrow('probe.safetensors": there is no such file');
  cpSync(join(from, 'probe.safetensors'), join(folder, 'probe.safetensors'));
  await expect(loadJudge({ folder })).rejects.toThrow(
    /probe.safetensors tells 9 scenes apart and grammar.json beside it names 8; take both from one training/,
  );
  rmSync(folder, { recursive: true });
});
