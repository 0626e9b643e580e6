// Steps and guidance branches of runs, told by the timestep that is fed or by the caller.
import { Tensor } from 'onnxruntime-common';
import { expect, test } from 'vitest';
import { trackSteps } from '../../src/onnx/steps.ts';

const at = (...times: number[]) => ({ timestep: new Tensor('float32', times, [times.length]) });

test('a timestep that changes is the next step, one that stays the next branch', () => {
  const steps = trackSteps({ steps: 3 }, ['x', 'timestep']);
  const seen = [999, 999, 600, 600, 100, 100].map((time) => steps.enter(at(time), 1));
  expect(seen.map(({ step, branches }) => [step, ...branches])).toEqual([
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
    [2, 0],
    [2, 1],
  ]);
});

test('a new run begins after the last step, and at the first timestep of the one before', () => {
  const steps = trackSteps({ steps: 3 }, ['timestep']);
  const seen = [0.1, 0.4, 0.9, 0.2, 0.5, 0.2, 0.6].map((time) => steps.enter(at(time), 1).step);
  expect(seen).toEqual([0, 1, 2, 0, 1, 0, 1]);
});

test('items of a batch are branches, and timesteps by token count by their largest', () => {
  const steps = trackSteps({ steps: 3, timestepInput: 'time' }, ['time']);
  const feed = (...times: bigint[]) => ({ time: new Tensor('int64', BigInt64Array.from(times), [1, times.length]) });
  expect(steps.enter(feed(0n, 900n), 2)).toEqual({ step: 0, branches: [0, 1] });
  expect(steps.enter(feed(0n, 500n), 2)).toEqual({ step: 1, branches: [0, 1] });
});

test('the caller says where there is no timestep', () => {
  const steps = trackSteps({ steps: 2 }, ['x']);
  expect(() => steps.enter({}, 1)).toThrow('call session.step(i) before each step');
  steps.set(1);
  expect([steps.enter({}, 1), steps.enter({}, 1)]).toEqual([
    { step: 1, branches: [0] },
    { step: 1, branches: [1] },
  ]);
});
