// Scorers from logits in few bits: of all tokens, or of Hadamard-turned block means.
import type { Backend } from '../backend/backend.ts';
import type { Call, Scorer } from '../method.ts';
import type { Tensor } from '../tensor.ts';

/** Options of `margins`. */
export interface MarginsOptions {
  /** Bits of queries and keys, 2 to 8; full precision when left out. */
  readonly bits?: number;
  /** The softmax of a row instead of its margins: for cuts of mass. Default false. */
  readonly shares?: boolean;
}

/**
 * How far the largest logit of a block pair lies below the largest of its row of tokens, the least of the query block's rows: 0 or less, so a
 * margin counts from zero. With `bits` q and k, less its head's mean ("smooth K"), are first rounded row by row (SALE, arXiv 2505.24179, whose 4 bits
 * and full resolution it has; its relative score was not read). The rounding is computed with, not packed: it shows what few bits lose, and
 * saves no time. In full precision it is the test by which LiteAttention, arXiv 2511.11062, drops a block, against the row's end instead of
 * its running maximum.
 * @throws RangeError for bits out of range.
 */
export const margins = ({ bits, shares = false }: MarginsOptions = {}): Scorer => {
  if (bits !== undefined && !(Number.isInteger(bits) && bits >= 2 && bits <= 8))
    throw new RangeError(`margins of ${bits} bits are not served; give a whole number from 2 to 8, or none for full precision`);
  const score = ({ ops, q, k, layout }: Call): Tensor =>
    ops.scope(() => {
      const [rows, keys] = bits === undefined ? [q, k] : [ops.quantize(q, bits), ops.quantize(ops.center(k, layout.k), bits)];
      const peaks = ops.blockPeaks(rows, keys, layout, { margin: true });
      return shares ? ops.softmax(peaks) : peaks;
    });
  return Object.assign(score, { forced: () => 0 });
};

/**
 * Minus the Manhattan distance of 2-bit codes of Hadamard-turned block means, plus 1.5 times their length: the quartile in which each number lies
 * among its head's, keys less their head's mean (Adamas, arXiv 2510.18413; bucket edges were not read, quartiles and block means are ours). A
 * distance of codes is how many signs differ, so one product finds all. For cuts of rank.
 */
export const hadamardCodes = (): Scorer => {
  const tables = new WeakMap<Backend, Map<number, Tensor>>();
  const score = ({ ops, q, k, layout }: Call): Tensor => {
    const kept = tables.get(ops) ?? new Map<number, Tensor>();
    tables.set(ops, kept);
    const dim = q.shape[2];
    const turn = kept.get(dim) ?? ops.keep(hadamard(ops, dim));
    kept.set(dim, turn);
    return ops.scope(() => {
      const means = [ops.blockMeans(q, layout.q), ops.blockMeans(ops.center(k, layout.k), layout.k)];
      const [rows, keys] = means.map((x) => ops.quartileSigns(ops.product(x, turn, 1 / Math.sqrt(dim))));
      return ops.product(rows, keys, 1 / 2);
    });
  };
  return Object.assign(score, { forced: () => 0 });
};

/** The Hadamard matrix [1, size, dim]; size is the power of two from dim up, as if x had zeros behind it. */
function hadamard(ops: Backend, dim: number): Tensor {
  const size = 2 ** Math.ceil(Math.log2(dim));
  const odd = (x: number): number => (x === 0 ? 0 : (x & 1) ^ odd(x >> 1));
  const numbers = Float32Array.from({ length: size * dim }, (_, at) => (odd(Math.floor(at / dim) & (at % dim)) ? -1 : 1));
  return ops.upload(numbers, [1, size, dim]);
}
