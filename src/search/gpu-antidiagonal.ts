// Antidiagonal scores on WebGPU: groups of tokens become rows, of which weights are made some query blocks at a time.
import type { GpuTensor } from '../backend/webgpu/device.ts';
import { countTable, f16Header, gridOf } from '../sparse3d/gpu-memory.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { biasTable, rowsAtOnce, rowWeights, sumBlocks, type Weighed } from './gpu-probe.ts';
import type { Parts } from './gpu-score.ts';
import { groupShares } from './rows.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

/** `Backend.antidiagonal`: groups of tokens become rows, the keys' in reverse order, so that one product sums along antidiagonals. */
export function antidiagonal(parts: Parts, q: GpuTensor, k: GpuTensor, layout: Layouts, stride: number): GpuTensor {
  const { device, tableBytes } = parts;
  const [heads, , dim] = q.shape;
  const { blocks } = layout.q;
  return device.scope(() => {
    const scores = device.tensor([heads, blocks, layout.k.blocks], 'f32');
    const [rows, keys] = [grouped(parts, q, layout.q, stride, false), grouped(parts, k, layout.k, stride, true)];
    const weighed = {
      q: rows,
      k: keys,
      chosen: device.cached(layout.q, `groups/${stride}`, () =>
        device.upload(
          Int32Array.from({ length: rows.shape[1] }, (_, at) => at),
          [rows.shape[1]],
        ),
      ),
      bias: biasTable(device, layout.k, stride),
      scale: 1 / Math.sqrt(dim) / stride,
    };
    const perBlock = rows.shape[1] / blocks;
    const together = rowsAtOnce(tableBytes, heads, keys.shape[1], perBlock) / perBlock;
    for (let first = 0; first < blocks; first += together)
      scoreGroups(parts, weighed, scores, layout, stride, first, Math.min(together, blocks - first));
    return scores;
  });
}

/** Scores of `count` query blocks from `first` on. */
function scoreGroups(
  parts: Parts,
  weighed: Weighed,
  scores: GpuTensor,
  layout: Layouts,
  stride: number,
  first: number,
  count: number,
): void {
  const { device, kernels } = parts;
  const [heads, qBlocks, kBlocks] = scores.shape;
  const perBlock = layout.q.block / stride;
  device.scope(() => {
    const weights = rowWeights(parts, weighed, first * perBlock, count * perBlock);
    const sums = device.tensor([heads, count * perBlock, kBlocks], 'f32');
    const groups = device.cached(layout.k, `group-counts/${stride}`, () =>
      device.upload(
        layout.k.counts.map((tokens) => Math.ceil(tokens / stride)),
        [kBlocks],
      ),
    );
    sumBlocks(parts, weights, groups, layout.k.block / stride, sums, 0);
    device.dispatch({
      kernel: kernels.groupRows,
      header: { constants: { GROUPS: perBlock } },
      tensors: [
        sums,
        device.cached(layout.q, `shares/${stride}`, () => device.upload(groupShares(layout.q, stride), [qBlocks * perBlock])),
        scores,
      ],
      uniform: Uint32Array.of(heads, count, kBlocks, qBlocks, first, 0, 0, 0),
      workgroups: gridOf(heads * count * kBlocks),
    });
  });
}

/** Groups of `stride` slots as rows, [heads, slots / stride, stride * dim]. */
function grouped({ device, kernels }: Parts, x: GpuTensor, layout: Layout, stride: number, reversed: boolean): GpuTensor {
  const [heads, slots, dim] = x.shape;
  const groups = device.tensor([heads, slots / stride, stride * dim], x.dtype);
  device.dispatch({
    kernel: kernels.stridedGroups,
    header: {
      ...f16Header(x.dtype),
      alias: { Scalar: x.dtype },
      constants: { DIM: dim, BLOCK: layout.block, STRIDE: stride, REVERSED: reversed },
    },
    tensors: [x, countTable(device, layout), groups],
    uniform: Uint32Array.of(slots, heads, 0, 0),
    workgroups: gridOf((heads * slots * dim) / 4),
  });
  return groups;
}
