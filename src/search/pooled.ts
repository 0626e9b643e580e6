// Scorers from block means: one product of a mean query and a mean key for each pair of blocks. The cheapest scores there are.
import type { Backend } from '../backend/backend.ts';
import type { Call, Scorer } from '../method.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { keptTable } from './tables.ts';

/** Options of `pooled`. */
export interface PooledOptions {
  /** Take each head's mean key from its keys first ("smooth K"): rows keep their order, but the guard looks at what is left. Default false. */
  readonly smooth?: boolean;
  /** Products times 1 / sqrt(dim), or as they are. Default true. */
  readonly scaled?: boolean;
  /**
   * How short blocks count: by `mass` a key block's logit has + ln of its tokens, as one mean that stands for so many keys; by `root` the
   * means of both sides are multiplied by the root of their tokens (DHSA); `alike` they count as whole ones. Default `mass`. Among whole blocks
   * all three order a row alike.
   */
  readonly short?: 'mass' | 'root' | 'alike';
  /** What becomes of logits: the softmax of each row, all pairs of a head from 0 to 1, or nothing. Default `softmax`. */
  readonly normalize?: 'softmax' | 'minMax' | 'none';
  /** Blocks whose tokens have a mean cosine below this are not judged by their mean; see `pooled`. Default: all are. */
  readonly guard?: number;
}

/**
 * Scores of block means (Draft, arXiv 2505.14708; VMoBA, arXiv 2506.23858, by `minMax` and not scaled; NSA's compressed scores; DHSA by `root`).
 * With a guard (SpargeAttn, arXiv 2502.18137, section 3.3): the self-similarity of a block is the mean cosine of all pairs of its tokens, each with
 * itself too; key blocks below the guard are left out of the softmax and forced for every query block, query blocks below it read everything.
 * How many that are is not known beforehand, so plans are then as wide as there are key blocks.
 * @throws RangeError for a guard that is no cosine.
 */
export const pooled = ({ guard, ...options }: PooledOptions = {}): Scorer => {
  if (guard !== undefined && !(guard >= -1 && guard <= 1))
    throw new RangeError(`a guard of ${guard} is no cosine; give a number from -1 to 1, such as 0.6`);
  const score = (call: Call): Tensor =>
    call.ops.scope(() => {
      const keys = options.smooth ? call.ops.center(call.k, call.layout.k) : call.k;
      const logits = logitsOf(call, keys, options);
      return guard === undefined ? normalized(call.ops, logits, options) : guarded(call, keys, logits, guard, options);
    });
  return guard === undefined ? Object.assign(score, { forced: () => 0 }) : score;
};

const lnCounts = keptTable(({ counts, blocks }) => ({ numbers: Float32Array.from(counts, Math.log), shape: [1, 1, blocks] }));
const rootCounts = keptTable(({ counts, blocks }) => ({ numbers: Float32Array.from(counts, Math.sqrt), shape: [1, blocks, 1] }));

/** f32 [heads, qBlocks, kBlocks]. */
function logitsOf({ ops, q, layout }: Call, keys: Tensor, { scaled = true, short = 'mass' }: PooledOptions): Tensor {
  const meansOf = (x: Tensor, of: Layout) => {
    const means = ops.blockMeans(x, of);
    return short === 'root' ? ops.multiply(means, rootCounts(ops, of)) : means;
  };
  const logits = ops.product(meansOf(q, layout.q), meansOf(keys, layout.k), scaled ? 1 / Math.sqrt(q.shape[2]) : 1);
  return short === 'mass' ? ops.force(logits, layout.k.heads?.lnCounts ?? lnCounts(ops, layout.k)) : logits;
}

function normalized(ops: Backend, logits: Tensor, { normalize = 'softmax' }: PooledOptions): Tensor {
  if (normalize === 'none') return logits;
  if (normalize === 'softmax') return ops.softmax(logits);
  const [heads, qBlocks, kBlocks] = logits.shape;
  return ops.reshape(ops.minMax(ops.reshape(logits, [heads, qBlocks * kBlocks])), logits.shape);
}

function guarded({ ops, q, layout }: Call, keys: Tensor, logits: Tensor, guard: number, options: PooledOptions): Tensor {
  const [heads, qBlocks, kBlocks] = logits.shape;
  const ofKeys = ops.reshape(similarity(ops, keys, layout.k), [heads, 1, kBlocks]);
  const ofQueries = ops.reshape(similarity(ops, q, layout.q), [heads, qBlocks, 1]);
  const judged = normalized(ops, ops.force(logits, ops.step(ofKeys, guard, -Infinity, 0)), options);
  return ops.force(ops.force(judged, ops.step(ofKeys, guard, Infinity, 0)), ops.step(ofQueries, guard, Infinity, 0));
}

/** Mean cosine of all pairs of tokens of each block, f32 [heads, blocks]: the squared length of their mean direction. */
function similarity(ops: Backend, x: Tensor, layout: Layout): Tensor {
  const means = ops.blockMeans(x, layout, { normalized: true });
  return ops.reduce(ops.multiply(means, means), 'sum');
}

/** Options of `hierarchical`. */
export interface HierarchicalOptions {
  /** Key blocks of a group, in layout order; text and video are never grouped together. Default 8. */
  readonly group?: number;
  /** Share of the groups that each query block looks into, rounded up. Default .5. */
  readonly keep?: number;
}

/**
 * Pooled scores in two steps (after HiP, of its abstract; two levels, groups of 8 and the better half are ours): the groups of key blocks are
 * ranked by the product of their mean key, and only the blocks of the best are scored; those of the others are forbidden. As products are
 * linear, a group's is the mean of its blocks' weighed by their tokens, and is computed so.
 * @throws RangeError for a group that is no whole number above 0, or a share outside (0, 1].
 */
export const hierarchical = ({ group = 8, keep = 0.5 }: HierarchicalOptions = {}): Scorer => {
  if (!Number.isInteger(group) || group < 1) throw new RangeError(`groups of ${group} blocks cannot be made; give a whole number above 0`);
  if (!(keep > 0 && keep <= 1)) throw new RangeError(`a share of ${keep} of the groups is out of range; give one above 0 and at most 1`);
  const weights = keptTable((layout) =>
    groupTable(layout, group, ({ counts }, members, block) => counts[block] / total(members.map((at) => counts[at]))),
  );
  const members = keptTable((layout) => transposed(groupTable(layout, group, () => 1)));
  const score = (call: Call): Tensor =>
    call.ops.scope(() => {
      const { ops, k, layout } = call;
      const logits = logitsOf(call, k, { short: 'alike' });
      const groups = ops.product(logits, weights(ops, layout.k), 1);
      const best = ops.top(groups, Math.ceil(keep * groups.shape[2]));
      const forbidden = ops.step(ops.product(best, members(ops, layout.k), 1), 0.5, -Infinity, 0);
      return ops.force(ops.softmax(ops.force(ops.force(logits, lnCounts(ops, layout.k)), forbidden)), forbidden);
    });
  return Object.assign(score, { forced: () => 0 });
};

const total = (numbers: readonly number[]): number => numbers.reduce((sum, x) => sum + x, 0);

/** What a block weighs in its group, [1, groups, blocks]; 0 in all others. */
function groupTable(layout: Layout, group: number, weigh: (layout: Layout, members: readonly number[], block: number) => number) {
  const { blocks, videoBlocks } = layout;
  const all = [...groupsOf(0, videoBlocks, group), ...groupsOf(videoBlocks, blocks, group)];
  const numbers = new Float32Array(all.length * blocks);
  for (const [at, members] of all.entries()) for (const block of members) numbers[at * blocks + block] = weigh(layout, members, block);
  return { numbers, shape: [1, all.length, blocks] };
}

const groupsOf = (from: number, to: number, group: number): number[][] =>
  Array.from({ length: Math.ceil((to - from) / group) }, (_, at) =>
    Array.from({ length: Math.min(group, to - from - at * group) }, (__, member) => from + at * group + member),
  );

function transposed({ numbers, shape: [, rows, columns] }: ReturnType<typeof groupTable>) {
  const turned = numbers.map((_, at) => numbers[(at % rows) * columns + Math.floor(at / rows)]);
  return { numbers: turned, shape: [1, columns, rows] };
}
