// The kernels of the search. Each URL is written out so that bundlers find the file.
import type { Kernel } from '../../backend/webgpu/wgsl.ts';

export const searchKernels = {
  blockMass: new URL('./block-mass.wgsl', import.meta.url),
  blockMassMatrix: new URL('./block-mass.matrix.wgsl', import.meta.url),
  blockPeak: new URL('./block-peak.wgsl', import.meta.url),
  blockPeakMatrix: new URL('./block-peak.matrix.wgsl', import.meta.url),
  blockTile: new URL('./block-tile.wgsl', import.meta.url),
  draw: new URL('./draw.wgsl', import.meta.url),
  sampledScores: new URL('./sampled-scores.wgsl', import.meta.url),
  rowLogits: new URL('./row-logits.wgsl', import.meta.url),
  rowWeights: new URL('./row-weights.wgsl', import.meta.url),
  blockSums: new URL('./block-sums.wgsl', import.meta.url),
  lineSums: new URL('./line-sums.wgsl', import.meta.url),
  lines: new URL('./lines.wgsl', import.meta.url),
  stridedGroups: new URL('./strided-groups.wgsl', import.meta.url),
  groupRows: new URL('./group-rows.wgsl', import.meta.url),
  poolingError: new URL('./pooling-error.wgsl', import.meta.url),
  valueMoments: new URL('./value-moments.wgsl', import.meta.url),
  poolCap: new URL('./pool-cap.wgsl', import.meta.url),
  recall: new URL('./recall.wgsl', import.meta.url),
  recallShare: new URL('./recall-share.wgsl', import.meta.url),
  headBudgets: new URL('./head-budgets.wgsl', import.meta.url),
  selectSort: new URL('./select-sort.wgsl', import.meta.url),
  selectCut: new URL('./select-cut.wgsl', import.meta.url),
  blockMeans: new URL('./block-means.wgsl', import.meta.url),
  headMeans: new URL('./head-means.wgsl', import.meta.url),
  center: new URL('./center.wgsl', import.meta.url),
  tableProduct: new URL('./table-product.wgsl', import.meta.url),
  softmax: new URL('./softmax-rows.wgsl', import.meta.url),
  reduce: new URL('./reduce-rows.wgsl', import.meta.url),
  minMax: new URL('./min-max.wgsl', import.meta.url),
  top: new URL('./top.wgsl', import.meta.url),
  step: new URL('./step.wgsl', import.meta.url),
  broadcast: new URL('./broadcast.wgsl', import.meta.url),
  pick: new URL('./pick.wgsl', import.meta.url),
  subgroupOf: new URL('../../backend/webgpu/kernels/subgroup-of.wgsl', import.meta.url),
};

/** The kernels, read. */
export type SearchKernels = Readonly<Record<keyof typeof searchKernels, Kernel>>;
