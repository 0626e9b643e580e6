// The search operations of the CPU backend: scores from q and k as ONNX graphs, selection on plain numbers, all on the device's queue.
import type { Backend } from '../backend/backend.ts';
import { type CpuDevice, type CpuTensor, floatsOf, intsOf } from '../backend/cpu.ts';
import type { Plan } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { checkBlocked, checkPair, checkPlanOf, checkSelection, checkShape } from './checks.ts';
import { type CodeOps, codeOps } from './cpu-codes.ts';
import { blockMass } from './cpu-mass.ts';
import { type ProbeOps, probeOps } from './cpu-probe.ts';
import { blockPeaks, sampledScores } from './cpu-score.ts';
import { budgetsOf, capOf, recallOf, selectBlocks, type TableShape, tableOfPlan } from './cpu-select.ts';
import { planWidth } from './width.ts';

/** The part of `Backend` that finds plans. */
export type SearchOps = Pick<
  Backend,
  'blockMass' | 'blockPeaks' | 'sampledScores' | 'poolCap' | 'recall' | 'planTable' | 'headBudgets' | 'select'
> &
  CodeOps &
  ProbeOps;

/** `Backend`'s search operations on a CPU device. @throws RangeError when a tensor does not fit its layout or score table. */
export function searchOps(device: CpuDevice): SearchOps {
  return {
    ...codeOps(device),
    ...probeOps(device),
    blockMass(q, k, lse, layout) {
      checkPair(q, k, layout);
      checkShape('lse', lse, [q.shape[0], layout.q.blocks * layout.q.block]);
      return blockMass(device, q, k, lse, layout);
    },
    sampledScores(q, k, layout, sampling) {
      checkPair(q, k, layout);
      return sampledScores(device, q, k, layout, sampling);
    },
    blockPeaks(q, k, layout, { margin = false } = {}) {
      checkPair(q, k, layout);
      return blockPeaks(device, q, k, layout, margin);
    },
    poolCap(k, layout, pools) {
      checkBlocked('k', k, layout);
      const [heads, , dim] = k.shape;
      return one(device, [heads, layout.blocks], 'i32', async () => capOf(await floatsOf(k), heads, dim, layout, pools));
    },
    recall(scores, plan) {
      checkPlanOf(scores, plan);
      const width = plan.blocks.shape[2];
      return one(device, [scores.shape[0]], 'f32', async () =>
        recallOf(await floatsOf(scores), tableOf(scores), { counts: await intsOf(plan.counts), blocks: await intsOf(plan.blocks) }, width),
      );
    },
    planTable: (plan, numbers) => planTable(device, plan, numbers),
    headBudgets: (recall, options) => one(device, recall.shape, 'f32', async () => budgetsOf(await floatsOf(recall), options)),
    select: (scores, selection) => select(device, scores, selection),
  };
}

function select(device: CpuDevice, scores: Tensor, selection: Parameters<Backend['select']>[1]): Plan {
  checkSelection(scores, selection);
  const { levels, cap, budgets } = selection;
  const [heads, qBlocks, kBlocks] = tableOf(scores);
  const [counts, blocks] = device.enqueue(
    [
      { shape: [heads, qBlocks, levels.length], dtype: 'i32' },
      { shape: [heads, qBlocks, planWidth(selection, kBlocks)], dtype: 'i32' },
    ],
    async () => {
      const numbers = { ...selection, cap: cap && (await intsOf(cap)), budgets: budgets && (await floatsOf(budgets)) };
      const plan = selectBlocks(await floatsOf(scores), [heads, qBlocks, kBlocks], numbers);
      return [plan.counts, plan.blocks];
    },
  );
  return { counts, blocks, levels, keyBlocks: kBlocks };
}

function planTable(device: CpuDevice, plan: Plan, numbers: { readonly read: number; readonly left: number }): CpuTensor {
  const [heads, qBlocks, width] = plan.blocks.shape;
  const shape = [heads, qBlocks, plan.keyBlocks ?? width] as const;
  return one(device, shape, 'f32', async () =>
    tableOfPlan({ counts: await intsOf(plan.counts), blocks: await intsOf(plan.blocks) }, shape, width, numbers),
  );
}

function one(device: CpuDevice, shape: readonly number[], dtype: 'f32' | 'i32', job: () => Promise<Float32Array | Int32Array>): CpuTensor {
  return device.enqueue([{ shape, dtype }], async () => [await job()])[0];
}

const tableOf = ({ shape }: Tensor): TableShape => [shape[0], shape[1], shape[2]];
