// How the results of benches are read on a terminal.
import { expect, test } from 'vitest';
import type { RunCase } from '../../src/bench/run.ts';
import { spreadOf } from '../../src/bench/spread.ts';
import type { StepCase } from '../../src/bench/step.ts';
import { formatCompared, formatRunBench, formatStepBench } from '../../src/cli/bench-tables.ts';

const setting = {
  model: 'the shape of Wan 2.1 T2V-1.3B with random weights',
  gpu: { device: 'Acme Tower 5', vendor: 'acme', architecture: 'tower', description: '17.0', software: false },
  ...{ dtype: 'f16' as const, checked: true, width: 832, height: 480, numFrames: 81, layers: 30, tokens: 32_760, textTokens: 512 },
};
const kernel = (name: string, milliseconds: number) => ({ kernel: name, launches: 30, milliseconds });
const about = { method: 'adaSpa 0.8', setting, loadingSeconds: 2.04, loadedBytes: 2.8e9, peakBytes: 5.1e9 };
const dense: StepCase = {
  ...{ ...about, id: 'a/dense', name: 'dense', step: 0, milliseconds: spreadOf([741.2]), hostMilliseconds: 12.34, density: 1 },
  gpuMilliseconds: 733.3,
  kinds: [
    { kind: 'linear', launches: 60, milliseconds: 233.3, kernels: [kernel('matmul.matrix.wgsl', 230), kernel('matmul.few.wgsl', 3.3)] },
    { kind: 'attention', launches: 30, milliseconds: 500, kernels: [kernel('attend.matrix.wgsl', 500)] },
  ],
};
const reuse: StepCase = {
  ...{ ...about, id: 'a/reuse', name: 'reuse', step: 11, milliseconds: spreadOf([400]), hostMilliseconds: 9.5, density: 0.2 },
  gpuMilliseconds: 340,
  kinds: [{ kind: 'layout', launches: 30, milliseconds: 340, kernels: [kernel('permute.wgsl', 340)] }],
};
const step = [dense, reuse];
const HEAD = `Acme Tower 5: the shape of Wan 2.1 T2V-1.3B with random weights, 30 layers
832x480, 81 frames, 32,760 tokens, f16
`;

test('a step: phases down, kinds of work across', () => {
  expect(formatStepBench(step, { profile: false })).toBe(`${HEAD}adaSpa 0.8

       density   ms  host ms  GPU ms  linear  attention  layout
dense     1.00  741     12.3     733     233        500       -
reuse     0.20  400     9.50     340       -          -     340

loaded in 2.0 s, 2.8 GB of GPU memory, at most 5.1 GB
`);
});

test('a step in detail: kernels below their kind', () => {
  expect(formatStepBench(step, { profile: true })).toContain(`
dense                 GPU ms  launches
linear                   233        60
  matmul.matrix.wgsl     230        30
  matmul.few.wgsl       3.30        30
attention                500        30
  attend.matrix.wgsl     500        30

reuse           GPU ms  launches
layout             340        30
  permute.wgsl     340        30

loaded in`);
});

test('a step on a GPU without timestamps', () => {
  const { gpuMilliseconds: _, kinds: __, ...rest } = dense;
  const unstamped = { ...rest, setting: { ...setting, checked: false } };
  expect(formatStepBench([unstamped], { profile: true })).toContain(`32,760 tokens, f16, unchecked
adaSpa 0.8

       density   ms  host ms
dense     1.00  741     12.3

This GPU has no timestamps (feature timestamp-query), so kinds of work are not told apart.
loaded in`);
});

test('whole runs and how they compare', () => {
  const shared = { setting, steps: 50, branches: 2, batched: false, latents: 'sampler' as const, peakBytes: 5e9, stepSeconds: [] };
  const whole: RunCase = { ...shared, id: 'b/dense', method: 'dense', milliseconds: spreadOf([80_000]), density: 1, finite: true };
  const sparse: RunCase = {
    ...{ ...shared, id: 'b/adaSpa', method: 'adaSpa 0.8', milliseconds: spreadOf([40_004]), density: 0.3614, finite: false },
  };
  expect(formatRunBench([whole, sparse])).toBe(`${HEAD}50 steps, two guidance branches, latents of the sampler

            seconds  ms a step  density
dense         80.00       1600     1.00
adaSpa 0.8    40.00        800     0.36  NOT FINITE: its numbers mean nothing

adaSpa 0.8 is 2.00 times as fast as dense
at most 5.0 GB of GPU memory
`);
  const short = { ...whole, steps: 1, branches: 1 };
  expect(formatRunBench([short])).toMatch(/\n1 step, one branch, latents of the sampler\n\n.*\ndense .*\n\nat most 5\.0 GB/);
});

test('times beside earlier ones, and the warning when they are of another machine', () => {
  const cases = [{ id: 'a/dense', before: 80, after: 40, ratio: 2 }];
  expect(formatCompared({ file: 'old.json', sameMachine: true, cases })).toBe(`Beside old.json:

         ms before  ms now  times as fast
a/dense       80.0    40.0           2.00
`);
  expect(formatCompared({ file: 'old.json', sameMachine: false, cases })).toMatch(/^Beside old\.json, WHICH IS OF ANOTHER MACHINE/);
});
