// Codes in few bits, as naive twins compute them, on tensors of the reference backend.
import type { CodeOps } from '../search/cpu-codes.ts';
import { make, valuesOf } from './host-tensor.ts';

/** Rows one after another. */
const rowsOf = (values: readonly number[], length: number): number[][] =>
  Array.from({ length: values.length / length }, (_, row) => values.slice(row * length, (row + 1) * length));

export const codeTwins: CodeOps = {
  quantize(x, bits) {
    const steps = 2 ** (bits - 1) - 1;
    const rows = rowsOf(valuesOf(x), x.shape[x.shape.length - 1]).map((row) => {
      const step = Math.max(...row.map(Math.abs)) / steps;
      return row.map((value) => (step === 0 ? 0 : Math.round(value / step) * step));
    });
    return make(x.shape, rows.flat(), x.dtype);
  },
  quartileSigns(x) {
    const [heads, n, dim] = x.shape;
    const signs = rowsOf(valuesOf(x), n * dim).flatMap((numbers) => {
      const sorted = [...numbers].sort((a, b) => a - b);
      const edges = [1, 2, 3].map((quarter) => sorted[Math.ceil((quarter * sorted.length) / 4) - 1]);
      return numbers.flatMap((value) => edges.map((edge) => (value > edge ? 1 : -1)));
    });
    return make([heads, n, 3 * dim], signs);
  },
};
