// `--method` by name and by file, and `zoetrope methods`.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createAttention } from '../../src/attention.ts';
import { methodOf, takesSparsity } from '../../src/cli/method.ts';
import { showMethods } from '../../src/cli/methods.ts';
import type { Site } from '../../src/method.ts';
import { catalogue, unported } from '../../src/methods/catalogue.ts';
import { openedOps } from '../backend/opened.ts';

const folder = mkdtempSync(join(tmpdir(), 'zoetrope-method-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
/** A file of JavaScript, which finds the library beside it. */
function file(code: string): string {
  const path = join(folder, `mine-${files++}.mjs`);
  writeFileSync(path, code);
  return path;
}

const layout = `(grid) => {
  const tokens = grid.frames * grid.height * grid.width;
  const order = Int32Array.from({ length: Math.ceil(tokens / 8) * 8 }, (_, at) => (at < tokens ? at : -1));
  const counts = Int32Array.from({ length: order.length / 8 }, (_, at) => Math.min(8, tokens - 8 * at));
  return { name: 'rows of 8', grid, block: 8, blocks: counts.length, videoBlocks: counts.length, order, counts };
}`;
/** A method that reads what `select` says, on a grid of 20 tokens: three blocks of 8 slots, two heads. */
const method = (select: string, more = '') => `{
  name: 'mine', layout: ${layout}, score: ({ ops, layout }) => ops.upload(new Float32Array(18), [2, 3, 3]),
  select: ${select}, levels: [{ pool: 1, upTo: 0.5 }], schedule: () => 'search', ${more} }`;
const plan = (counts: readonly number[], blocks: readonly number[]) => `({ ops }, scores, levels) => ({ levels, keyBlocks: 3,
  counts: ops.upload(Int32Array.of(${counts}), [2, 3, 1]), blocks: ops.upload(Int32Array.of(${blocks}), [2, 3, 3]) })`;

describe('a method by name', () => {
  it('whatever the case, by an alias too, with a sparsity', async () => {
    expect(await methodOf({ method: 'adaspa', sparsity: 0.5 })).toMatchObject({ name: 'adaSpa', levels: [{ pool: 1, upTo: 0.5 }] });
    expect((await methodOf({ method: 'PSA' })).name).toBe('pyramidSparse');
    const grid = { frames: 2, height: 8, width: 8, text: 0 };
    const layouts = (await methodOf({ method: 'adaspa', queryTokens: 128 })).layout(grid, { grid } as Site);
    expect(layouts).toMatchObject({ q: { block: 128, blocks: 1 }, k: { block: 64, blocks: 2 } });
    await expect(methodOf({ method: 'svg2', queryTokens: 128 })).rejects.toThrow('finds the blocks of each head from its queries');
    expect((await methodOf({ method: 'pyramid-sparse' })).name).toBe('pyramidSparse');
    expect([takesSparsity('dense'), takesSparsity('psa'), takesSparsity('./mine.js')]).toEqual([false, true, undefined]);
  });
});

describe('a method in a file', async () => {
  const ops = await openedOps('onnxruntime-node');
  const grid = { frames: 1, height: 4, width: 5, text: 0 };
  async function attend(code: string): Promise<number> {
    const bound = createAttention(ops, await methodOf({ method: file(`export default ${code};`) }));
    const [q, k, v] = [1, 2, 3].map(() => ops.upload(new Float32Array(2 * 20 * 8).fill(1), [2, 20, 8]));
    const out = bound.attention(q, k, v, { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid });
    const { density } = await bound.take();
    expect((await ops.read(out)).every((x) => Math.abs(x - 1) < 1e-6)).toBe(true);
    return density;
  }

  it('is an object or a function of options', async () => {
    const all = plan([1, 3, 2, 1, 1, 1], [2, -1, -1, 0, 0, 0, 1, 0, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1]);
    expect(await attend(method(all))).toBeCloseTo(9 / 18, 6);
    const made = file(`export default ({ sparsity = 0.75 }) => ({ ...${method(all)}, levels: [{ pool: 1, upTo: 1 - sparsity }] });`);
    expect((await methodOf({ method: made })).levels[0].upTo).toBe(0.25);
    expect((await methodOf({ method: made, sparsity: 0.5 })).levels[0].upTo).toBe(0.5);
  });

  it.each([
    ['an empty row', plan([1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), /1, query block 1: it reads no key/],
    [
      'a block twice',
      plan([1, 2, 1, 1, 1, 1], [0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      /head 0, query block 1: .* 2 twice/,
    ],
    ['a block too far', plan([1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), /block 2: it names key block 3/],
    ['too many', plan([1, 1, 1, 1, 1, 4], Array(18).fill(0)), /head 1, query block 2: it counts 4 key blocks and lists 3$/],
    ['less than none', plan([-1, 1, 1, 1, 1, 1], Array(18).fill(0)), /head 0, query block 0: a level counts -1/],
    ['no plan', '() => 7', /returned no plan/],
    [
      'another shape',
      '({ ops }, scores, levels) => ({ levels, counts: ops.upload(Int32Array.of(1), [1, 1, 1]), blocks: scores })',
      /got \[1,1,1\]/,
    ],
  ])('refuses %s, by its row', async (_, select, sentence) => {
    await expect(attend(method(select))).rejects.toThrow(sentence);
  });

  it.each([
    ['export default 7;', /no method: it is 7; export a Method/],
    ['export const method = 1;', /no method: it is undefined/],
    [`export default { ...${method('() => 1')}, name: '' };`, /it has no name/],
    [`export default { ...${method('() => 1')}, select: 4 };`, /its select is no function/],
    [`export default { ...${method('() => 1')}, layout: undefined };`, /its layout is missing/],
    [`export default { ...${method('() => 1')}, levels: [{ pool: 1, upTo: 2 }] };`, /its levels are no list/],
    [`export default { ...${method('() => 1')}, correct: 3 };`, /its correct is no function/],
    ['export default (', /does not load: /],
  ])('refuses %s', async (code, sentence) => {
    await expect(methodOf({ method: file(code) })).rejects.toThrow(sentence);
  });

  it('refuses a file that is not there, and a sparsity for nobody', async () => {
    await expect(methodOf({ method: './nowhere.js' })).rejects.toThrow(/^there is no file ".*nowhere\.js"; give --method/);
    await expect(methodOf({ method: file(`export default ${method('() => 1')};`), sparsity: 0.5 })).rejects.toThrow('has no use');
  });
});

describe('zoetrope methods', () => {
  const said = (json: boolean): string => {
    let text = '';
    showMethods({ command: 'methods', json }, { out: (part) => (text += part), err: () => {}, isScreen: false, columns: 80 });
    return text;
  };

  it('prints every method', () => {
    const shown = said(false);
    for (const line of shown.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    const text = shown.replace(/\s+/g, ' ');
    for (const { name, paper, aliases } of catalogue) for (const word of [name, paper, ...aliases]) expect(text).toContain(word);
    for (const { name, reason } of unported) expect(text).toMatch(new RegExp(`${name} +${reason}`));
    expect(text).toMatch(/pyramidSparse +s curve; sampled maxima/);
  });

  it('as JSON too', () => {
    const { methods, unported: left } = JSON.parse(said(true));
    expect(methods.map(({ name }: { name: string }) => name)).toEqual(catalogue.map(({ name }) => name));
    expect(methods[1]).toMatchObject({ name: 'adaSpa', mark: 'published', paper: 'AdaSpa, arXiv 2502.21079', reconstruction: false });
    expect(left).toEqual(unported);
  });
});
