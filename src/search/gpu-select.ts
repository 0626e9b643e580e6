// Selection on WebGPU: scores to plans, the share of mass that a plan keeps, head budgets. No number is read back.
import type { Selection } from '../backend/backend.ts';
import type { GpuTensor } from '../backend/webgpu/device.ts';
import type { Header } from '../backend/webgpu/wgsl.ts';
import { gridOfGroups } from '../sparse3d/gpu-memory.ts';
import type { Plan } from '../sparse3d/plan.ts';
import { marginOf } from './cut.ts';
import type { Parts } from './gpu-score.ts';
import { reachTogether } from './gpu-together.ts';
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

/** `Backend.planTable`. */
export function planTable(
  { device, kernels }: Parts,
  { keyBlocks }: Plan,
  counts: GpuTensor,
  blocks: GpuTensor,
  { read, left }: { readonly read: number; readonly left: number },
): GpuTensor {
  const [heads, qBlocks, width] = blocks.shape;
  const kBlocks = keyBlocks ?? width;
  const table = device.tensor([heads, qBlocks, kBlocks], 'f32');
  const uniform = Uint32Array.of(heads * qBlocks, kBlocks, width, 0, 0, 0, 0, 0);
  new Float32Array(uniform.buffer).set([read, left], 3);
  device.dispatch({
    kernel: kernels.planTable,
    header: { constants: { LEVELS: counts.shape[2] } },
    tensors: [counts, blocks, table],
    uniform,
    workgroups: gridOfGroups(heads * qBlocks),
  });
  return table;
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
  const { levels, over = 'row' } = selection;
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
    const reached = device.tensor([heads, qBlocks, levels.length], 'i32');
    if (over !== 'row') reachTogether(parts, scores, selection, uniformOf, reached);
    for (let first = 0; first < heads * qBlocks; first += rows)
      selectRows(parts, { scores, selection, plan, sorted, reached }, first, Math.min(rows, heads * qBlocks - first));
  });
  return plan;
}

type GpuPlan = { readonly counts: GpuTensor; readonly blocks: GpuTensor };

interface Rows {
  readonly scores: GpuTensor;
  readonly selection: Selection;
  readonly plan: GpuPlan;
  readonly sorted: GpuTensor;
  /** Where cuts fall in each row: i32 [heads, qBlocks, levels]. */
  readonly reached: GpuTensor;
}

/** Sorts rows from `first` on and lists what they read. */
function selectRows(parts: Parts, { scores, selection, plan, sorted, reached }: Rows, first: number, rows: number): void {
  const { device, kernels } = parts;
  const { measure, over = 'row', levels, anchor, cap, budgets } = selection;
  const [, capacity] = sorted.shape;
  const uniform = uniformOf(scores, selection, { first, rows, width: plan.blocks.shape[2] });
  const run = (name: 'selectSort' | 'selectReach' | 'selectCut', constants: Header['constants'], tensors: GpuTensor[]) =>
    device.dispatch({
      kernel: { ...kernels[name], shared: [kernels.selectShared] },
      header: { constants: { LEVELS: levels.length, CAPACITY: capacity, ...constants } },
      tensors,
      uniform,
      workgroups: gridOfGroups(rows),
    });
  run('selectSort', { HELD: 8 * capacity <= device.adapter.limits.maxComputeWorkgroupStorageSize }, [scores, sorted]);
  // Scores stand in for what is not read.
  const [caps, factors] = [cap, budgets].map((x) => (x ?? scores) as GpuTensor);
  const flags = { BUDGETED: budgets !== undefined };
  if (over === 'row' && measure !== 'rank')
    run('selectReach', { ...flags, MARGIN: measure === 'margin', ZERO: anchor === 'zero' }, [sorted, factors, reached]);
  const tables = [sorted, caps, factors, reached, plan.counts, plan.blocks];
  run('selectCut', { ...flags, REACHED: over !== 'row' || measure !== 'rank', CAPPED: cap !== undefined }, tables);
}

/** `Selection` in select-shared.wgsl. */
function uniformOf(
  { shape: [, qBlocks, kBlocks] }: GpuTensor,
  { levels, floor = 0, ceiling = 1 }: Selection,
  { first, rows, width }: { readonly first: number; readonly rows: number; readonly width: number },
): Uint32Array {
  const uniform = Uint32Array.of(first, rows, qBlocks, kBlocks, width, 0, 0, 0, ...levels.flatMap(() => [0, 0, 0, 0]));
  const floats = new Float32Array(uniform.buffer);
  floats.set([floor, ceiling], 5);
  for (const [at, { upTo, pool }] of levels.entries()) floats.set([upTo, pool, Math.min(marginOf(upTo), 1e30)], 8 + 4 * at);
  return uniform;
}
