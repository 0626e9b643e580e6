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

/** Tokens in a unit: as many as every pool factor leaves of a block, or a divisor of that. */
export const unitSize = (block: number, pools: readonly number[]): number => pools.map((pool) => block / pool).reduce(divisor);
const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** Whole blocks as they are: no bias, no copy. */
export function plainUnits({ k, v, heads, dim }: KeysAndValues, layout: Layout): Units {
  const stored = new Map([[1, { first: 0, perBlock: 1 }]]);
  return { size: layout.block, biased: false, keyDim: dim, perHead: layout.blocks, count: heads * layout.blocks, k, v, stored };
}

/** Units of every pool factor with their bias; the last unit (index `count - 1`) is all padding. */
export function pooledUnits({ k, v, heads, dim }: KeysAndValues, layout: Layout, pools: readonly number[]): Units {
  const size = unitSize(layout.block, pools);
  const stored = new Map<number, Stored>();
  let perHead = 0;
  for (const pool of pools) {
    const perBlock = layout.block / pool / size;
    stored.set(pool, { first: perHead, perBlock });
    perHead += perBlock * layout.blocks;
  }
  const count = heads * perHead + 1;
  const units = {
    size,
    biased: true,
    keyDim: dim + 1,
    perHead,
    count,
    stored,
    k: new Float32Array(count * size * (dim + 1)),
    v: new Float32Array(count * size * dim),
  };
  const slots = layout.blocks * layout.block;
  for (let head = 0; head < heads; head++)
    for (const [pool, { first }] of stored) {
      const at = (head * perHead + first) * size;
      poolRows(k.subarray(head * slots * dim, (head + 1) * slots * dim), dim, units.k.subarray(at * (dim + 1)), dim + 1, layout, pool);
      poolRows(v.subarray(head * slots * dim, (head + 1) * slots * dim), dim, units.v.subarray(at * dim), dim, layout, pool);
      writeBias(units.k.subarray(at * (dim + 1)), dim + 1, layout, pool);
    }
  units.k.subarray((count - 1) * size * (dim + 1)).forEach((_, index, row) => {
    if (index % (dim + 1) === dim) row[index] = NO_MASS;
  });
  return units;
}

/** Writes the mean of the real tokens of each group of `pool` slots; rows of `to` are `stride` numbers apart. */
function poolRows(from: Float32Array, dim: number, to: Float32Array, stride: number, layout: Layout, pool: number): void {
  const groups = layout.block / pool;
  for (let block = 0; block < layout.blocks; block++)
    for (let group = 0; group * pool < layout.counts[block]; group++) {
      const source = (block * layout.block + group * pool) * dim;
      const target = (block * groups + group) * stride;
      if (pool === 1) {
        to.set(from.subarray(source, source + dim), target);
        continue;
      }
      const count = Math.min(pool, layout.counts[block] - group * pool);
      for (let index = 0; index < dim; index++) {
        let total = 0;
        for (let slot = 0; slot < count; slot++) total += from[source + slot * dim + index];
        to[target + index] = total / count;
      }
    }
}

/** Last column of keys: ln(true count) over the scale 1/sqrt(dim); no mass where a group holds no token. */
function writeBias(to: Float32Array, keyDim: number, layout: Layout, pool: number): void {
  const groups = layout.block / pool;
  const unscaled = Math.sqrt(keyDim - 1);
  for (let block = 0; block < layout.blocks; block++)
    for (let group = 0; group < groups; group++) {
      const count = Math.min(pool, layout.counts[block] - group * pool);
      to[(block * groups + group) * keyDim + keyDim - 1] = count > 0 ? Math.log(count) * unscaled : NO_MASS;
    }
}
