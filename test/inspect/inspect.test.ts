// Plans of a run of the embedded model, seen from inside: figures, pictures of made-up plans, the folder, the text, what is refused.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseArguments } from '../../src/cli/arguments.ts';
import { adaSpa, pyramidSparse, stepCache, tiles } from '../../src/index.ts';
import { levelColour, QUERY, UNREAD } from '../../src/inspect/colours.ts';
import { blockMap, middleBlock, neighbourhood } from '../../src/inspect/pictures.ts';
import { type InspectedPlan, type Inspection, inspectRun } from '../../src/inspect/run.ts';
import { type InspectionFigures, saveInspection } from '../../src/inspect/save.ts';
import { inspectionText } from '../../src/inspect/text.ts';
import { TextToVideoPipeline } from '../../src/pipeline.ts';
import type { Frame } from '../../src/video/frame.ts';

const PROMPT = 'a rocket flying up over a night sky';
const settings = { width: 128, height: 96, numFrames: 9, numInferenceSteps: 4, guidanceInterval: [0, 0] as const, seed: 3 };

let pipe: TextToVideoPipeline;
let seen: Inspection;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'inspect-'));
  pipe = await TextToVideoPipeline.fromPretrained();
  seen = await inspectRun(pipe, PROMPT, { method: pyramidSparse(), layers: [0, 7], atSteps: [2, 3], settings });
});
afterAll(async () => {
  await pipe.dispose();
  rmSync(folder, { recursive: true });
});

describe('inspectRun', () => {
  test('counts every layer at every step, and looks closely at those asked for', () => {
    expect(seen).toMatchObject({
      prompt: PROMPT,
      method: 'pyramidSparse',
      layers: 8,
      heads: 4,
      grid: { frames: 3, height: 6, width: 8, text: 0 },
    });
    expect(seen.calls.length).toBe(4 * 8);
    expect(
      seen.calls.filter(({ step }) => step === 0).every(({ phase, density }) => phase === 'dense' && density.every((x) => x === 1)),
    ).toBe(true);
    expect(seen.plans.map(({ step, layer }) => [step, layer])).toEqual([
      [2, 0],
      [2, 7],
      [3, 0],
      [3, 7],
    ]);
    expect(seen.frames.map(({ index }) => index)).toEqual([0, 4, 8]);
  });

  test('the map of a plan has its density and its recall', () => {
    for (const { levels, pools, heads, layout, density } of seen.plans) {
      expect(pools).toEqual([1, 2, 4, 8]);
      const size = layout.q.blocks * layout.k.blocks;
      for (const [head, own] of heads.entries()) {
        const map = levels.subarray(head * size, (head + 1) * size);
        const work = map.reduce((sum, level) => sum + (level === 0 ? 0 : 1 / pools[level - 1]), 0);
        expect(own.density).toBeCloseTo(work / size, 6);
        expect(density[head]).toBe(own.density);
        expect(own.read).toBeGreaterThanOrEqual(own.full);
        if (map.every((level) => level > 0)) expect(own.read).toBeCloseTo(1, 5);
        else expect(own.read).toBeLessThan(1);
      }
    }
    expect(seen.plans.some(({ heads }) => heads.some(({ read }) => read < 1))).toBe(true);
  });

  test('the run is the one that it would have been', async () => {
    const method = adaSpa({ sparsity: 0.5 });
    const inspected = await inspectRun(pipe, PROMPT, { method, layers: [1], atSteps: 'all', settings });
    const plain: Frame[] = [];
    const video = pipe(PROMPT, { ...settings, attention: method });
    for await (const frame of video) plain.push(frame);
    for (const { index, data } of inspected.frames) expect(Buffer.from(data).equals(plain[index].data)).toBe(true);
    expect((await video.report).meanDensity).toBeCloseTo(inspected.report.meanDensity, 6);
    const first = inspected.plans[0];
    expect(first).toMatchObject({ phase: 'search', isRead: false, density: [1, 1, 1, 1] });
    expect(Math.min(...first.heads.map(({ density }) => density))).toBeLessThan(1);
  });

  test('steps that a cache skips count as 0, and the plan after them is looked at', async () => {
    const densities: number[] = [];
    const { plans, report } = await inspectRun(pipe, PROMPT, {
      method: adaSpa({ sparsity: 0.5 }),
      layers: [1],
      settings: { ...settings, numInferenceSteps: 6, cache: stepCache({ threshold: 1e6 }) },
      onStep: ({ density }) => densities.push(density),
    });
    expect(report.stepsSkipped).toBe(3);
    expect(densities.map((density) => density > 0)).toEqual([true, true, false, false, false, true]);
    expect(report.meanDensity).toBeCloseTo(densities.reduce((sum, density) => sum + density) / 6, 6);
    expect(plans.map(({ step, layer, isRead }) => [step, layer, isRead])).toEqual([[5, 1, true]]);
  });

  test('a layer or step that there is not is refused', async () => {
    const method = adaSpa();
    await expect(inspectRun(pipe, PROMPT, { method, layers: [8], settings })).rejects.toThrow('there is no layer 8: the model has 8');
    await expect(inspectRun(pipe, PROMPT, { method, atSteps: [4], settings })).rejects.toThrow('there is no step 4: the run has 4');
  });
});

/** Four tiles of 2 x 4 x 4 tokens side by side; the first query block reads itself in full and the last one at a half. */
function madeUp(): InspectedPlan {
  const layout = tiles(2, 4, 4)({ frames: 2, height: 8, width: 8, text: 0 });
  const levels = new Uint8Array(16);
  levels.set([1, 0, 0, 2]);
  const heads = [{ density: 0.375, read: 0.5, full: 0.4 }];
  return {
    step: 0,
    layer: 0,
    phase: 'search',
    density: [0.375],
    layout: { q: layout, k: layout },
    pools: [1, 2],
    levels,
    isRead: true,
    heads,
  };
}

const pixel = ({ data, width }: Frame, x: number, y: number): number[] => [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];

describe('pictures', () => {
  test('a block map has a cell for each pair, in the colour of its level', () => {
    const map = blockMap(madeUp(), 0);
    const side = map.width / 4;
    const row = [0, 1, 2, 3].map((block) => pixel(map, block * side + side / 2, 1));
    expect(row).toEqual([levelColour(0), UNREAD, UNREAD, levelColour(1)].map((colour) => [...colour]));
    expect(pixel(map, 1, side + 1)).toEqual([...UNREAD]);
  });

  test('a neighbourhood is bright where it is read, dark where not, and has an outline', async () => {
    const frame = (index: number): Frame => ({ index, width: 192, height: 192, data: new Uint8Array(192 * 192 * 3).fill(200) });
    const around = await neighbourhood({ ...seen, frames: [frame(0), frame(1)] }, madeUp(), 0, 0);
    expect(pixel(around, 0, 0)).toEqual([...QUERY]);
    expect(pixel(around, 48, 48)).toEqual([219, 203, 165]); // .65 of the frame and .35 of the first level's yellow
    expect(Math.max(...pixel(around, 144, 48))).toBeLessThan(60);
    const half = pixel(around, 144, 144);
    expect(half[1]).toBeGreaterThan(half[0] + 50); // green, as the second level
    expect(middleBlock(madeUp())).toBe(3);
    await expect(neighbourhood(seen, madeUp(), 0, 4)).rejects.toThrow('there is no query block 4: this layout has 4');
  });
});

describe('an inspection', () => {
  test('is a folder of pictures and figures, and takes the place of an earlier one alone', async () => {
    const place = join(folder, 'plans');
    await saveInspection(seen, place);
    await saveInspection({ ...seen, plans: seen.plans.slice(0, 1) }, place);
    const figures: InspectionFigures = JSON.parse(readFileSync(join(place, 'inspection.json'), 'utf8'));
    expect(figures).toMatchObject({ inspect: 'run', seed: 3, steps: 4, plans: [{ step: 2, layer: 0, pools: [1, 2, 4, 8] }] });
    const files = figures.plans[0].heads.flatMap(({ map, neighbourhood: around }) => [map!, around!]);
    expect(readdirSync(place).sort()).toEqual([...files, 'inspection.json'].sort());
    expect(await sharp(join(place, files[0])).metadata()).toMatchObject({ format: 'png' });
    expect(await sharp(join(place, files[1])).metadata()).toMatchObject({ format: 'webp' });
    const other = join(folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'mine.txt'), 'mine');
    await expect(saveInspection(seen, other)).rejects.toThrow('holds other files');
    await expect(saveInspection(seen, join(other, 'mine.txt'))).rejects.toThrow('is not a folder');
    expect(readdirSync(other)).toEqual(['mine.txt']);
    expect(readdirSync(folder).sort()).toEqual(['other', 'plans']);
  });

  test('is a text of its steps, plans and maps', () => {
    const lines = inspectionText(seen, 60).split('\n');
    expect(lines[0]).toBe(`pyramidSparse: "${PROMPT}", seed 3, 128x96, 9 frames`);
    expect(lines[3]).toBe(`step   0  1.00  ${'█'.repeat(20)}  dense`);
    expect(
      lines.filter((line) => /^step 3, layer 7 \(search\): curve\(64\), 3 blocks of 64, levels full, 1\/2, 1\/4, 1\/8$/.test(line)).length,
    ).toBe(1);
    expect(Math.max(...lines.slice(3).map(({ length }) => length))).toBeLessThan(80);
  });
});

test('the words of zoetrope inspect', () => {
  const parse = (...words: string[]) => parseArguments(['inspect', ...words], '1.2.3');
  expect(parse('a', 'red car', '--layers', '0,7', '--at-steps', 'all', '--steps', '6', '-o', 'plans')).toMatchObject({
    ...{ command: 'inspect', prompt: 'a red car', layers: [0, 7], atSteps: 'all', numInferenceSteps: 6, output: 'plans', method: 'adaspa' },
  });
  expect(() => parse('a car', '--layers', '0,x')).toThrow('layers is "x"; give whole numbers from 0');
  expect(() => parse('--json')).toThrow('The prompt is missing');
  expect(() => parse('a car', '--method', 'dense', '--sparsity', '0.5')).toThrow('--sparsity 0.5 needs a --method');
});
