// Layers that follow the plan of another one: whose plan is attended by, and that it is freed once.
import { expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import type { Backend } from '../src/backend/backend.ts';
import { pyramidSparse } from '../src/methods.ts';
import { randomFrom } from '../src/search/sampling.ts';
import { searchLayers } from '../src/search/schedule.ts';
import { cyclic, tiles } from '../src/sparse3d/layout.ts';
import type { Plan } from '../src/sparse3d/plan.ts';
import type { Tensor } from '../src/tensor.ts';
import { openedOps } from './backend/opened.ts';

const grid = { frames: 5, height: 7, width: 9, text: 0 };

test('layers attend by the plan of the layer that searched', async () => {
  const plans: Plan[] = [];
  const released: Tensor[] = [];
  const ops = await openedOps('onnxruntime-node');
  const watched: Backend = {
    ...ops,
    attend(q, k, v, plan, ...rest) {
      plans.push(plan);
      return ops.attend(q, k, v, plan, ...rest);
    },
    release: (x) => released.push(x),
  };
  const method = { ...pyramidSparse({ sparsity: 0.5 }), schedule: searchLayers({ denseLayers: 1 }) };
  const { attention, take, reset } = createAttention(watched, method);
  const random = randomFrom(1);
  const draw = () =>
    ops.upload(
      Float32Array.from({ length: 2 * 315 * 16 }, () => random() - 0.5),
      [2, 315, 16],
    );
  for (const step of [0, 1])
    for (const layer of [0, 1, 2, 3]) attention(draw(), draw(), draw(), { step, steps: 2, layer, layers: 4, branches: [0], grid });
  // Layer 0 is dense, 1 and 2 search, 3 follows 2.
  expect(await take()).toMatchObject({ calls: 8, dense: 2, searches: 4, reuses: 2 });
  expect(plans.length).toBe(6);
  expect(plans[2]).toBe(plans[1]);
  expect(plans[5]).toBe(plans[4]);
  expect(new Set(plans).size).toBe(4);
  reset();
  expect(new Set(released).size).toBe(released.length);
  expect(released.length).toBe(8);
});

test('a layer whose blocks hold other tokens follows no plan', async () => {
  const ops = await openedOps('onnxruntime-node');
  const layout = cyclic(tiles(1, 8, 8), tiles(4, 4, 4));
  const { attention } = createAttention(ops, { ...pyramidSparse({ sparsity: 0.5 }), layout, schedule: searchLayers({ at: [] }) });
  const x = ops.upload(new Float32Array(315 * 16), [1, 315, 16]);
  const at = (layer: number) => () => attention(x, x, x, { step: 0, steps: 1, layer, layers: 4, branches: [0], grid });
  expect(at(0)).not.toThrow();
  expect(at(1)).toThrow('layer 1 follows the plan of layer 0, whose tokens are in the order tiles(1,8,8), not tiles(4,4,4)');
  expect(at(2)).not.toThrow();
});
