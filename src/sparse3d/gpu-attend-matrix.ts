// Attention with subgroup matrices.
import type { AttendVariant } from './gpu-attend-call.ts';

/** Tensor cores through subgroup matrices. */
export const matrixVariant: AttendVariant = {
  name: 'matrix',
  lacking: () => 'not built',
  dispatch() {
    throw new Error('not built');
  },
};
