// ONNX models as PyTorch exports them, by both exporters: read, cut, and run with their self-attention at the seam.
import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { dense, pyramidSparse } from '../../src/methods.ts';
import { accelerateOnnx } from '../../src/onnx/accelerate.ts';
import { listAttention } from '../../src/onnx/list.ts';
import { type Exports, GRID, JOINT, relativeError, unpackExports } from './exports.ts';

let exports: Exports;
beforeAll(async () => {
  exports = await unpackExports();
});
afterAll(() => rmSync(exports.folder, { recursive: true }));

// ONNX Runtime 1.30 itself refuses these for casts around their norms, which the wrapper leaves out.
const UNLOADED = /^(wan|ltx)-.*-script-/;

const optionsOf = (name: string) => ({ steps: 4, ...(name.startsWith('joint') ? JOINT : { grid: GRID }) });

test('exports of three models by both exporters equal their plain session and PyTorch', async () => {
  expect(new Set(exports.names.map((name) => name.split('-')[0]))).toEqual(new Set(['wan', 'ltx', 'joint']));
  for (const name of exports.names) {
    const { feeds, output } = exports.tensors(name);
    const before = readFileSync(exports.path(name));
    const session = await accelerateOnnx(exports.path(name), dense(), optionsOf(name));
    expect(session.layers, name).toBe(2);
    expect([...session.inputNames].sort(), name).toEqual(Object.keys(feeds).sort());
    const result = await session.run(feeds);
    await session.release();
    expect(Object.keys(result), name).toEqual(['output']);
    expect(result.output.dims, name).toEqual(output.dims);
    if (!UNLOADED.test(name)) expect(relativeError(result.output, await exports.plain(name)), name).toBeLessThan(2e-5);
    expect(relativeError(result.output, output), name).toBeLessThan(2e-5);
    expect(readFileSync(exports.path(name)).equals(before), name).toBe(true);
  }
});

test('self-attention is taken and cross-attention is not', async () => {
  for (const name of exports.names) {
    const { attention } = await listAttention(exports.path(name));
    const kinds = attention.map(({ kind, taken }) => `${kind} ${taken}`);
    const expected = name.startsWith('joint') ? ['self true', 'self true'] : ['self true', 'cross false', 'self true', 'cross false'];
    expect(kinds, name).toEqual(expected);
    for (const one of attention) if (one.kind === 'cross') expect(one.reason, name).toMatch(/^cross-attention: its keys come from /);
  }
});

describe('a session', () => {
  const name = 'wan-sdpa-dynamo-18';
  const sparse = pyramidSparse();

  test('computes sparse attention, follows the timestep, and starts a new run by itself', async () => {
    const { feeds, output } = exports.tensors(name);
    const session = await accelerateOnnx(exports.path(name), sparse, { grid: GRID, steps: 4 });
    const at = (time: number) => ({ ...feeds, timestep: new exports.runtime.Tensor('float32', Float32Array.of(time), [1]) });
    const densities: number[] = [];
    for (const time of [999, 700, 500, 200, 999]) {
      // A conditional and an unconditional forward.
      const [first] = [await session.run(at(time)), await session.run(at(time))];
      const { density } = await session.statistics();
      densities.push(density);
      expect(first.output.dims).toEqual(output.dims);
      expect([...(first.output.data as Float32Array)].every(Number.isFinite)).toBe(true);
    }
    await session.release();
    expect(densities[4]).toBe(densities[0]);
  });

  test('takes steps from the caller, and results by name', async () => {
    const { feeds } = exports.tensors(name);
    const seen: string[] = [];
    const method = dense();
    const watched = {
      ...method,
      schedule: Object.assign((site: Parameters<typeof method.schedule>[0]) => {
        seen.push([site.step, site.steps, site.layer, site.layers, site.branches].join(' '));
        return 'dense' as const;
      }),
    };
    const session = await accelerateOnnx(exports.path(name), watched, { grid: GRID, steps: 3 });
    session.step(2);
    const runs = [session.run(feeds), session.run(feeds, ['output'])];
    session.step(0);
    await Promise.all(runs);
    await session.release();
    expect(seen).toEqual(['2 3 0 2 0', '2 3 1 2 0', '2 3 0 2 1', '2 3 1 2 1']);
  });

  test('refuses what it cannot run in one sentence', async () => {
    const { feeds } = exports.tensors(name);
    const open = (options: object) => accelerateOnnx(exports.path(name), dense(), { grid: GRID, steps: 3, ...options });
    await expect(open({ grid: undefined })).rejects.toThrow(/there is no grid, and .* has 72 tokens; give grid/);
    await expect(open({ grid: { ...GRID, frames: 4 } })).rejects.toThrow(/has 72 tokens, but the grid 4 x 4 x 6 with 0 text tokens has 96/);
    await expect(open({ grid: { ...GRID, text: 1.5 } })).rejects.toThrow(/grid.text is 1.5; give a whole number of text tokens/);
    await expect(open({ textBefore: 5 })).rejects.toThrow(/textBefore is 5, but the grid has 0 text tokens/);
    await expect(open({ denseSteps: -1 })).rejects.toThrow(/denseSteps/);
    await expect(open({ steps: 0 })).rejects.toThrow(/steps is 0; give the number/);
    await expect(open({ timestepInput: 'time' })).rejects.toThrow(/there is no input "time"/);
    await expect(open({ leave: ['nothing'] })).rejects.toThrow(/leave names "nothing", which is no attention/);
    const session = await open({});
    const { timestep: _, ...less } = feeds;
    await expect(session.run(less)).rejects.toThrow('the input timestep is not fed');
    await expect(session.run({ ...feeds, more: feeds.timestep })).rejects.toThrow('the model has no input more');
    await expect(session.run(feeds, ['y'])).rejects.toThrow('the model has no output y; it gives output');
    expect(() => session.step(3)).toThrow('step 3 is none of the 3 steps');
    await session.release();
    await expect(session.run(feeds)).rejects.toThrow('this session was released');
  });

  test('takes the grid from the feeds, and checks it at each run', async () => {
    const joint = exports.names.find((one) => one.startsWith('joint'))!;
    const { feeds, output } = exports.tensors(joint);
    let grid: typeof JOINT.grid | object = JOINT.grid;
    const session = await accelerateOnnx(exports.path(joint), dense(), {
      ...JOINT,
      grid: () => grid as typeof JOINT.grid,
      steps: 3,
    });
    expect(relativeError((await session.run(feeds)).output, output)).toBeLessThan(2e-5);
    grid = { ...JOINT.grid, height: 2.5 };
    await expect(session.run(feeds)).rejects.toThrow('grid.height is 2.5; give a whole number of tokens');
    // As many tokens, but others of them would be text.
    grid = { frames: 1, height: 1, width: 74, text: 3 };
    await expect(session.run(feeds)).rejects.toThrow('textBefore is 5, but the grid has 3 text tokens');
    await session.release();
  });

  test('runs on wasm alike, with sizes open', async () => {
    const { feeds, output } = exports.tensors('ltx-sdpa-script-17');
    const options = { grid: GRID, steps: 3, runtime: 'onnxruntime-web' } as const;
    const session = await accelerateOnnx(exports.path('ltx-sdpa-script-17'), dense(), options);
    expect(relativeError((await session.run(feeds)).output, output)).toBeLessThan(2e-5);
    await session.release();
  });

  test('leaves what it is told to leave', async () => {
    const { attention } = await listAttention(exports.path(name));
    const session = await accelerateOnnx(exports.path(name), dense(), { grid: GRID, steps: 3, leave: [attention[0].node] });
    const { output } = await session.run(exports.tensors(name).feeds);
    await session.release();
    expect(session.layers).toBe(1);
    expect(relativeError(output, await exports.plain(name))).toBeLessThan(2e-5);
  });
});

test('the sample runs a loop on an export', async () => {
  const words = process.argv;
  const said: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line) => void said.push(line));
  process.argv = [...words.slice(0, 2), exports.path('wan-sdpa-dynamo-18'), '3', '4', '6', '3'];
  await import('../../samples/onnx-model.ts');
  process.argv = words;
  vi.restoreAllMocks();
  expect(said[0]).toMatch(
    /opset 18, written by pytorch 2\.11.*\n {2}inputs hidden_states \[1, 4, 3, 8, 12\], .*\n {2}4 attentions, 2 taken:/,
  );
  expect(said.slice(1)).toEqual([0, 1, 2].map((step) => expect.stringMatching(new RegExp(`^step ${step}: density [01]\\.\\d\\d$`))));
});
