// The pool of GPU buffers, over buffers that are only counted.
import { expect, test } from 'vitest';
import { bufferPool } from '../../src/backend/webgpu/buffers.ts';

function counted() {
  const log: string[] = [];
  const create = (size: number) => ({ size, destroy: () => log.push(`destroyed ${size}`) }) as unknown as GPUBuffer;
  return { log, pool: bufferPool(create, () => log.push('submitted')) };
}

test('a loop over changing sizes keeps no more than those of late', () => {
  const { pool } = counted();
  let most = 0;
  for (let size = 1; size <= 20; size++)
    for (let at = 0; at < 1000; at++) {
      pool.give(pool.take(size * size * 2560));
      most = Math.max(most, pool.usage.bytes / (size * size * 2560));
    }
  expect(most).toBeLessThan(6);
});

test('a loop over sizes that come back makes each once', () => {
  const { pool, log } = counted();
  for (let at = 0; at < 10_000; at++) pool.give(pool.take([1, 2, 4, 8][at % 4] * 256));
  expect(pool.usage).toEqual({ bytes: 15 * 256, peakBytes: 15 * 256 });
  expect(log).toEqual([]);
});

test('buffers are destroyed after what was recorded is submitted, and counted out once', () => {
  const { pool, log } = counted();
  const [first, second] = [pool.take(1000), pool.take(3000)];
  pool.give(first);
  pool.give(second);
  pool.trim();
  pool.trim();
  expect(log).toEqual(['submitted', 'destroyed 1024', 'destroyed 3072']);
  pool.lose(second.buffer);
  expect(pool.usage.bytes).toBe(0);
});

test('a buffer that there was no memory for is not lent again', () => {
  const { pool } = counted();
  const [lent, free] = [pool.take(1000), pool.take(1000)];
  pool.give(free);
  for (const { buffer } of [lent, free]) pool.lose(buffer);
  pool.give(lent);
  expect(pool.usage.bytes).toBe(0);
  expect([lent.buffer, free.buffer]).not.toContain(pool.take(1000).buffer);
});
