// Statistics that nobody asks for: what is known is added up and let go.
import { expect, test } from 'vitest';
import { tally } from '../src/statistics.ts';

/** A density that counts how often it is waited for. */
class Watched extends Promise<number> {
  waits = 0;
  // biome-ignore lint/suspicious/noThenProperty: it is what await calls.
  override then<A, B>(...then: Parameters<Promise<number>['then']>): Promise<A | B> {
    this.waits++;
    return super.then(...then) as Promise<A | B>;
  }
}

test('densities count once for each call, known or not, and are let go when they are known', async () => {
  const { note, statistics } = tally();
  expect(await statistics()).toEqual({ calls: 0, dense: 0, searches: 0, reuses: 0, density: 1 });
  let found!: (density: number) => void;
  const density = new Watched((resolve) => {
    found = resolve;
  });
  note('dense', 1);
  note('search', density);
  for (let at = 0; at < 1000; at++) note('reuse', density);
  await Promise.resolve();
  expect(density.waits).toBe(1);
  const early = statistics();
  note('reuse', 0.5);
  found(0.25);
  expect((await early).density).toBeCloseTo((1 + 1001 * 0.25) / 1002, 12);
  const waits = density.waits;
  const late = await statistics();
  expect(density.waits).toBe(waits);
  expect(late).toMatchObject({ calls: 1003, dense: 1, searches: 1, reuses: 1001 });
  expect(late.density).toBeCloseTo((1.5 + 1001 * 0.25) / 1003, 12);
});

test('a density that fails is told to everyone who asks', async () => {
  const { note, statistics } = tally();
  const density = Promise.reject(new Error('lost'));
  note('search', density);
  await expect(statistics()).rejects.toThrow('lost');
  note('dense', 1);
  await expect(statistics()).rejects.toThrow('lost');
});
