// A scorer from every stride-th diagonal of logits: one product of 1 / stride of the work of all.
import type { Call, Scorer } from '../method.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Softmax weights between groups of `stride` neighbouring tokens, of which the logits along the antidiagonal are read, summed for each pair of
 * blocks (XAttention, arXiv 2503.16428). Departs: padding takes no weight, and a group with padding repeats its tokens and counts as
 * many as it has.
 * @param options All have defaults.
 * @param options.stride Tokens of a group. Default 8.
 * @throws RangeError unless the stride is a whole number from 1 up; when scoring, unless it divides the blocks.
 */
export const antidiagonal = ({ stride = 8 } = {}): Scorer => {
  if (!(Number.isInteger(stride) && stride >= 1))
    throw new RangeError(`antidiagonal takes a stride of ${stride}; give a whole number from 1 up, such as 8`);
  const score = ({ ops, q, k, layout }: Call): Tensor => ops.antidiagonal(q, k, layout, { stride });
  return Object.assign(score, { forced: () => 0 });
};
