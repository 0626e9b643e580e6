import { expect, test } from 'vitest';
import { free } from '../../src/backend/free.ts';

test('memory is given back with the call, and a view of it is empty afterwards', () => {
  const bytes = 64 * 2 ** 20;
  const before = process.memoryUsage().arrayBuffers;
  const numbers = new Float32Array(bytes / 4).fill(1);
  const view = numbers.subarray(1, 3);
  expect(process.memoryUsage().arrayBuffers - before).toBeGreaterThan(bytes / 2);
  free(numbers);
  expect([numbers.length, view.length]).toEqual([0, 0]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(bytes / 2);
});
