// Cutting a Program at its seams, and running the pieces.
import { expect, test } from 'vitest';
import { openCpu } from '../../src/backend/cpu.ts';
import { trace } from '../../src/dit/graph.ts';
import { compile } from '../../src/dit/onnx/executor.ts';
import { segment } from '../../src/dit/onnx/segments.ts';
import { memoryWeights } from '../../src/dit/weights.ts';

const grid = { frames: 1, height: 1, width: 2, text: 0 };

/** Two layers: x + attention(x) scaled by the time, with a context made from the prompt alone. */
const program = trace((g) => {
  const x = g.input('x', [1, 2, 4]);
  const time = g.input('time', [1, 1, 4]);
  const prompt = g.input('prompt', [1, 1, 4], { constant: true });
  const context = g.activate(g.add(prompt, g.constant(1)), 'relu');
  let y = x;
  for (let layer = 0; layer < 2; layer++) {
    const scale = g.mul(time, g.weight(`scale.${layer}`, [4]));
    const attended = g.attention(y, y, y, grid);
    y = g.add(g.mul(attended, scale), context);
  }
  return { y };
});
const weights = memoryWeights({
  'scale.0': { dtype: 'F32', shape: [4], data: Float32Array.of(1, 2, 3, 4) },
  'scale.1': { dtype: 'F32', shape: [4], data: Float32Array.of(1, 1, 1, 1) },
});

test('seams split the program; the prompt part stands apart and time scales are made where they are used', () => {
  const { prelude, steps } = segment(program);
  expect(program.layers).toBe(2);
  expect(prelude?.nodes.map((node) => node.operation.op)).toEqual(['add', 'activate']);
  expect(steps.map(({ segment: part }) => part.nodes.map((node) => node.operation.op))).toEqual([
    [],
    ['mul', 'mul', 'add'],
    ['mul', 'mul', 'add'],
  ]);
  expect(steps.map(({ seams }) => seams.length)).toEqual([1, 1, 0]);
});

test('runs on both runtimes; the prelude runs once per prompt handle', async () => {
  for (const runtime of ['onnxruntime-node', 'onnxruntime-web'] as const) {
    const device = await openCpu(runtime);
    const executable = await compile(program, weights, device);
    const x = device.upload(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [1, 2, 4]);
    const time = device.upload(Float32Array.of(1, 1, 1, 2), [1, 1, 4]);
    const prompt = device.upload(Float32Array.of(-5, 0, 1, 2), [1, 1, 4]);
    const layers: number[] = [];
    const run = () =>
      executable.run({ x, time, prompt }, (q, _k, _v, layer) => {
        layers.push(layer);
        return q;
      }).y;
    const want = [1, 2 * 2 + 1 + 1, 3 * 3 + 2 + 2, 2 * (4 * 4 * 2 + 3) + 3];
    for (let time = 0; time < 2; time++) expect([...(await device.read(run()))].slice(0, 4)).toEqual(want);
    expect(layers).toEqual([0, 1, 0, 1]);
    expect(() => executable.run({ x, time }, (q) => q)).toThrow('input prompt [1,1,4] is missing');
    expect(() => executable.run({ x: time, time, prompt }, (q) => q)).toThrow('traced for [1,2,4]');
    expect(() => executable.run({ x, time, prompt })).toThrow('attention function');
    await executable.dispose();
    await device.dispose();
  }
});

test('a cut lets segments be loaded, run and released in turn', async () => {
  const cut = trace((g) => {
    const x = g.input('x', [2]);
    return { y: g.mul(g.cut(g.add(x, g.weight('a', [2]))), g.weight('b', [2])) };
  });
  const device = await openCpu();
  const two = memoryWeights({
    a: { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) },
    b: { dtype: 'F32', shape: [2], data: Float32Array.of(3, 4) },
  });
  const executable = await compile(cut, two, device, { resident: false });
  expect([...(await device.read(executable.run({ x: device.upload(Float32Array.of(1, 1), [2]) }).y))]).toEqual([6, 12]);
  await executable.dispose();
  const wrong = memoryWeights({ a: { dtype: 'F32', shape: [3], data: new Float32Array(3) } });
  await expect(compile(cut, wrong, device)).rejects.toThrow(/a.*\[?3\]?.*2|a.*2.*3/);
  await device.dispose();
});
