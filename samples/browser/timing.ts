// Times of attention on a WebGPU device: dense and by a plan of a quarter of the blocks, for each variant and storage.
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import type { GpuDevice } from '../../src/backend/webgpu/device.ts';
import { input, type Storage } from '../../src/conformance/inputs.ts';
import { attendVariants } from '../../src/sparse3d/gpu-attend.ts';
import { raster } from '../../src/sparse3d/layout.ts';

const [HEADS, DIM, RUNS] = [4, 64, 3];

/** What is timed: as much as a GPU does in milliseconds and a software adapter in a second. */
export function sizeFor({ adapter }: GpuDevice) {
  const frames = adapter.software ? 2 : 32;
  return { heads: HEADS, dim: DIM, tokens: frames * 16 * 16, layout: raster(64)({ frames, height: 16, width: 16, text: 0 }) };
}

export interface Timing {
  readonly variant: string;
  readonly stored: Storage;
  /** Why the variant cannot run here. */
  readonly lacking?: string;
  /** Dense and sparse; absent before they are known. */
  readonly milliseconds?: readonly [dense: number, sparse: number];
  /** The share of all timings that is done. */
  readonly done: number;
}

/** Each variant and storage before it is measured, and again with its times. */
export async function* timings(gpu: GpuDevice): AsyncGenerator<Timing> {
  const cases = attendVariants.flatMap((variant) => (['f16', 'f32'] as const).map((stored) => ({ variant, stored })));
  for (const [at, { variant, stored }] of cases.entries()) {
    const lacking = variant.lacking(gpu.adapter, { dim: DIM, dtype: stored });
    const timing = { variant: variant.name, stored, lacking, done: at / cases.length };
    yield timing;
    if (!lacking) yield { ...timing, milliseconds: await measured(gpu, variant.name, stored) };
  }
}

async function measured(gpu: GpuDevice, attend: string, stored: Storage): Promise<[number, number]> {
  const { layout } = sizeFor(gpu);
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
  const times: [number, number] = [
    await median(gpu, () => ops.scope(() => void ops.attendAll(q, k, v))),
    await median(gpu, () => ops.scope(() => void ops.attend(q, k, v, plan, { q: layout, k: layout }))),
  ];
  for (const tensor of [q, k, v, plan.counts, plan.blocks]) ops.release(tensor);
  return times;
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
