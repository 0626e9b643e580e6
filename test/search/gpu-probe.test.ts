// Probes, antidiagonals and errors of pooling on the GPU: made piece by piece as all at once, and kernels for f16 at least compiled.
import { describe, expect, test } from 'vitest';
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import { conformance, runChecks } from '../../src/conformance/index.ts';
import { searchGpuOps } from '../../src/search/gpu.ts';
import { searchKernels } from '../../src/search/kernels/index.ts';
import { tiles } from '../../src/sparse3d/layout.ts';
import { toBlocked } from '../../src/sparse3d/permute.ts';
import { tokensOf } from '../../src/sparse3d/plan.ts';
import type { Tensor } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';
import { nullGpu } from '../gpu/null.ts';
import { numbers } from '../sparse3d/cases.ts';

const gpu = await openedGpu();

describe.skipIf(!gpu)('on the GPU', () => {
  test('tables that are made piece by piece are as those made at once', async () => {
    const kernels = await loadKernels(searchKernels);
    const [whole, pieces] = [{}, { tableBytes: 10_000 }].map((options) => searchGpuOps(gpu!, kernels, options));
    const layout = tiles(2, 4, 4)({ frames: 3, height: 7, width: 5, text: 3 });
    const [heads, dim] = [2, 8];
    const [q, k, v] = [1, 2, 3].map((seed) => {
      const x = toBlocked(numbers(heads * tokensOf(layout.grid) * dim, seed), heads, dim, layout);
      return gpu!.upload(x, [heads, layout.order.length, dim]);
    });
    const pair = { q: layout, k: layout };
    const rows = Int32Array.from({ length: 2 * layout.blocks }, (_, at) => Math.floor(at / 2) * layout.block);
    const means = gpu!.upload(numbers(heads * 31 * dim, 4), [heads, 31, dim]);
    const made: readonly ((ops: typeof whole) => Tensor)[] = [
      (ops) => ops.probeBlocks(q, k, rows, pair),
      (ops) => ops.blockSums(ops.probe(q, k, rows, pair), layout),
      (ops) => ops.antidiagonal(q, k, pair, { stride: 4 }),
      (ops) => ops.poolingError(means, k, layout, v),
    ];
    for (const [at, make] of made.entries()) {
      const [expected, actual] = await Promise.all([whole, pieces].map((ops) => gpu!.read(make(ops) as never)));
      expect([...actual], `operation ${at}`).toEqual([...expected]);
      expect(new Set(expected).size).toBeGreaterThan(10);
    }
    const [blocks, sums] = await Promise.all(made.slice(0, 2).map((make) => gpu!.read(make(whole) as never)));
    for (const [at, sum] of sums.entries()) expect(blocks[at]).toBeCloseTo(sum, 5);
  });
});

describe('on a GPU that only compiles', () => {
  const device = nullGpu();

  test('kernels for f16 are WGSL', async () => {
    const ops = await webgpuBackend(device());
    const concerned = /^(probes|poolingError|blockPeaks|quantize)/;
    let compiled = 0;
    for await (const outcome of runChecks(
      conformance('f16').filter(({ name }) => concerned.test(name)),
      ops,
    )) {
      if ('failed' in outcome) expect(outcome.failed, outcome.name).not.toMatch(/\.wgsl:\d+:\d+|the header of/);
      if (!('skipped' in outcome)) compiled++;
    }
    expect(compiled).toBeGreaterThan(10);
  });
});
