// Cuts over the rows of a head, or of all heads, on WebGPU: where they fall in each row. Rows are cut in pieces, each the work of one workgroup.
import type { Selection } from '../backend/backend.ts';
import type { GpuTensor } from '../backend/webgpu/device.ts';
import { gridOfGroups } from '../sparse3d/gpu-memory.ts';
import type { Parts } from './gpu-score.ts';

/** Scores that one workgroup looks at, about, and how many pieces there are at most: a workgroup adds up a number of each. */
const PIECE = { scores: 16_384, most: 128 };
/** An eighth of the keys of 32 bits is taken at a time. */
const [PARTS, TURNS] = [8, 11];

/** The uniform of a selection of `rows` rows. */
type UniformOf = (scores: GpuTensor, selection: Selection, of: { first: number; rows: number; width: number }) => Uint32Array;

/** Writes how many open blocks of each row lie before each cut: i32 [heads, qBlocks, levels]. */
export function reachTogether(parts: Parts, scores: GpuTensor, selection: Selection, uniformOf: UniformOf, reached: GpuTensor): void {
  const { device, kernels } = parts;
  const { measure, over, levels, budgets } = selection;
  const [heads, qBlocks, kBlocks] = scores.shape;
  const rows = over === 'head' ? qBlocks : heads * qBlocks;
  const sets = (heads * qBlocks) / rows;
  const pieces = Math.min(PIECE.most, Math.ceil((rows * kBlocks) / PIECE.scores));
  const constants = { LEVELS: levels.length, CHUNKS: pieces, MASS: measure === 'mass', BUDGETED: budgets !== undefined };
  const uniform = uniformOf(scores, selection, { first: heads * qBlocks, rows, width: 0 });
  const run = (name: keyof typeof kernels, tensors: GpuTensor[], workgroups: [number, number?], more: Record<string, boolean> = {}) =>
    device.dispatch({
      kernel: { ...kernels[name], shared: [...(name === 'selectSurvey' ? [] : [kernels.selectBounds]), kernels.selectShared] },
      ...{ header: { constants: { ...constants, ...more } }, tensors, uniform, workgroups },
    });
  device.scope(() => {
    const factors = (budgets ?? scores) as GpuTensor; // scores stand in for what is not read
    const surveys = device.tensor([sets, pieces, 4], 'i32');
    run('selectSurvey', [scores, surveys], [pieces, sets]);
    // What a turn reads, the turn before has written; the last one adds up alone.
    const turns = [0, 1].map(() => ({
      bounds: device.tensor([sets, levels.length, 4], 'i32'),
      weights: device.tensor([sets, levels.length, PARTS, pieces], 'f32'),
    }));
    for (let turn = 0; turn <= TURNS; turn++) {
      const [before, now] = [turns[(turn + 1) % 2], turns[turn % 2]];
      const tensors = [scores, factors, surveys, before.bounds, before.weights, now.bounds, now.weights];
      run('selectTogether', tensors, [turn < TURNS ? pieces : 1, sets], { FIRST: turn === 0 });
    }
    const { bounds } = turns[TURNS % 2];
    const counted = device.tensor([heads, qBlocks, levels.length, 2], 'i32');
    run('selectBelow', [scores, factors, surveys, bounds, counted], gridOfGroups(heads * qBlocks));
    run('selectSpread', [factors, surveys, bounds, counted, reached], [sets]);
  });
}
