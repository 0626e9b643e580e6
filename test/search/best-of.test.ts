// The best of several patterns by head: heads that look along frames and along places, thresholds in turn, and what is judged is what runs.
import { describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import type { Call, Layouts, Scorer } from '../../src/method.ts';
import { bestOf } from '../../src/search/best-of.ts';
import { type Pattern, pattern } from '../../src/search/pattern.ts';
import { checkerboard, ownBlock } from '../../src/search/patterns.ts';
import { window } from '../../src/search/windows.ts';
import { raster, tiles } from '../../src/sparse3d/layout.ts';
import { tokensOf } from '../../src/sparse3d/plan.ts';
import { openedOps } from '../backend/opened.ts';
import { both, grid } from './masks.ts';

const DIM = 16;
const spatial = window({ frames: 0 });
const temporal = window({ rows: 0, columns: 0 });

/** Heads whose tokens are alike in a frame (even heads) or at a place (odd heads), so that attention stays there; values are all different. */
function callOf(ops: Backend, layout: Layouts, heads: number, sharpness = 6): Call {
  const of = layout.q.grid;
  const [tokens, perFrame] = [tokensOf(of), of.height * of.width];
  const x = Float32Array.from({ length: heads * tokens * DIM }, (_, at) => {
    const [head, token, axis] = [Math.floor(at / DIM / tokens), Math.floor(at / DIM) % tokens, at % DIM];
    const group = head % 2 === 0 ? Math.floor(token / perFrame) : token % perFrame;
    return group % DIM === axis ? sharpness : 0;
  });
  const values = x.map((_, at) => Math.sin(at * 1.7));
  const blocked = (numbers: Float32Array, side: 'q' | 'k') => ops.gather(ops.upload(numbers, [heads, tokens, DIM]), layout[side]);
  const site = { step: 0, steps: 1, layer: 0, layers: 1, branches: [0], grid: of };
  return { ops, q: blocked(x, 'q'), k: blocked(x, 'k'), v: blocked(values, 'k'), layout, site, memory: {}, phase: 'search' };
}

/** Which of some candidates' tables each head has. */
async function chosen(call: Call, score: Scorer, candidates: readonly Pattern[]): Promise<number[]> {
  const numbers = await call.ops.read(score(call));
  const own = await Promise.all(candidates.map((candidate) => call.ops.read(pattern(candidate)(call))));
  const size = call.layout.q.blocks * call.layout.k.blocks;
  return Array.from({ length: call.q.shape[0] }, (_, head) => {
    const [from, to] = [head * size, (head + 1) * size];
    return own.findIndex((table) => `${table.subarray(from, to)}` === `${numbers.subarray(from, to)}`);
  });
}

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('%s', (runtime) => {
  const opened = openedOps(runtime);
  const layouts = [
    both(raster(8)(grid(4, 4, 4))),
    both(tiles(1, 2, 4)(grid(4, 3, 5, 3))),
    { q: tiles(1, 2, 4)(grid(3, 4, 8)), k: raster(8)(grid(3, 4, 8)) },
  ];

  test.each(['recall', 'error'] as const)('each head takes the pattern that it attends by, judged by %s', async (by) => {
    const ops = await opened;
    for (const layout of layouts) {
      const call = callOf(ops, layout, 4);
      for (const candidates of [
        [spatial, temporal],
        [temporal, spatial, ownBlock()],
      ]) {
        const first = candidates[0] === spatial ? 0 : 1;
        expect(await chosen(call, bestOf(candidates, { by }), candidates)).toEqual([first, 1 - first, first, 1 - first]);
      }
    }
  });

  test('the first that recalls enough is taken, and the last when none does', async () => {
    const ops = await opened;
    const call = callOf(ops, layouts[0], 2);
    const candidates = [ownBlock(), temporal, spatial, checkerboard()];
    // A frame is two blocks, so the own block recalls half of what even heads read.
    expect(await chosen(call, bestOf(candidates, { atLeast: 0.9 }), candidates)).toEqual([2, 1]);
    expect((await chosen(call, bestOf(candidates, { atLeast: 0.4 }), candidates))[0]).toBe(0);
    const vague = callOf(ops, layouts[0], 2, 0);
    expect(await chosen(vague, bestOf(candidates, { atLeast: 0.9 }), candidates)).toEqual([3, 3]);
  });

  test('what is judged is what runs: the error is that of the plan itself', async () => {
    const ops = await opened;
    const judged: number[][] = [];
    const watched: Backend = {
      ...ops,
      attend(q, k, v, plan, ...rest) {
        void ops.read(plan.counts).then((counts) => judged.push([...counts]));
        return ops.attend(q, k, v, plan, ...rest);
      },
    };
    const call = callOf(watched, both(raster(8)(grid(4, 4, 4))), 1);
    await ops.read(bestOf([spatial, ownBlock()], { by: 'error', rows: 16 })(call));
    expect(judged).toEqual([
      [2, 2],
      [1, 1],
      [8, 8],
    ]);
  });

  test.each(['recall', 'error'] as const)('a video of one token has one choice, by %s', async (by) => {
    const call = callOf(await opened, both(tiles(4, 4, 4)(grid(1, 1, 1))), 3);
    expect([...(await call.ops.read(bestOf([spatial, temporal], { by })(call)))]).toEqual([Infinity, Infinity, Infinity]);
  });

  test('it promises no more forced blocks than its widest candidate', () => {
    const layout = both(raster(8)(grid(4, 4, 4)));
    expect(bestOf([ownBlock(), spatial, temporal]).forced!(layout)).toBe(pattern(temporal).forced!(layout));
    expect(bestOf([ownBlock(), spatial]).forced!(layout)).toBe(2);
  });
});

test('what cannot be judged is refused', () => {
  expect(() => bestOf([])).toThrow('bestOf got no candidates');
  expect(() => bestOf([spatial], { rows: 0 })).toThrow('0 rows');
  expect(() => bestOf([spatial], { atLeast: 90 })).toThrow('at least 90');
  expect(() => bestOf([spatial], { by: 'error', atLeast: 0.9 })).toThrow('least error');
});
