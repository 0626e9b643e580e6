// What plain JavaScript may give: arguments left out, misspelt or of another kind, each answered with one sentence.
import { expect, test } from 'vitest';
import { checkedGrid, checkMethod, wrongWithMethod } from '../src/checks.ts';
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
