// What plain JavaScript may give: arguments left out, misspelt or of another kind, each answered with one sentence.
import { expect, test } from 'vitest';
import { checkedGrid, checkMethod, wrongWithMethod } from '../src/checks.ts';
import * as zoetrope from '../src/index.ts';
import { adaSpa, catalogue, dense, minference, pyramidSparse } from '../src/methods.ts';

type Loose = (...given: unknown[]) => unknown;
const loosely = (made: unknown): Loose => made as Loose;

test('a preset refuses options that are no object, or that it does not read', () => {
  for (const { name, preset } of catalogue) {
    expect(() => loosely(preset)(0.5), name).toThrow(`${name} takes its options as an object; 0.5 was given`);
    expect(() => loosely(preset)(null), name).toThrow(`${name} takes its options as an object; null was given`);
    expect(() => loosely(preset)({ sparcity: 0.5 }), name).toThrow(new RegExp(`^${name} has no option sparcity; it takes (none|\\w+)`));
    expect(preset({}).name).toBe(name);
  }
  expect(() => loosely(adaSpa)({ sparcity: 0.5 })).toThrow('adaSpa has no option sparcity; it takes sparsity');
  expect(() => loosely(dense)({ sparsity: 0.5 })).toThrow('dense has no option sparsity; it takes none');
  expect(adaSpa({ sparsity: 0.5 }).levels).toEqual([{ pool: 1, upTo: 0.5 }]);
  expect(adaSpa({ sparsity: undefined }).levels).toEqual(adaSpa().levels);
});

test.each([
  [undefined, 'it is undefined'],
  ['adaSpa', 'it is "adaSpa"'],
  [adaSpa, 'it is a preset that was not called'],
  [minference, 'it is a preset that was not called'],
  [{ ...pyramidSparse(), score: undefined }, 'its score is missing'],
  [{ ...pyramidSparse(), levels: [] }, 'its levels are no list of { pool, upTo }'],
  [{ ...pyramidSparse(), name: '' }, 'it has no name'],
])('%o is no method', (value, wrong) => {
  expect(wrongWithMethod(value)).toBe(wrong);
  expect(() => checkMethod(value, true)).toThrow(`there is no method: ${wrong}; give a preset such as adaSpa()`);
});

test('a function is a method only where bare ones are taken', () => {
  const bare = (_q: unknown, _k: unknown, v: unknown) => v;
  expect(() => checkMethod(bare, true)).not.toThrow();
  expect(() => checkMethod(bare)).toThrow('there is no method: it is the function bare');
});

test('a grid needs its sides, and text only where there is any', () => {
  expect(checkedGrid({ frames: 2, height: 3, width: 4 })).toEqual({ frames: 2, height: 3, width: 4, text: 0 });
  expect(() => loosely(checkedGrid)([2, 3, 4])).toThrow('the grid is a list of 3; give { frames, height, width } in tokens');
  expect(() => loosely(checkedGrid)({ frames: 2, height: 3 })).toThrow('grid.width is undefined; give a whole number of tokens');
});

const publicNames: Record<string, unknown> = { ...zoetrope };

/** Of functions that need something: what is given, and the sentence that answers it. */
const CALLS: readonly (readonly [keyof typeof zoetrope, readonly unknown[], string])[] = [
  ['calibrate', [], 'there is no pipeline: it is undefined'],
  ['chooseMethod', [{}, 'x'], 'there is no pipeline: it is an object with nothing in it'],
  ['stepCache', [0.05], 'the options of stepCache are 0.05; give an object, { threshold }'],
  ['methodNamed', [], 'the name of a method is undefined; give a string'],
  ['checkOutput', [], 'The path of the video is undefined; give a name'],
  ['saveVideo', [], 'The video is undefined; give what a pipeline returned'],
  ['saveVideo', [{}, 'a.webp'], 'The video is an object with nothing in it'],
  ['saveStill', [{}], 'The path of the picture is undefined'],
  ['saveStill', [undefined, 'a.png'], 'The frame is undefined'],
  ['contactSheet', [], 'The frames are undefined; give a list'],
  ['psnr', [], 'The clip is undefined; give a list of frames'],
  ['listAttention', [], 'the file is undefined; give the path of an ONNX model'],
  ['formatListing', [], 'the listing is undefined; give what listAttention returned'],
  ['inspectionText', [], 'the inspection is undefined; give what inspectRun returned'],
  ['saveInspection', [{ plans: [] }], 'the folder is undefined'],
  ['cpuBackend', [], 'the device is undefined; give one that is open'],
  ['webgpuBackend', [], 'the device is undefined; give one that is open'],
  ['createAttention', [], 'there is no backend: it is undefined'],
  ['calibratedShares', [], 'the calibration is undefined; give what calibrate'],
  ['tokensOf', [], 'the grid is undefined; give { frames, height, width, text } in tokens'],
  ['withText', [], 'withText takes a scorer, such as sampled(); undefined was given'],
  ['withPattern', [null], 'withPattern takes a scorer'],
  ['lessAnchor', [5], 'lessAnchor takes a scorer, such as sampled(); 5 was given'],
  ['bestOf', [], 'bestOf takes a list of patterns'],
  ['union', [zoetrope.rank()], 'union takes two selectors'],
  ['refine', [], 'the options of refine are undefined; give an object, { first, levels, second }'],
  ['offline', [{ shares: 0.5 }], 'the shares of offline are 0.5'],
  ['withDense', [], 'withDense takes a schedule, such as searchAt(0.2, 0.6)'],
  ['searchLayers', [{ at: 0.5 }], 'the shares of the layers are 0.5; give a list'],
  ['cyclic', [null], 'cyclic takes layouts'],
];

test.each(CALLS)('%s(%o) is refused', async (name, given, message) => {
  await expect(async () => loosely(publicNames[name])(...given)).rejects.toThrow(message);
});
