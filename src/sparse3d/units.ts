// Keys and values at the resolutions that a plan reads, cut in units of equal size, so that one Gather serves all levels.
import type { Layout } from './plan.ts';

/** The logit of a slot without a token: no mass, and no infinity that could make a NaN. */
const NO_MASS = -1e30;

/** Where the units of one pool factor lie within a head. */
interface Stored {
  readonly first: number;
  readonly perBlock: number;
}

/**
 * Keys [units, size, keyDim] and values [units, size, dim] of some heads. In biased units keyDim is dim + 1 and the last column holds
 * the logit's bias divided by the scale (ln of the true count, or no mass); the query's last column is then 1.
 */
export interface Units {
  readonly size: number;
  readonly biased: boolean;
  readonly keyDim: number;
  readonly perHead: number;
  readonly count: number;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly stored: ReadonlyMap<number, Stored>;
}

/** Blocked keys and values of `heads` heads. */
export interface KeysAndValues {
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly heads: number;
  readonly dim: number;
}

/**
 * Tokens in a unit: as many as every pool factor leaves of a block, or a divisor of that. Where more than 1 slot in 16 is PAD, units are
 * small enough (down to 8 tokens) that short blocks need not be read to their end.
 */
export function unitSize({ block, blocks, counts }: Layout, pools: readonly number[]): number {
  const size = pools.map((pool) => block / pool).reduce(divisor);
  const tokens = counts.reduce((sum, count) => sum + count, 0);
  if (blocks * block - tokens <= (blocks * block) / 16) return size;
  return divisor(size, Math.max(8, counts.reduce(divisor)));
}
const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** Whole blocks as they are: no bias, no copy. */
export function plainUnits({ k, v, heads, dim }: KeysAndValues, layout: Layout): Units {
  const stored = new Map([[1, { first: 0, perBlock: 1 }]]);
  return { size: layout.block, biased: false, keyDim: dim, perHead: layout.blocks, count: heads * layout.blocks, k, v, stored };
}

/** Units of every pool factor, finest first, with their bias; the last unit (index `count - 1`) is all padding. */
export function pooledUnits({ k, v, heads, dim }: KeysAndValues, layout: Layout, pools: readonly number[]): Units {
  const size = unitSize(layout, pools);
  const keyDim = dim + 1;
  const stored = new Map<number, Stored>();
  let perHead = 0;
  for (const pool of pools) {
    const perBlock = layout.block / pool / size;
    stored.set(pool, { first: perHead, perBlock });
    perHead += perBlock * layout.blocks;
  }
  const count = heads * perHead + 1;
  const keys = new Float32Array(count * size * keyDim);
  const values = new Float32Array(count * size * dim);
  const slots = layout.blocks * layout.block;
  for (let head = 0; head < heads; head++) {
    let keysBelow: Strided = { numbers: k.subarray(head * slots * dim, (head + 1) * slots * dim), stride: dim, pool: 1 };
    let valuesBelow: Strided = { numbers: v.subarray(head * slots * dim, (head + 1) * slots * dim), stride: dim, pool: 1 };
    for (const [pool, { first }] of stored) {
      const at = (head * perHead + first) * size;
      const keysHere = { numbers: keys.subarray(at * keyDim), stride: keyDim, pool };
      const valuesHere = { numbers: values.subarray(at * dim), stride: dim, pool };
      poolRows(keysBelow, keysHere, dim, layout);
      poolRows(valuesBelow, valuesHere, dim, layout);
      writeBias(keysHere, layout);
      if (pools.every((coarser) => coarser % pool === 0 || coarser < pool)) [keysBelow, valuesBelow] = [keysHere, valuesHere];
    }
  }
  for (let slot = (count - 1) * size; slot < count * size; slot++) keys[slot * keyDim + dim] = NO_MASS;
  return { size, biased: true, keyDim, perHead, count, stored, k: keys, v: values };
}

/** Rows of numbers, `stride` apart, each the mean of the real tokens among `pool` slots. */
interface Strided {
  readonly numbers: Float32Array;
  readonly stride: number;
  readonly pool: number;
}

/** Real tokens among the slots `first .. first + pool - 1` of a block that holds `count`. */
const realTokens = (count: number, first: number, pool: number): number => Math.max(0, Math.min(pool, count - first));

/** Writes the means of `to.pool` slots from the finer means of `from`, each weighted by its real tokens. */
function poolRows(from: Strided, to: Strided, dim: number, { block, blocks, counts }: Layout): void {
  const [source, target] = [from.numbers, to.numbers];
  const [fine, coarse] = [block / from.pool, block / to.pool];
  for (let at = 0; at < blocks; at++)
    for (let slot = 0, write = at * coarse * to.stride; slot < counts[at]; slot += to.pool, write += to.stride) {
      const all = realTokens(counts[at], slot, to.pool);
      for (let part = slot; part < slot + all; part += from.pool) {
        const weight = realTokens(counts[at], part, from.pool) / all;
        const read = (at * fine + part / from.pool) * from.stride;
        if (weight === 1) target.set(source.subarray(read, read + dim), write);
        else if (part === slot) for (let index = 0; index < dim; index++) target[write + index] = weight * source[read + index];
        else for (let index = 0; index < dim; index++) target[write + index] += weight * source[read + index];
      }
    }
}

/** Last column of keys: ln(true count) over the scale 1/sqrt(dim); no mass where a group holds no token. */
function writeBias({ numbers, stride, pool }: Strided, { block, blocks, counts }: Layout): void {
  const unscaled = Math.sqrt(stride - 1);
  for (let at = 0, target = stride - 1; at < blocks; at++)
    for (let slot = 0; slot < block; slot += pool, target += stride) {
      const count = realTokens(counts[at], slot, pool);
      numbers[target] = count > 0 ? Math.log(count) * unscaled : NO_MASS;
    }
}
