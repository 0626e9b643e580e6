// What the operations on score tables take, checked at the border of every backend; and how broadcast shapes are walked.
import { elements, type Tensor } from '../tensor.ts';

/** @throws TypeError unless every tensor is f32. */
export function checkFloats(operation: string, ...tensors: readonly Tensor[]): void {
  for (const { dtype, shape } of tensors)
    if (dtype !== 'f32' || shape.length === 0)
      throw new TypeError(`${operation} takes f32 tables of one axis at least, got ${dtype} [${shape}]; cast it`);
}

/** @throws RangeError unless a is [heads, n, depth] and b [heads or 1, m, depth]; TypeError unless both are f32. */
export function checkProduct(a: Tensor, b: Tensor): void {
  checkFloats('product', a, b);
  const fits = a.shape.length === 3 && b.shape.length === 3 && a.shape[2] === b.shape[2] && [1, a.shape[0]].includes(b.shape[0]);
  if (!fits) throw new RangeError(`product of [${a.shape}] and [${b.shape}] is none; give [heads, n, depth] and [heads or 1, m, depth]`);
}

/** @throws RangeError unless tables are [choices, qBlocks, kBlocks] and the choice is i32 [heads]. */
export function checkPick(tables: Tensor, choice: Tensor): void {
  checkFloats('pick', tables);
  if (tables.shape.length !== 3 || tables.shape[0] < 1 || choice.shape.length !== 1 || choice.dtype !== 'i32')
    throw new RangeError(
      `pick got tables [${tables.shape}] and a choice ${choice.dtype} [${choice.shape}]; give [choices, qBlocks, kBlocks] and i32 [heads]`,
    );
}

/** @throws RangeError unless the shape holds as many numbers; TypeError for f16. */
export function checkReshape(x: Tensor, shape: readonly number[]): void {
  if (x.dtype === 'f16') throw new TypeError(`reshape takes f32 or i32, got f16 [${x.shape}]; cast it`);
  if (elements(x.shape) !== elements(shape))
    throw new RangeError(`a tensor of shape [${x.shape}] has no shape [${shape}]; give one of ${elements(x.shape)} numbers`);
}

/** @throws RangeError unless the count is a whole number from 1 on. */
export function checkTop(count: number): void {
  if (!Number.isInteger(count) || count < 1) throw new RangeError(`top of ${count} numbers is no choice; give a whole number above 0`);
}

/** @throws RangeError unless the threshold is a number. */
export function checkStep(threshold: number): void {
  if (!Number.isFinite(threshold)) throw new RangeError(`step at ${threshold} divides nothing; give a finite threshold`);
}

/** What is left without the last axis; one number for a vector. */
export const withoutLast = ({ shape }: Tensor): readonly number[] => shape.slice(0, -1);

const MOST_AXES = 4;

/** How two tensors of unlike shapes are walked: four axes, and how far a step along each moves in a and in b, 0 where a size of 1 repeats. */
export interface Broadcast {
  readonly shape: readonly number[];
  readonly sizes: readonly number[];
  readonly a: readonly number[];
  readonly b: readonly number[];
}

/** @throws RangeError unless shapes are of one rank and sizes equal or 1; TypeError unless both are f32. */
export function broadcastOf(operation: string, a: Tensor, b: Tensor): Broadcast {
  checkFloats(operation, a, b);
  const fits =
    a.shape.length === b.shape.length && a.shape.length <= MOST_AXES && a.shape.every((size, axis) => alike(size, b.shape[axis]));
  if (!fits)
    throw new RangeError(`${operation} got shapes [${a.shape}] and [${b.shape}]; give one rank, at most 4, with sizes that are equal or 1`);
  const shape = a.shape.map((size, axis) => Math.max(size, b.shape[axis]));
  return { shape, sizes: padded(shape), a: stridesOf(a.shape), b: stridesOf(b.shape) };
}

/** As `broadcastOf`, of scores and a table of their rank or without the heads, whose result has the scores' shape. */
export function forcingOf(scores: Tensor, { shape, dtype }: Tensor): Broadcast {
  const table = { dtype, shape: shape.length === scores.shape.length - 1 ? [1, ...shape] : shape };
  const broadcast = broadcastOf('force', scores, table);
  if (elements(broadcast.shape) !== elements(scores.shape))
    throw new RangeError(`force has shape [${shape}], which does not fit scores of [${scores.shape}]; give their sizes or 1`);
  return broadcast;
}

const alike = (one: number, other: number): boolean => one === other || one === 1 || other === 1;
const padded = (shape: readonly number[]): number[] => [...Array<number>(MOST_AXES - shape.length).fill(1), ...shape];

function stridesOf(shape: readonly number[]): number[] {
  const sizes = padded(shape);
  return sizes.map((size, axis) => (size === 1 ? 0 : elements(sizes.slice(axis + 1))));
}
