// The judge against PyTorch's figures for the same clips: view, probe, templates and tracks. Clips are made of sprites by whole numbers alone.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { loadRuntime } from '../../src/backend/runtime.ts';
import { type TensorData, writeSafetensors } from '../../src/dit/weights.ts';
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

/** A sprite that flies to the left before a background of training: the 8 frames that the judge sees of 33, 160 x 160. */
async function renderLike(subject: string, scene: string): Promise<Frame[]> {
  const size = 160;
  const assets = join(world.folder, 'assets');
  const sheets = JSON.parse(readFileSync(join(assets, 'index.json'), 'utf8')).subjects;
  const { code, cols, n } = sheets.find(({ name }: { name: string }) => name === subject);
  const [far, near] = ['far', 'near'].map((plane) =>
    join(assets, `${plane}_${world.scenes.findIndex(({ name }) => name === scene)}_0.webp`),
  );
  const height = (await sharp(far).metadata()).height;
  const middle = { left: height / 2, top: 0, width: height, height };
  const layers = await Promise.all([near].filter(existsSync).map((file) => sharp(file).extract(middle).toBuffer()));
  const back = await sharp(
    await sharp(far)
      .extract(middle)
      .composite(layers.map((input) => ({ input })))
      .toBuffer(),
  )
    .resize(size, size)
    .toBuffer();
  const side = Math.round(0.36 * size);
  return Promise.all(
    [0, 5, 9, 14, 18, 23, 27, 32].map(async (k, index) => {
      const cell = { left: ((k % n) % cols) * 128, top: Math.floor((k % n) / cols) * 128, width: 128, height: 128 };
      const input = await sharp(join(assets, `sprite_${code}.webp`))
        .extract(cell)
        .resize(side, side)
        .toBuffer();
      const left = Math.round(size * (0.5 - 0.36 * 0.8 * ((k - 16) / 24)) - side / 2);
      const picture = sharp(back).composite([{ input, left, top: Math.round(size / 2 - side / 2) }]);
      return { index, width: size, height: size, data: new Uint8Array(await picture.removeAlpha().raw().toBuffer()) };
    }),
  );
}

/** A probe's tensors: matrices of int8 with a power of two as scale, the rest small fractions, by the place of each in PyTorch's state_dict. */
function formulaWeights(): Record<string, TensorData> {
  const norm = (name: string, width: number) =>
    ['weight', 'bias', 'running_mean', 'running_var'].map((part): [string, number[]] => [`${name}.${part}`, [width]]);
  const convs = [32, 64, 96, 128].flatMap((width, at): [string, number[]][] => [
    [`frames.${3 * at}.weight`, [width, [3, 32, 64, 96][at], 3, 3]],
    ...norm(`frames.${3 * at + 1}`, width),
  ]);
  const { subject, scene, motion } = golden.heads;
  const shapes: [string, number[]][] = [
    ...convs,
    ...[['clip.0.weight', [64, 128, 3, 3, 3]] as [string, number[]], ...norm('clip.1', 64)],
    ...[['clip.3.weight', [24, 64, 3, 3, 3]] as [string, number[]], ...norm('clip.4', 24)],
    ...(['clip.7', 'heads.subject', 'heads.scene', 'heads.motion'] as const).flatMap((name, at): [string, number[]][] => {
      const [rows, columns] = [[192, subject, scene, motion][at], at === 0 ? 1536 : 448];
      return [
        [`${name}.weight`, [rows, columns]],
        [`${name}.bias`, [rows]],
      ];
    }),
  ];
  return Object.fromEntries(shapes.flatMap(([name, shape], at) => tensorsOf(name, shape, at)));
}

function tensorsOf(name: string, shape: number[], place: number): [string, TensorData][] {
  const count = shape.reduce((product, size) => product * size, 1);
  const fill = { weight: (i: number) => 1 + (i % 4) / 8, bias: (i: number) => ((i % 5) - 2) / 8 };
  const statistics = { running_mean: (i: number) => ((i % 3) - 1) / 8, running_var: (i: number) => 1 + (i % 2) / 2 };
  const part = name.split('.').pop() as 'weight';
  if (shape.length === 1)
    return [[name, { dtype: 'F32', shape, data: Float32Array.from({ length: count }, (_, i) => ({ ...fill, ...statistics })[part](i)) }]];
  const data = Int8Array.from({ length: count }, (_, i) => ((i * 37 + (i >> 7) * 11 + place * 101) % 255) - 127);
  const scale = 2 ** -Math.round(Math.log2(73 * Math.sqrt(count / shape[0] / 2)));
  return [
    [name, { dtype: 'I8', shape, data }],
    [`${name}:scale`, { dtype: 'F32', shape: [shape[0]], data: new Float32Array(shape[0]).fill(scale) }],
  ];
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

  it('has the logits of PyTorch, with weights by a formula', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zoetrope-probe-'));
    await writeSafetensors(join(folder, 'probe.safetensors'), formulaWeights());
    const times = <T>(list: readonly T[], count: number): T[] => Array.from({ length: count }, () => list[0]);
    const { subject, scene, motion } = golden.heads;
    const named = { subjects: times(world.subjects, subject), scenes: times(world.scenes, scene), motions: times(world.motions, motion) };
    const probe = await openProbe({ ...world, ...named, folder }, await loadRuntime());
    const logits = await probe.logits(viewOf(await clipOf(one)));
    for (const head of HEADS) nearTo(logits[head], one.logits[head], 2e-5);
    await probe.dispose();
    rmSync(folder, { recursive: true });
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

it('names subject, scene and motion of a clip like those of training, and tells what was not asked for', async () => {
  const frames = await renderLike('helicopter', 'blue sky');
  const asked = { subject: 'helicopter', scene: 'blue sky', motion: 'left', size: '' };
  const found = await judge.judge(frames, asked);
  expect(found).toMatchObject({ subject: true, scene: true, motion: true, direction: true });
  for (const head of HEADS) expect(found.verdict[head].probability).toBeGreaterThan(0.5);
  expect(found.peak).toBeGreaterThan(0.7);
  const other = await judge.judge(frames, { subject: 'robot', scene: 'sea', motion: 'right', size: 'small' });
  expect(other).toMatchObject({ subject: false, scene: false, motion: false, direction: false });
  expect(await judge.judge(frames, { ...asked, motion: 'still' })).not.toHaveProperty('direction');
});

it('a clip that stands still has no direction', async () => {
  const fish = golden.clips[2];
  const { direction } = await judge.track(await clipOf({ ...fish, step: [0, 0] }), fish);
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
