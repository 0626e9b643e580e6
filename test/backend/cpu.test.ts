// The queue of the CPU device: order, failures, refusals.
import { expect, test } from 'vitest';
import { numbersOf, openCpu } from '../../src/backend/cpu.ts';

test('jobs run in the order of enqueueing, one at a time', async () => {
  const device = await openCpu();
  const events: string[] = [];
  const job = (name: string, milliseconds: number) => async () => {
    events.push(`${name} starts`);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    events.push(`${name} ends`);
    return [Float32Array.of(milliseconds)];
  };
  const [slow] = device.enqueue([{ shape: [1] }], job('slow', 20));
  const [quick] = device.enqueue([{ shape: [1] }], job('quick', 1));
  expect([(await device.read(quick))[0], (await device.read(slow))[0]]).toEqual([1, 20]);
  expect(events).toEqual(['slow starts', 'slow ends', 'quick starts', 'quick ends']);
});

test('a failed job fails its own handles and no later ones', async () => {
  const device = await openCpu();
  const [bad] = device.enqueue([{ shape: [1] }], async () => {
    throw new Error('no such luck');
  });
  const [good] = device.enqueue([{ shape: [1], dtype: 'i32' }], async () => [Int32Array.of(7)]);
  await expect(device.read(bad)).rejects.toThrow('no such luck');
  expect([...(await device.read(good))]).toEqual([7]);
});

test('shapes and foreign tensors are refused', async () => {
  const device = await openCpu();
  expect(() => device.upload(new Float32Array(3), [2, 2])).toThrow('shape [2,2] needs 4 numbers, got 3');
  expect(() => numbersOf({ shape: [1], dtype: 'f32' })).toThrow('another backend');
});
