// Selection on WebGPU: scores to plans, the share of mass that a plan keeps, head budgets. No number is read back.
import type { Selection } from '../backend/backend.ts';
import type { GpuTensor } from '../backend/webgpu/device.ts';
import { gridOfGroups } from '../sparse3d/gpu-memory.ts';
import type { Plan } from '../sparse3d/plan.ts';
import type { Parts } from './gpu-score.ts';
import { planWidth } from './width.ts';

/** `Backend.recall`. */
export function recall({ device, kernels }: Parts, scores: GpuTensor, counts: GpuTensor, blocks: GpuTensor): GpuTensor {
  const [heads, qBlocks, kBlocks] = scores.shape;
  const shares = device.tensor([heads], 'f32');
  device.scope(() => {
    const kept = device.tensor([heads, qBlocks, 2], 'f32');
    device.dispatch({
      kernel: kernels.recall,
      header: { constants: { LEVELS: counts.shape[2] } },
      tensors: [scores, counts, blocks, kept],
      uniform: Uint32Array.of(heads * qBlocks, kBlocks, blocks.shape[2], 0),
      workgroups: gridOfGroups(heads * qBlocks),
    });
    device.dispatch({
      kernel: kernels.recallShare,
      header: {},
      tensors: [kept, shares],
      uniform: Uint32Array.of(qBlocks, 0, 0, 0),
      workgroups: [heads],
    });
  });
  return shares;
}

/** `Backend.headBudgets`. */
export function headBudgets(
  { device, kernels }: Parts,
  recall: GpuTensor,
  { threshold, sparsity }: { readonly threshold: number; readonly sparsity: number },
): GpuTensor {
  const [heads] = recall.shape;
  const budgets = device.tensor([heads], 'f32');
  const uniform = Uint32Array.of(heads, 0, 0, 0);
  new Float32Array(uniform.buffer).set([notAbove(threshold), Math.min((1 - sparsity) / 2, sparsity) / (1 - sparsity)], 1);
  device.dispatch({ kernel: kernels.headBudgets, header: {}, tensors: [recall, budgets], uniform, workgroups: [Math.ceil(heads / 64)] });
  return budgets;
}

/** The largest f32 that is not above x, so that an f32 is greater than both or neither. */
function notAbove(x: number): number {
  const near = Math.fround(x);
  return near <= x ? near : Math.fround(x - Math.abs(x) * 2 ** -24);
}

/** Levels that the uniform has room for. */
const MOST_LEVELS = 12;

/** `Backend.select`. @throws RangeError for more levels than 12. */
export function select(parts: Parts, scores: GpuTensor, selection: Selection): Plan {
  const { device } = parts;
  const [heads, qBlocks, kBlocks] = scores.shape;
  const { levels } = selection;
  if (levels.length > MOST_LEVELS) throw new RangeError(`a selection of ${levels.length} levels is too long; give at most ${MOST_LEVELS}`);
  const plan = {
    counts: device.tensor([heads, qBlocks, levels.length], 'i32'),
    blocks: device.tensor([heads, qBlocks, planWidth(selection, kBlocks)], 'i32'),
    levels,
    keyBlocks: kBlocks,
  };
  const capacity = 2 ** Math.ceil(Math.log2(kBlocks));
  const rows = Math.min(heads * qBlocks, Math.max(1, Math.floor(parts.tableBytes / 8 / capacity)));
  device.scope(() => {
    const sorted = device.tensor([rows, capacity, 2], 'i32');
    for (let first = 0; first < heads * qBlocks; first += rows)
      selectRows(parts, scores, selection, plan, sorted, first, Math.min(rows, heads * qBlocks - first));
  });
  return plan;
}

type GpuPlan = { readonly counts: GpuTensor; readonly blocks: GpuTensor };

function selectRows(
  { device, kernels }: Parts,
  scores: GpuTensor,
  { measure, levels, floor = 0, cap, budgets }: Selection,
  { counts, blocks }: GpuPlan,
  sorted: GpuTensor,
  first: number,
  rows: number,
): void {
  const [, qBlocks, kBlocks] = scores.shape;
  const [, capacity] = sorted.shape;
  const held = 8 * capacity <= device.adapter.limits.maxComputeWorkgroupStorageSize;
  device.dispatch({
    kernel: kernels.selectSort,
    header: { constants: { CAPACITY: capacity, HELD: held } },
    tensors: [scores, sorted],
    uniform: Uint32Array.of(first, rows, kBlocks, 0),
    workgroups: gridOfGroups(rows),
  });
  const uniform = Uint32Array.of(first, rows, qBlocks, kBlocks, blocks.shape[2], 0, 0, 0, ...levels.flatMap(() => [0, 0, 0, 0]));
  const floats = new Float32Array(uniform.buffer);
  floats[5] = floor;
  for (const [at, { upTo, pool }] of levels.entries()) floats.set([upTo, pool], 8 + 4 * at);
  device.dispatch({
    kernel: kernels.selectCut,
    header: {
      constants: {
        LEVELS: levels.length,
        CAPACITY: capacity,
        MASS: measure === 'mass',
        CAPPED: cap !== undefined,
        BUDGETED: budgets !== undefined,
      },
    },
    // Scores stand in for what is not read.
    tensors: [sorted, (cap ?? scores) as GpuTensor, (budgets ?? scores) as GpuTensor, counts, blocks],
    uniform,
    workgroups: gridOfGroups(rows),
  });
}
