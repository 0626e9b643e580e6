// Keys and values at the resolutions that a plan reads, cut in units of equal size, so that one Gather serves all levels.
import type { OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from './plan.ts';

/** The logit of a slot without a token: no mass, and no infinity that could make a NaN. */
const NO_MASS = -1e30;

/** Where the units of one pool factor lie: from `first` on, head by head, block by block. */
interface Stored {
  readonly first: number;
  readonly perHead: number;
  readonly perBlock: number;
}

/**
 * Units of `size` tokens, `count` in all, by pool factor. In biased units a key has one more number, the logit's bias divided by the scale
 * (ln of the true count, or no mass); the query's is then 1. Their last unit is all padding.
 */
export interface Units {
  readonly size: number;
  readonly biased: boolean;
  readonly count: number;
  readonly stored: ReadonlyMap<number, Stored>;
}

/** Whether short blocks are so few that reading them to their end costs little: at most 1 slot in 16 is PAD. */
export function isNearlyFull({ block, blocks, counts }: Layout): boolean {
  const tokens = counts.reduce((sum, count) => sum + count, 0);
  return blocks * block - tokens <= (blocks * block) / 16;
}

/**
 * Tokens in a unit: as many as every pool factor leaves of a block, or a divisor of that. Unless nearly all blocks are full, units are
 * small enough (down to 8 tokens) that short blocks need not be read to their end.
 */
function unitSize(layout: Layout, pools: readonly number[]): number {
  const size = pools.map((pool) => layout.block / pool).reduce(divisor);
  return isNearlyFull(layout) ? size : divisor(size, Math.max(SMALLEST, layout.counts.reduce(divisor)));
}
const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** Fewer tokens than this are no unit of their own: copying them one by one costs more than a bias. */
const SMALLEST = 8;

/** Blocks as they are, cut so that every unit of a short block is full or empty: no bias, no copy. None where such units would be too small. */
export function plainUnits({ block, blocks, counts }: Layout, heads: number): Units | undefined {
  const size = counts.reduce(divisor, block);
  if (size < Math.min(SMALLEST, block)) return undefined;
  const perBlock = block / size;
  const perHead = blocks * perBlock;
  return { size, biased: false, count: heads * perHead, stored: new Map([[1, { first: 0, perHead, perBlock }]]) };
}

/** Units of every pool factor, finest first, with their bias. */
export function pooledUnits(layout: Layout, heads: number, pools: readonly number[]): Units {
  const size = unitSize(layout, pools);
  const stored = new Map<number, Stored>();
  let count = 0;
  for (const pool of pools) {
    const perBlock = layout.block / pool / size;
    const perHead = perBlock * layout.blocks;
    stored.set(pool, { first: count, perHead, perBlock });
    count += heads * perHead;
  }
  return { size, biased: true, count: count + 1, stored };
}

/** What makes pooled units of a layout's keys and values: their biases [count, size], and what a group's sum is multiplied by. */
export interface Weights {
  readonly bias: Float32Array;
  /** 1 / true count for each pool factor above 1: one number for all groups, or one each. */
  readonly shares: ReadonlyMap<number, Float32Array>;
}

const known = new WeakMap<Layout, Map<string, Weights>>();

/** The weights of a layout's units, made once. */
export function weightsOf(units: Units, layout: Layout, heads: number, dim: number): Weights {
  const ofLayout = known.get(layout) ?? new Map<string, Weights>();
  known.set(layout, ofLayout);
  const key = `${heads}/${dim}/${[...units.stored.keys()]}`;
  const weights = ofLayout.get(key) ?? makeWeights(units, layout, heads, dim);
  ofLayout.set(key, weights);
  return weights;
}

function makeWeights({ size, count, stored }: Units, layout: Layout, heads: number, dim: number): Weights {
  const bias = new Float32Array(count * size).fill(NO_MASS);
  const shares = new Map<number, Float32Array>();
  const full = layout.counts.every((tokens) => tokens === layout.block);
  for (const [pool, { first, perHead }] of stored) {
    const counts = trueCounts(layout, pool);
    const biases = counts.map((tokens) => (tokens > 0 ? Math.log(tokens) * Math.sqrt(dim) : NO_MASS));
    const share = counts.map((tokens) => 1 / Math.max(1, tokens));
    for (let head = 0; head < heads; head++) bias.set(biases, (first + head * perHead) * size);
    if (pool > 1) shares.set(pool, full ? share.subarray(0, 1) : repeated(share, heads));
  }
  return { bias, shares };
}

function repeated(x: Float32Array, times: number): Float32Array {
  const all = new Float32Array(times * x.length);
  for (let at = 0; at < times; at++) all.set(x, at * x.length);
  return all;
}

/** Real tokens in each group of `pool` slots. */
function trueCounts({ block, blocks, counts }: Layout, pool: number): Float32Array {
  const groups = block / pool;
  return Float32Array.from({ length: blocks * groups }, (_, at) => {
    const before = (at % groups) * pool;
    return Math.max(0, Math.min(pool, counts[Math.floor(at / groups)] - before));
  });
}

export const shareInput = (pool: number): string => `share${pool}`;

/** Adds the inputs of `weightsOf`'s shares, [groups | 1, 1]. */
export function shareInputs(graph: OnnxGraph, pools: readonly number[]): void {
  for (const pool of pools) if (pool > 1) graph.input(shareInput(pool), 'f32', [`groups${pool}`, 1]);
}

/** Adds the units [count, size, dim] of blocked keys or values `x`, whose PAD rows are zero: means of true counts, then padding. */
export function storeUnits(graph: OnnxGraph, x: string, { size, stored }: Units, dim: number): string {
  const sums = new Map([[1, x]]);
  const parts = [...stored.keys()].map((pool) => {
    if (pool === 1) return x;
    const finer = Math.max(...[...sums.keys()].filter((known) => pool % known === 0));
    const ratio = pool / finer;
    const groups = graph.node('Reshape', [sums.get(finer)!, graph.ints([-1, ratio * dim])]);
    const members = graph.nodes(
      'Split',
      [groups],
      Array.from({ length: ratio }, () => graph.name('member')),
      { axis: 1, num_outputs: ratio },
    );
    // Adding members is twice as fast as ReduceSum over so few.
    const sum = graph.node('Sum', members);
    sums.set(pool, sum);
    return graph.node('Mul', [sum, shareInput(pool)]);
  });
  const units = parts.map((part) => graph.node('Reshape', [part, graph.ints([-1, size, dim])]));
  const padding = graph.constant('f32', [1, size, dim], new Float32Array(size * dim));
  return graph.node('Concat', [...units, padding], { axis: 0 });
}
