// Tokens in a method's order from the first layer to the last: the same velocity as when they move at every attention call.
import { afterAll, describe, expect, test } from 'vitest';
import { type BoundAttention, createAttention } from '../../src/attention.ts';
import { openCpu } from '../../src/backend/cpu.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import type { Executor, Seam } from '../../src/dit/executor.ts';
import { cpuExecutor } from '../../src/dit/onnx/executor.ts';
import { transformer } from '../../src/dit/transformer.ts';
import { wanTransformer } from '../../src/dit/wan.ts';
import { gpuExecutor } from '../../src/dit/webgpu/executor.ts';
import { ditKernels } from '../../src/dit/webgpu/kernels/index.ts';
import { planProgram } from '../../src/dit/webgpu/plan.ts';
import { memoryWeights, type TensorData } from '../../src/dit/weights.ts';
import type { Method } from '../../src/method.ts';
import { keptOrder } from '../../src/method-order.ts';
import { withQueryBlocks } from '../../src/method-queries.ts';
import { adaSpa } from '../../src/methods.ts';
import { sparse3dKernels } from '../../src/sparse3d/kernels/index.ts';
import { curve, cyclic, raster, tiles } from '../../src/sparse3d/layout.ts';
import { isRaster, oneBlock, paddingOf, wholePlan } from '../../src/sparse3d/order.ts';
import type { Layout } from '../../src/sparse3d/plan.ts';
import { attendAllReference, rowsOf } from '../../src/sparse3d/reference.ts';
import { elements, type Tensor } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';
import { numbers, relativeError } from '../sparse3d/cases.ts';

const device = await openCpu();
afterAll(() => device.dispose());
const gpu = await openedGpu();
const launched: string[] = [];
const memory = (): number => {
  gpu?.trim();
  return gpu?.memory.bytes ?? 0;
};
const counting = gpu && Object.assign(gpu, { dispatch: counted(gpu.dispatch) });
const executors = { cpu: cpuExecutor(device), ...(counting && { webgpu: await gpuExecutor(counting) }) };
const named = Object.entries(executors);

/** Notes the kernel of every launch. */
function counted(dispatch: NonNullable<typeof gpu>['dispatch']): typeof dispatch {
  return (launch) => {
    launched.push(launch.kernel.name);
    dispatch(launch);
  };
}

const wan = {
  patch: [1, 2, 2] as const,
  ...{ heads: 2, headDim: 16, inChannels: 4, outChannels: 4, textDim: 12, freqDim: 16, ffnDim: 48, layers: 2 },
  ...{ crossAttentionNorm: true, epsilon: 1e-6, maxPositions: 64 },
};
const weights = (() => {
  const tensors: Record<string, TensorData> = {};
  for (const { operation, shape, id } of wanTransformer(wan, { batch: 1, frames: 1, height: 2, width: 2, textTokens: 1 }).nodes)
    if (operation.op === 'weight')
      tensors[operation.name] = { dtype: 'F32', shape, data: numbers(elements(shape), 100 + id, 2).map((x) => x / 4) };
  return memoryWeights(tensors);
})();

const STEPS = 4;
/** A dense step, a first search, a reuse and a search by the log-sum-exp of the first; fewer than half of the blocks are read. */
const sparse = (layout: Method['layout']): Method => ({
  ...adaSpa({ sparsity: 0.6 }),
  name: 'sparse',
  layout,
  schedule: ({ step }) => (['dense', 'search', 'reuse', 'search'] as const)[step],
});

const grid = { frames: 5, height: 7, width: 9, text: 0 };
/** Those of whole tiles have other sides. */
const even = { frames: 4, height: 6, width: 8, text: 0 };
const orders = [
  ['a curve whose last block is short', grid, curve(64)],
  ['raster order whose last block is short', grid, raster(64)],
  ['tiles', even, tiles(2, 3, 4)],
  ['raster order of whole blocks', even, raster(64)],
] as const;

interface Run {
  readonly velocities: number[][];
  /** Launches that put rows in another order. */
  readonly permuted: number;
  /** Bytes of the GPU that stay taken. */
  readonly left: number;
  readonly densities: number[];
}

/** Two branches in a batch at each step, with the order that the attention keeps or with none. */
async function run(executor: Executor, method: Method, of: typeof grid, { kept = true, perToken = false } = {}): Promise<Run> {
  const before = memory();
  const { ops } = executor;
  const model = transformer(wan, weights, executor);
  const attention: BoundAttention = createAttention(ops, method);
  const latents = ops.upload(numbers(elements(latentShape(of)), 3, 1), latentShape(of));
  const text = ops.upload(numbers(2 * 7 * 12, 5, 1), [2, 7, 12]);
  const tokens = of.frames * of.height * of.width;
  const [velocities, densities]: [number[][], number[]] = [[], []];
  let permuted = 0;
  for (let step = 0; step < (perToken ? 1 : STEPS); step++) {
    const site = { step, steps: STEPS, layers: wan.layers, branches: [0, 1], grid: of };
    const layout = kept ? attention.order(site) : undefined;
    const seam: Seam = (q, k, v, layer) => attention.attention(q, k, v, { ...site, layer, ...(layout && { layout }) });
    const timesteps = Array.from({ length: perToken ? 2 * tokens : 2 }, (_, at) => 900 - 100 * step - (at % 50));
    launched.length = 0;
    const velocity = await model.forward({ latents, timesteps, text }, seam, layout);
    permuted += launched.filter((name) => name.startsWith('permute')).length;
    velocities.push([...(await ops.read(velocity))]);
    densities.push((await attention.take()).density);
    ops.release(velocity);
  }
  attention.reset();
  await model.dispose();
  for (const x of [latents, text]) ops.release(x);
  return { velocities, permuted, densities, left: memory() - before };
}

const latentShape = ({ frames, height, width }: typeof grid) => [2, 4, frames, 2 * height, 2 * width];

/** Velocities of raster order on the CPU, where tokens move at every attention call. */
const apart = (of: typeof grid, method: Method, perToken?: boolean) => run(executors.cpu, method, of, { kept: false, perToken });

describe.each(named)('on %s', (name, executor) => {
  const served = name === 'cpu' ? orders : [orders[0], orders[3]];
  test.each(served)(
    '%s: the velocities are those of raster order',
    async (_, of, layout) => {
      const [kept, moved] = [await run(executor, sparse(layout), of), await apart(of, sparse(layout))];
      for (const [step, velocity] of kept.velocities.entries()) {
        expect(velocity.every(Number.isFinite)).toBe(true);
        expect(relativeError(velocity, moved.velocities[step]), `step ${step}`).toBeLessThan(name === 'cpu' ? 2e-5 : 1e-4);
      }
      for (const [step, density] of kept.densities.entries()) expect(density).toBeCloseTo(moved.densities[step], 6);
      expect(kept.densities[2]).toBeLessThan(0.9);
      if (name === 'cpu') return;
      // Once before the first layer and once after the last, or not at all where the order is raster.
      expect(kept.permuted).toBe(isRaster(layout(of)) ? 0 : 2 * STEPS);
      // What stays is kernels' small tables; one tensor of tokens would be more.
      expect(kept.left).toBeLessThan(2e4);
    },
    300_000,
  );

  const halves = [
    ['whole blocks', { frames: 4, height: 8, width: 8, text: 0 }, 64],
    ['a last block that keys have no slots for', { frames: 7, height: 8, width: 9, text: 0 }, 8],
  ] as const;
  test.each(name === 'cpu' ? halves : halves.slice(0, 1))(
    'queries in blocks twice as large, %s: the velocities are those of raster order',
    async (_, of, block) => {
      const method = withQueryBlocks(sparse(curve(block)), 2 * block);
      const [kept, moved] = [await run(executor, method, of), await apart(of, method)];
      for (const [step, velocity] of kept.velocities.entries())
        expect(relativeError(velocity, moved.velocities[step]), `step ${step}`).toBeLessThan(name === 'cpu' ? 2e-5 : 1e-4);
      for (const [step, density] of kept.densities.entries()) expect(density).toBeCloseTo(moved.densities[step], 6);
      expect(kept.densities[2]).toBeLessThan(0.9);
      if (name !== 'cpu') expect(kept.permuted).toBe(2 * STEPS);
    },
    300_000,
  );

  test('timesteps of each token go with it', async () => {
    const method: Method = { ...sparse(curve(64)), schedule: ({ step }) => (step > 2 ? 'search' : 'dense') };
    const [kept, moved] = [await run(executor, method, grid, { perToken: true }), await apart(grid, method, true)];
    expect(relativeError(kept.velocities[0], moved.velocities[0])).toBeLessThan(name === 'cpu' ? 2e-5 : 1e-4);
  });

  test('one block of a layout is read to its last token, whatever stands behind', async () => {
    const { ops } = executor;
    const [layout, heads, dim] = [curve(64)(grid), 2, 16];
    const block = oneBlock(layout);
    const [slots, tokens] = [block.block, block.counts[0]];
    const given = [1, 2, 3].map((seed) => numbers(heads * slots * dim, seed));
    const [q, k, v] = given.map((x) => ops.upload(x, [heads, slots, dim]));
    const { out, lse } = ops.attend(q, k, v, wholePlan(ops, heads), { q: block, k: block });
    const [gotOut, gotLse] = [await ops.read(out), await ops.read(lse)];
    const fast = ops.attend(q, k, v, wholePlan(ops, heads), { q: block, k: block }, { lse: false });
    const real = given.map((x) => rowsOf(x, heads, dim).map((rows) => rows.slice(0, tokens)));
    for (let head = 0; head < heads; head++) {
      const twin = attendAllReference(real[0][head], real[1][head], real[2][head]);
      const filled = [...twin.out.flat(), ...new Array<number>((slots - tokens) * dim).fill(0)];
      const rows = (x: ArrayLike<number>, size: number) => Array.from(x).slice(head * slots * size, (head + 1) * slots * size);
      expect(relativeError(rows(gotOut, dim), filled)).toBeLessThan(2e-5);
      expect(relativeError(rows(await ops.read(fast.out), dim), filled)).toBeLessThan(2e-5);
      expect(relativeError(rows(gotLse, 1), [...twin.lse, ...new Array<number>(slots - tokens).fill(0)])).toBeLessThan(2e-5);
      expect(rows(gotOut, dim).slice(tokens * dim)).toEqual(filled.slice(tokens * dim));
    }
    for (const x of [q, k, v]) ops.release(x);
  });
});

test('on a GPU padding is masked on the way: an order takes two steps more, in f16 too', async () => {
  const kernels = { dit: await loadKernels(ditKernels), sparse3d: await loadKernels(sparse3dKernels) };
  const shape = { batch: 2, frames: 5, height: 14, width: 18, textTokens: 7 };
  for (const dtype of ['f32', 'f16'] as const) {
    const steps = (layout?: Layout) => planProgram(wanTransformer(wan, shape, layout), kernels, dtype).steps.length;
    expect(steps(curve(64)(grid))).toBe(steps() + 2);
  }
});

const forward = { step: 0, steps: STEPS, layers: 2, branches: [0, 1], grid };
const other = curve(64);
test.each<[string, Method, boolean]>([
  ['one layout for all', sparse(other), true],
  ['no sparse call', { ...sparse(other), schedule: () => 'dense' }, false],
  ['layouts by layer', sparse(cyclic(curve(64), raster(64))), false],
  ['one layout under two names', sparse(cyclic(other, other)), true],
  ['layouts by step', sparse((of, { step }) => (step < 3 ? other(of) : raster(64)(of))), false],
  ['layouts by branch', sparse((of, { branches }) => (branches[0] ? other(of) : raster(64)(of))), false],
  ['queries and keys by two names', sparse((of) => ({ q: other(of), k: other(of) })), true],
  ['queries and keys apart', sparse((of) => ({ q: other(of), k: raster(64)(of) })), false],
  ['larger blocks of keys', sparse((of) => ({ q: other(of), k: curve(128)(of) })), false],
  ['much padding', sparse(tiles(4, 4, 4)), false],
])('%s: an order is kept where it is one and worth it', (_, method, kept) => {
  expect(keptOrder(method)(forward)).toBe(kept ? other(grid) : undefined);
});

test("padding between tokens is no single block, and an order must be the method's own", () => {
  expect(paddingOf(tiles(4, 4, 4)(grid))).toBeGreaterThan(0);
  expect(() => oneBlock(tiles(4, 4, 4)(grid))).toThrow('the order tiles(4,4,4) has padding between its tokens');
  const { ops } = executors.cpu;
  const { attention } = createAttention(ops, sparse(raster(64)));
  const x: Tensor = ops.upload(new Float32Array(320 * 8), [1, 320, 8]);
  const site = { ...forward, step: 1, layer: 1, branches: [0], layout: other(grid) };
  expect(() => attention(x, x, x, site)).toThrow('tokens come in the order curve(64), but layer 1 of this method takes raster(64)');
});
