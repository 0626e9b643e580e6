// What orders of each head's own take, checked at the border of every backend.
import { type Layout, tokensOf } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { checkShape } from './checks.ts';

/** Video tokens of a layout. */
export const videoOf = ({ grid }: Layout): number => tokensOf(grid) - grid.text;

/** @throws RangeError unless centers fit x and there are so many rows; TypeError unless they are f32. */
export function checkNearest(x: Tensor, centers: Tensor, tokens: number): void {
  checkCenters(x, centers);
  if (!(Number.isInteger(tokens) && tokens >= 1 && tokens <= x.shape[1]))
    throw new RangeError(`nearest got ${tokens} of ${x.shape[1]} tokens to label; give a whole number from 1 up to all`);
}

/** @throws RangeError unless x, labels and centers fit each other; TypeError unless labels are i32 and centers f32. */
export function checkLabelMeans(x: Tensor, labels: Tensor, centers: Tensor): void {
  checkCenters(x, centers);
  checkLabels(labels);
  checkShape('labels', labels, [x.shape[0], Math.min(labels.shape[1], x.shape[1])]);
}

/** @throws RangeError unless there is a label for each video token of the shape; TypeError unless they are i32. */
export function checkByLabel(labels: Tensor, shape: Layout): void {
  checkLabels(labels);
  checkShape('labels', labels, [labels.shape[0], videoOf(shape)]);
}

/** @throws RangeError unless there is a weight for each video token of the shape; TypeError unless they are f32. */
export function checkByWeight(weights: Tensor, shape: Layout): void {
  if (weights.dtype !== 'f32') throw new TypeError(`byWeight takes weights of f32, got ${weights.dtype} [${weights.shape}]; cast them`);
  checkShape('weights', weights, [weights.shape[0], videoOf(shape)]);
}

function checkCenters(x: Tensor, centers: Tensor): void {
  if (centers.dtype !== 'f32' || x.dtype === 'i32')
    throw new TypeError(`clusters take tokens of f32 or f16 and centers of f32, got ${x.dtype} and ${centers.dtype}; cast them`);
  checkShape('centers', centers, [x.shape[0], centers.shape[1], x.shape[2]]);
}

function checkLabels({ dtype, shape }: Tensor): void {
  if (dtype !== 'i32') throw new TypeError(`labels are i32, got ${dtype} [${shape}]; take those of nearest`);
}
