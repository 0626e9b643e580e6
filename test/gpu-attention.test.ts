// The presets on the GPU: what they put out on the CPU, and no memory that outlives its use.
import { describe, expect, test } from 'vitest';
import { createAttention } from '../src/attention.ts';
import type { Backend } from '../src/backend/backend.ts';
import { webgpuBackend } from '../src/backend/webgpu/backend.ts';
import type { Method } from '../src/method.ts';
import { adaSpa, pyramidSparse } from '../src/methods.ts';
import { rank } from '../src/search/select.ts';
import { type Grid, type Plan, tokensOf } from '../src/sparse3d/plan.ts';
import type { Numbers } from '../src/tensor.ts';
import { openedOps } from './backend/opened.ts';
import { openedGpu } from './gpu/device.ts';
import { numbers } from './sparse3d/cases.ts';

const STEPS = 5;
const [HEADS, DIM] = [2, 16];
const grid: Grid = { frames: 3, height: 6, width: 8, text: 9 };
const items = [0, 1];

async function drive(ops: Backend, { attention }: ReturnType<typeof createAttention>): Promise<Numbers[]> {
  const outputs: Numbers[] = [];
  for (let step = 0; step < STEPS; step++) {
    const shape = [items.length * HEADS, tokensOf(grid), DIM];
    const qkv = [1, 2, 3].map((seed) => ops.upload(numbers(shape[0] * shape[1] * DIM, 10 * step + seed, 1), shape));
    const out = attention(qkv[0], qkv[1], qkv[2], { step, steps: STEPS, layer: 0, layers: 1, branches: items, grid });
    outputs.push(await ops.read(out));
    for (const tensor of [...qkv, out]) ops.release(tensor);
  }
  return outputs;
}

const gpu = await openedGpu();

describe.skipIf(!gpu)('presets on the GPU', async () => {
  if (!gpu) return;
  const ops = await webgpuBackend(gpu);
  const cpu = openedOps('onnxruntime-node');
  const presets: readonly Method[] = [adaSpa({ sparsity: 0.5 }), pyramidSparse()];

  test.each(presets)('$name puts out what it does on the CPU', async (method) => {
    const [bound, onCpu] = [createAttention(ops, method), createAttention(await cpu, method)];
    const [outputs, expected] = [await drive(ops, bound), await drive(await cpu, onCpu)];
    for (const [step, out] of outputs.entries())
      for (const [at, x] of expected[step].entries()) expect(Math.abs(out[at] - x), `step ${step}`).toBeLessThan(1e-4);
    expect((await bound.take()).density).toBeCloseTo((await onCpu.take()).density, 6);
    bound.reset();
  });

  test.each(presets)('$name holds on to no more than its plans, and to nothing after a run', async (method) => {
    const plans: Plan[] = [];
    const watched: Method = {
      ...method,
      select(...call) {
        plans.push(method.select(...call));
        return plans[plans.length - 1];
      },
    };
    const bound = createAttention(ops, watched);
    // The second run makes its plans beside those of the first.
    for (let run = 0; run < 2; run++) await drive(ops, bound);
    const { bytes } = gpu.memory;
    const densities = [bound.density()];
    await drive(ops, bound);
    expect(gpu.memory.bytes).toBe(bytes);
    densities.push(bound.density());
    const last = plans.slice(-items.length);
    for (const { counts, blocks } of last) for (const x of [counts, blocks]) await expect(ops.read(x)).resolves.toBeDefined();
    bound.reset();
    for (const { counts, blocks } of plans) for (const x of [counts, blocks]) await expect(ops.read(x)).rejects.toThrow('freed');
    for (const density of await Promise.all(densities)) expect(density).toBeGreaterThan(0);
  });

  test('a scorer that promises nothing gets plans as wide as the key blocks', async () => {
    const widths: number[] = [];
    const method: Method = {
      ...adaSpa(),
      score: (call) => call.ops.sampledScores(call.q, call.k, call.layout, { queries: 1, keys: 1, seed: 0 }),
      select(...call) {
        const plan = rank()(...call);
        widths.push(plan.blocks.shape[2]);
        return plan;
      },
    };
    await drive(ops, createAttention(ops, method));
    expect(new Set(widths)).toEqual(new Set([3 + 1]));
  });
});
