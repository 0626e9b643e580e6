// The search operations of the WebGPU backend: scores, how coarsely blocks may be read, selection. All of it is enqueued; nothing is read back.
import type { Backend, Sampling, Selection } from '../backend/backend.ts';
import { type GpuDevice, gpuTensor } from '../backend/webgpu/device.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { checkBlocked, checkDim, checkPair, checkPlanOf, checkSelection, checkShape } from './checks.ts';
import type { CodeOps } from './cpu-codes.ts';
import type { ProbeOps } from './cpu-probe.ts';
import { codeGpuOps } from './gpu-codes.ts';
import { probeGpuOps } from './gpu-probe.ts';
import { blockMass, blockPeaks, poolCap, sampledScores } from './gpu-score.ts';
import { headBudgets, planTable, recall, select } from './gpu-select.ts';
import type { SearchKernels } from './kernels/index.ts';

/** The part of `Backend` that finds plans. */
export type SearchGpuOps = Pick<
  Backend,
  'blockMass' | 'blockPeaks' | 'sampledScores' | 'poolCap' | 'recall' | 'planTable' | 'headBudgets' | 'select'
> &
  CodeOps &
  ProbeOps;

export interface SearchGpuOptions {
  /** The variant of the products of q and k to use; the best that can run here when left out. */
  readonly score?: string;
  /** Bytes that sorted rows, or peaks of drawn rows, may take at a time. Default 64 MiB. */
  readonly tableBytes?: number;
}

/**
 * `Backend`'s search operations on a WebGPU device; q and k are f32 or f16. Sums are f32: a cut of mass may take a block more or less than
 * exact sums would when a row's mass up to it is within about 1e-6 of the cut.
 * @throws RangeError when a tensor does not fit its layout or score table.
 */
export function searchGpuOps(device: GpuDevice, kernels: SearchKernels, options: SearchGpuOptions = {}): SearchGpuOps {
  const tensor = (x: Tensor) => gpuTensor(device, x);
  const parts = { device, kernels, wanted: options.score, tableBytes: options.tableBytes ?? 64 * 2 ** 20 };
  return {
    ...codeGpuOps(parts),
    ...probeGpuOps(parts),
    blockMass(q, k, lse, layout) {
      checkPair(q, k, layout);
      checkDim(q);
      checkShape('lse', lse, [q.shape[0], layout.q.blocks * layout.q.block]);
      return blockMass(parts, tensor(q), tensor(k), tensor(lse), layout);
    },
    sampledScores(q: Tensor, k: Tensor, layout: { q: Layout; k: Layout }, sampling: Sampling) {
      checkPair(q, k, layout);
      checkDim(q);
      return sampledScores(parts, tensor(q), tensor(k), layout, sampling);
    },
    blockPeaks(q, k, layout, { margin = false } = {}) {
      checkPair(q, k, layout);
      checkDim(q);
      return blockPeaks(parts, tensor(q), tensor(k), layout, margin);
    },
    poolCap(k, layout, pools) {
      checkBlocked('k', k, layout);
      checkDim(k);
      return poolCap(parts, tensor(k), layout, pools);
    },
    recall(scores, plan) {
      checkPlanOf(scores, plan);
      return recall(parts, tensor(scores), tensor(plan.counts), tensor(plan.blocks));
    },
    planTable: (plan, numbers) => planTable(parts, plan, tensor(plan.counts), tensor(plan.blocks), numbers),
    headBudgets: (shares, options) => headBudgets(parts, tensor(shares), options),
    select(scores: Tensor, selection: Selection) {
      checkSelection(scores, selection);
      return select(parts, tensor(scores), selection);
    },
  };
}
