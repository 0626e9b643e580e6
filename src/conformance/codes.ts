// Checks of codes in few bits.
import type { Backend } from '../backend/backend.ts';
import { randomFrom } from '../search/sampling.ts';
import { type Check, check } from './check.ts';
import { numbers, type Storage, stored } from './inputs.ts';

/** Every check of the operations that make codes. */
export const codeChecks = (storage: Storage): readonly Check[] => [
  ...[8, 4, 2].map((bits) =>
    check(`quantize to ${bits} bits`, 'small', (ops) => ({ coarse: ops.quantize(offGrid(ops, storage, bits), bits) }), {
      coarse: { measure: 'relative', tolerance: storage === 'f32' ? 1e-6 : 1e-3 },
    }),
  ),
  ...(storage === 'f32' ? SIZES.map(signCheck) : []),
];

/** Rows that lie within 0.3 steps of what they are rounded to, so that no error of arithmetic tips one over; one row is zeros. */
function offGrid(ops: Backend, storage: Storage, bits: number) {
  const random = randomFrom(bits);
  const steps = 2 ** (bits - 1) - 1;
  const x = Float32Array.from({ length: 2 * 37 * 24 }, (_, at) => {
    const row = Math.floor(at / 24);
    const whole = at % 24 === row % 24 ? steps : Math.round((2 * random() - 1) * (steps - 1));
    return row === 5 ? 0 : (whole + (whole === steps ? 0 : 0.6 * random() - 0.3)) * 2 ** ((row % 7) - 5);
  });
  return stored(ops, storage, x, [2, 37, 24]);
}

const SIZES = [
  [2, 37, 24],
  [3, 1, 4],
  [1, 5, 5],
];

/** Numbers of both signs, with outliers and, in every third place, equal ones. */
const signCheck = (shape: readonly number[]): Check =>
  check(
    `quartileSigns, [${shape}]`,
    'small',
    (ops) => {
      const x = numbers(shape[0] * shape[1] * shape[2], 41).map((value, at) => (at % 3 === 1 ? 0.25 : value));
      return { signs: ops.quartileSigns(ops.upload(x, shape)) };
    },
    { signs: { measure: 'absolute', tolerance: 0 } },
  );
