// Times of attention on a WebGPU device: dense and by a plan of a quarter of the blocks, for each variant and storage.
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import type { GpuDevice } from '../../src/backend/webgpu/device.ts';
import { input, type Storage } from '../../src/conformance/inputs.ts';
import { attendVariants } from '../../src/sparse3d/gpu-attend.ts';
import { raster } from '../../src/sparse3d/layout.ts';

const [HEADS, DIM, RUNS] = [4, 64, 3];
const layout = raster(64)({ frames: 2, height: 16, width: 16, text: 0 });

export interface Timing {
  readonly variant: string;
  readonly stored: Storage;
  /** Dense and sparse, or the one reason why the variant cannot run. */
  readonly results: readonly string[];
  /** The share of all timings that is done. */
  readonly done: number;
}

/** One line a variant and storage, as they are measured. */
export async function* timings(gpu: GpuDevice): AsyncGenerator<Timing> {
  const cases = attendVariants.flatMap((variant) => (['f16', 'f32'] as const).map((stored) => ({ variant, stored })));
  for (const [at, { variant, stored }] of cases.entries()) {
    const reason = variant.lacking(gpu.adapter, { dim: DIM, dtype: stored });
    const results = reason ? [reason] : await measured(gpu, variant.name, stored);
    yield { variant: variant.name, stored, results, done: (at + 1) / cases.length };
  }
}

async function measured(gpu: GpuDevice, attend: string, stored: Storage): Promise<string[]> {
  const ops = await webgpuBackend(gpu, { attend });
  const [q, k, v] = [1, 2, 3].map((seed) => input(ops, stored, [HEADS, layout.order.length, DIM], seed));
  const { blocks } = layout;
  const width = blocks / 4;
  const lists = Int32Array.from({ length: HEADS * blocks * width }, (_, at) => (Math.floor(at / width) + 4 * (at % width)) % blocks);
  const plan = {
    counts: ops.upload(new Int32Array(HEADS * blocks).fill(width), [HEADS, blocks, 1]),
    blocks: ops.upload(lists, [HEADS, blocks, width]),
    levels: [{ pool: 1, upTo: 1 }],
    keyBlocks: blocks,
  };
  const times = [
    await median(gpu, () => ops.scope(() => void ops.attendAll(q, k, v))),
    await median(gpu, () => ops.scope(() => void ops.attend(q, k, v, plan, { q: layout, k: layout }))),
  ];
  for (const tensor of [q, k, v, plan.counts, plan.blocks]) ops.release(tensor);
  return times.map((milliseconds) => `${milliseconds < 10 ? milliseconds.toFixed(2) : Math.round(milliseconds)} ms`);
}

/** Median milliseconds of what `body` launches, after one run that compiles. */
async function median(gpu: GpuDevice, body: () => void): Promise<number> {
  const runs: number[] = [];
  for (let run = 0; run <= RUNS; run++) {
    const milliseconds = await time(gpu, body);
    if (run > 0) runs.push(milliseconds);
  }
  return runs.sort((a, b) => a - b)[RUNS >> 1];
}

async function time(gpu: GpuDevice, body: () => void): Promise<number> {
  if (gpu.adapter.features.has('timestamp-query'))
    return (await gpu.profile(body)).reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const start = performance.now();
  body();
  await gpu.idle();
  return performance.now() - start;
}
