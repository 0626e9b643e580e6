import { expect, test } from 'vitest';
import { trace } from '../../src/dit/graph.ts';
import { liveBytes, workingBytes } from '../../src/vae/memory.ts';
import type { Stage } from '../../src/vae/stream.ts';

const remembering: Stage = {
  most: 2,
  firstApart: false,
  trace: (shape) =>
    trace((g) => {
      const x = g.input('frames', shape);
      const y = g.mul(g.add(x, g.input('cache.x', shape)), g.weight('scale', [1]));
      return { frames: g.activate(y, 'relu'), 'cache.x': x };
    }),
};

test('a value is alive until its last use, an output until the end; weights and caches that came in are not counted', () => {
  // x stays for the cache; beside it two values, one made from the other.
  expect(liveBytes(remembering.trace([2, 10], false))).toBe(4 * 20 * 3);
});

test('stages need all their caches, and the largest of them its values', () => {
  expect(workingBytes([remembering, remembering], [5, 10])).toBe(2 * 80 + 240);
});
