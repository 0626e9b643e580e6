// What every backend can compute for a method's stages. Operations enqueue and return handles; only `read`, `wait` and `density` wait.
// `heads` below is batch * heads. A "blocked" tensor is in layout order: [heads, layout.blocks * layout.block, dim], PAD rows zero.
import type { Layout, Level, Plan } from '../sparse3d/plan.ts';
import type { Numbers, Tensor } from '../tensor.ts';
import type { Algebra } from './algebra.ts';
import type { Ordering } from './ordering.ts';

/** Attention output [heads, tokens, dim] and natural-log row log-sum-exp [heads, tokens]. */
export interface Attended {
  /** [heads, tokens, dim], or [heads, slots, dim] where it is blocked. */
  readonly out: Tensor;
  /** f32 [heads, tokens], or [heads, slots]: the natural logarithm of each row's sum of exponentials. */
  readonly lse: Tensor;
}

/** How `sampledScores` draws tokens: shares of a block's rows and keys, and the seed that makes plans reproducible. */
export interface Sampling {
  /** Share of the rows of a query block, above 0 and at most 1. */
  readonly queries: number;
  /** Share of the keys of a key block, above 0 and at most 1. */
  readonly keys: number;
  /** Whole number; the same seed draws the same tokens. */
  readonly seed: number;
}

/** How `select` compares scores; see search/select.ts. */
export interface Selection {
  /**
   * `rank`: cuts are shares of key blocks; `mass`: shares of score mass; `margin`: scores are logits, and a cut x takes those whose weight is at
   * least 1 - x of the anchor's.
   */
  readonly measure: 'rank' | 'mass' | 'margin';
  /** Whose blocks are compared together: those of a row (default), of a head, or of all heads. Margins are of a row. */
  readonly over?: 'row' | 'head' | 'layer';
  /** What margins count from: the row's best open score (default), or zero, for logits that are already less their anchor. */
  readonly anchor?: 'best' | 'zero';
  /** Where the cuts are and how coarsely what lies up to each is read, finest first. */
  readonly levels: readonly Level[];
  /** At least this share of a row's key blocks is read at the finest level. */
  readonly floor?: number;
  /** At most this share of a row's key blocks is read at the finest level, forced ones aside; the floor goes first. */
  readonly ceiling?: number;
  /** Coarsest pool factor each key block may be read with: i32 [heads, kBlocks]. */
  readonly cap?: Tensor;
  /** Scales each head's only cut, by 1.5 at most: f32 [heads] (head budgets). */
  readonly budgets?: Tensor;
  /** At most so many key blocks of a row that is not read whole are forced; unknown when left out. */
  readonly forced?: number;
}

/** What a method's stages are computed with, on one device. Operations enqueue and return handles at once. */
export interface Backend extends Algebra, Ordering {
  /** Where it computes. */
  readonly name: 'cpu' | 'webgpu';
  /** A handle of host numbers, f32 or i32, row-major. @throws RangeError when there are not as many as the shape has. */
  upload(numbers: Numbers, shape: readonly number[]): Tensor;
  /** Waits for the numbers of an f32 or i32 handle; do not write to them. @throws what went wrong on the way. */
  read(tensor: Tensor): Promise<Numbers>;
  /** Waits until a tensor is computed, without reading it. @throws what went wrong on the way, as `read` does. */
  wait(tensor: Tensor): Promise<void>;
  /** The same numbers stored as another type, f32 or f16. @throws UnsupportedError for f16 where the backend has none. */
  cast(x: Tensor, dtype: 'f32' | 'f16'): Tensor;

  /**
   * Runs `body` and frees every tensor made in it, except those it returns and those passed to `keep`. What is enqueued still computes: a
   * backend reuses memory in the order of its queue.
   */
  scope<Result>(body: () => Result): Result;
  /** Takes a tensor out of its scope: it lives until `release`. Returns it. */
  keep(x: Tensor): Tensor;
  /** Frees a tensor now; reading it afterwards is an error. */
  release(x: Tensor): void;

  /** Cuts a batch in its items: `parts` handles [rows / parts, ...] of a tensor [rows, ...]. */
  split(x: Tensor, parts: number): Tensor[];
  /** The inverse of `split`. */
  concat(parts: readonly Tensor[]): Tensor;
  /** The sum of weights[i] * parts[i], all f32 and of one shape. @throws RangeError for no parts, unlike shapes, or not one weight for each part. */
  combine(parts: readonly Tensor[], weights: readonly number[]): Tensor;

  /** Raster [heads, tokens, dim] -> blocked; a [heads, tokens] tensor (LSE) -> [heads, slots]. */
  gather(x: Tensor, layout: Layout): Tensor;
  /** Blocked -> raster [heads, tokens, dim]; a [heads, slots] tensor (LSE) -> [heads, tokens]. */
  scatter(x: Tensor, layout: Layout): Tensor;

  /**
   * Exact softmax attention of raster tensors, tiled: memory grows with tokens, never with their square. scale is 1/sqrt(dim).
   * With `lse: false` the log-sum-exp is not to be read: the CPU then works faster without it, and reading it is an error. A GPU writes it all the
   * same, 4 bytes a row beside the thousands of products of a row.
   */
  attendAll(q: Tensor, k: Tensor, v: Tensor, options?: { readonly lse?: boolean }): Attended;
  /**
   * Attention of blocked tensors by a plan (softmax over what the plan reads, pooled keys with + ln g, padding without mass). Results are
   * blocked; `lse: false` as above.
   */
  attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, layout: { q: Layout; k: Layout }, options?: { readonly lse?: boolean }): Attended;

  /**
   * Two attentions of the same queries over keys that they do not share, as the one over all of these keys: outputs [heads, rows, dim] weighed by
   * their log-sum-exps, all finite. Where both are zero, as in PAD rows, the output stays so.
   */
  merge(a: Attended, b: Attended): Attended;

  /** Mass of each block pair: f32 [heads, qBlocks, kBlocks], sum over rows and keys of exp(scale q.k - lse[row]); lse is blocked [heads, slots]. */
  blockMass(q: Tensor, k: Tensor, lse: Tensor, layout: { q: Layout; k: Layout }): Tensor;
  /** Sampled scores: [heads, qBlocks, kBlocks], row-normalised; see search/score.ts `sampled`. */
  sampledScores(q: Tensor, k: Tensor, layout: { q: Layout; k: Layout }, sampling: Sampling): Tensor;

  /**
   * Softmax weights of some rows of q over all keys: f32 [heads, rows, key slots], scale 1/sqrt(dim); padding weighs 0. `rows` are slots of q.
   * @throws RangeError for no rows, or a slot without a token.
   */
  probe(q: Tensor, k: Tensor, rows: Int32Array, layout: { q: Layout; k: Layout }): Tensor;
  /** `blockSums` of `probe`, [heads, rows, kBlocks], without ever holding all of the weights. */
  probeBlocks(q: Tensor, k: Tensor, rows: Int32Array, layout: { q: Layout; k: Layout }): Tensor;
  /** Sums over the tokens of each block: f32 [heads, rows, slots] -> [heads, rows, blocks]; what stands in PAD slots does not count. */
  blockSums(x: Tensor, layout: Layout): Tensor;
  /**
   * Block weights of probed rows [heads, rows, kBlocks] summed along lines of block pairs: `columns` [heads, 1, kBlocks] and `diagonals`
   * [heads, 1, qBlocks + kBlocks - 1], of which number j - i + qBlocks - 1 goes through the pair (i, j). A row is in its slot's query block.
   */
  lineSums(
    weights: Tensor,
    rows: Int32Array,
    layout: { q: Layout; k: Layout },
  ): {
    /** f32 [heads, 1, kBlocks]. */
    readonly columns: Tensor;
    /** f32 [heads, 1, qBlocks + kBlocks - 1]. */
    readonly diagonals: Tensor;
  };
  /** The larger score of each pair's column and diagonal, neither negative: f32 [heads, qBlocks, kBlocks]; +Infinity stays. */
  lines(columns: Tensor, diagonals: Tensor, layout: { q: Layout; k: Layout }): Tensor;
  /**
   * Softmax weights between groups of `stride` slots, summed over the groups of each block pair: f32 [heads, qBlocks, kBlocks]. A logit is the
   * mean of scale q.k along the antidiagonal of its groups, first query with last key. A group with padding repeats its tokens and weighs as
   * many as it has. @throws RangeError unless the stride divides both blocks.
   */
  antidiagonal(q: Tensor, k: Tensor, layout: { q: Layout; k: Layout }, options: { readonly stride: number }): Tensor;
  /**
   * The largest logit scale q.k of each block pair: f32 [heads, qBlocks, kBlocks]. With `margin` each row's is less the row's largest of all, so
   * that 0 is a key block that holds the largest of some row.
   */
  blockPeaks(q: Tensor, k: Tensor, layout: { q: Layout; k: Layout }, options?: { readonly margin?: boolean }): Tensor;
  /**
   * How wrong each row is when it reads a block as its mean: f32 [heads, rows, blocks], the mean over a block's tokens j of (s - w_j)^2, where w
   * are the row's softmax weights and s that of the block's mean key; with values v of |s mean(v) - w_j v_j|^2. `rows` are f32 [heads, rows, dim],
   * such as block means of queries.
   */
  poolingError(rows: Tensor, k: Tensor, layout: Layout, v?: Tensor): Tensor;
  /**
   * Each row of the last axis, by its own scale, in numbers of `bits` bits, 2 to 8: whole multiples of its largest over 2^(bits - 1) - 1, stored as x
   * is.
   */
  quantize(x: Tensor, bits: number): Tensor;
  /**
   * For each number of a head three signs, 1 where it lies above the head's first, second and third quartile and -1 where not: f32 [heads, n, dim]
   * -> [heads, n, 3 dim]. A quartile is the least number that so many quarters of all do not exceed.
   */
  quartileSigns(x: Tensor): Tensor;
  /** The root of the Jensen-Shannon divergence, in nats, of the rows of two tables of shares: f32 [..., n] twice -> [...]. */
  divergence(a: Tensor, b: Tensor): Tensor;
  /** Coarsest pool factor of `pools` whose mean cosine test passes, per key block: i32 [heads, kBlocks]; see search/select.ts `similarityCap`. */
  poolCap(k: Tensor, layout: Layout, pools: readonly { pool: number; cosine: number }[]): Tensor;
  /** Share of each head's score mass that a plan keeps: f32 [heads]; blocks forced by +Infinity carry no mass. */
  recall(scores: Tensor, plan: Plan): Tensor;
  /** A plan as numbers to force scores by: f32 [heads, qBlocks, kBlocks], `read` for key blocks that a row reads, `left` for those it leaves out. */
  planTable(plan: Plan, numbers: { readonly read: number; readonly left: number }): Tensor;
  /** Head budgets of AdaSpa: f32 [heads] of factors on the first cut, from recall; see search/select.ts. */
  headBudgets(recall: Tensor, options: { threshold: number; sparsity: number }): Tensor;
  /**
   * Scores -> plan. A row is never empty; equal scores are broken by the lower block index. Rows of rank cuts whose forced blocks are known are
   * listed no wider than that allows; a row that asks for more is read whole.
   */
  select(scores: Tensor, selection: Selection): Plan;
  /**
   * FLOP-equivalent share of all block pairs that a plan computes, 0..1, waiting for its counts: sum of 1/pool over read blocks / (qBlocks * kBlocks).
   * On a layout whose heads differ in their blocks, the share of full attention, with padding; see `headDensity`.
   */
  density(plan: Plan, layout?: { q: Layout; k: Layout }): Promise<number>;
}
