// Tables of windows and shares: made from runs of the embedded model, chosen by hand-worked errors, refused where they do not fit.
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAttention } from '../../src/attention.ts';
import { calibrate } from '../../src/calibration/calibrate.ts';
import { type Calibration, chosenWindows } from '../../src/calibration/calibration.ts';
import { checkModel, readCalibration } from '../../src/calibration/file.ts';
import { numbers } from '../../src/conformance/inputs.ts';
import { embeddedModel } from '../../src/embedded-model.ts';
import { expectedDensity } from '../../src/method-density.ts';
import { slidingTile, tca } from '../../src/methods.ts';
import { TextToVideoPipeline } from '../../src/pipeline.ts';
import { openedOps } from '../backend/opened.ts';

const byHand: Calibration = {
  ...{ what: 'zoetrope calibration', version: 1, model: { name: 'by hand', digest: '0' } },
  shape: { layers: 2, heads: 2, dim: 8, frames: 4, height: 12, width: 12 },
  recorded: { prompts: ['one'], seeds: [1], steps: 4, calls: 2 },
  windows: {
    tile: [4, 4, 4],
    candidates: [
      [null, null, null],
      [null, 3, 3],
      [null, 1, 1],
    ],
    densities: [1, 0.5, 0.1],
    // Head 0 of layer 0 loses little by its smallest window, head 1 of layer 1 much.
    errors: [
      [
        [0, 0.001, 0.002],
        [0, 0.1, 0.3],
      ],
      [
        [0, 0.05, 0.1],
        [0, 0.4, 0.9],
      ],
    ],
  },
  shares: {
    cover: 0.9,
    heads: [
      [0.25, 0.5],
      [1, 0.75],
    ],
  },
};
const grid = { frames: 4, height: 12, width: 12, text: 0 };
const site = { step: 0, steps: 1, layer: 0, layers: 2, branches: [0], grid };

test('windows have the least error under a bound of density', () => {
  const [all, near, own] = [
    [Infinity, Infinity, Infinity],
    [Infinity, 3, 3],
    [Infinity, 1, 1],
  ];
  expect(chosenWindows(byHand, 1)).toEqual([
    [all, all],
    [all, all],
  ]);
  // What loses least for its density is given up first: (.1 + 1 + .1 + 1) / 4, then (.1 + .5 + .1 + 1) / 4.
  expect(chosenWindows(byHand, 0.56)).toEqual([
    [own, all],
    [own, all],
  ]);
  expect(chosenWindows(byHand, 0.45)).toEqual([
    [own, near],
    [own, all],
  ]);
  expect(chosenWindows(byHand, 0.01).flat()).toEqual([own, own, own, own]);
});

test('methods read by the tables, and refuse calls of another shape', async () => {
  const ops = await openedOps('onnxruntime-node');
  const draw = (heads: number) => ops.upload(numbers(heads * 576 * 8, 1), [heads, 576, 8]);
  const densityOf = async (method: ReturnType<typeof tca>, layer = 0) => {
    const bound = createAttention(ops, { ...method, schedule: () => 'search', checkPlans: true });
    bound.attention(draw(2), draw(2), draw(2), { ...site, layer });
    return bound.density();
  };
  const sparse = slidingTile({ calibration: byHand, density: 0.01 });
  // The own tile of 9, and of nine.
  expect(await densityOf(sparse)).toBeCloseTo(1 / 9, 6);
  expect(await densityOf(slidingTile({ calibration: byHand, density: 1 }))).toBe(1);
  expect(expectedDensity({ ...sparse, schedule: () => 'search' }, 2, 2, grid)).toBeCloseTo(1 / 9, 6);
  // Shares of nine blocks are rounded up: (3 + 5) / 18 and (9 + 7) / 18.
  expect(await densityOf(tca({ calibration: byHand }))).toBeCloseTo(8 / 18, 6);
  expect(await densityOf(tca({ calibration: byHand }), 1)).toBeCloseTo(16 / 18, 6);
  for (const method of [sparse, tca({ calibration: byHand })]) {
    const { attention } = createAttention(ops, { ...method, schedule: () => 'search' });
    expect(() => attention(draw(4), draw(4), draw(4), site)).toThrow(
      'the calibration is for 2 layers of 2 heads of 8 on 4 x 12 x 12 tokens, not for 2 layers of 4 heads of 8 on 4 x 12 x 12 tokens',
    );
  }
  expect(() => slidingTile({ calibration: byHand, density: 0 })).toThrow('a density of 0');
});

test('files that are none, damaged or of another model are refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'calibration-'));
  const file = join(folder, 'c.json');
  const read = async (content: unknown) => {
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
    return readCalibration(file);
  };
  await expect(readCalibration(join(folder, 'none.json'))).rejects.toThrow('there is no calibration');
  await expect(read('{"what": ')).rejects.toThrow('is no calibration');
  await expect(read({ ...byHand, version: 2 })).rejects.toThrow('version 2');
  await expect(read({ ...byHand, shares: { cover: 0.9, heads: [[0.5, 2]] } })).rejects.toThrow('one share for each layer and head');
  await expect(read({ ...byHand, windows: { ...byHand.windows, errors: [] } })).rejects.toThrow('one error for each layer');
  expect(await read(byHand)).toEqual(byHand);
  await expect(checkModel(byHand, embeddedModel())).rejects.toThrow('of the model by hand, not of wan-mini');
});

test('a model is recorded', async () => {
  const pipe = await TextToVideoPipeline.fromPretrained();
  try {
    const settings = { width: 96, height: 96, numFrames: 17, numInferenceSteps: 2, guidanceScale: 1 };
    const found = await calibrate(pipe, { prompts: [pipe.vocabulary!.prompts[0]], seeds: [1], settings });
    expect(found.shape).toEqual({ layers: 8, heads: 4, dim: 64, frames: 5, height: 6, width: 6 });
    expect(found.recorded.calls).toBe(16);
    const { errors, densities } = found.windows;
    for (const own of errors.flat()) {
      expect(own[0]).toBeLessThan(1e-9); // reads all
      expect(Math.max(...own)).toBeGreaterThan(1e-6);
    }
    expect(densities[0]).toBe(1);
    for (const share of found.shares.heads.flat()) expect(share > 0 && share <= 1).toBe(true);
    await checkModel(found, pipe.folder);
  } finally {
    await pipe.dispose();
  }
});
