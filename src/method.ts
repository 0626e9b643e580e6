// The vocabulary of a method: how plans are made, kept and used. A method is data, seven stages in one object; `src/methods.ts` has the
// published ones.
import type { Attended, Backend } from './backend/backend.ts';
import type { Grid, Layout, Level, Plan } from './sparse3d/plan.ts';
import type { Tensor } from './tensor.ts';

/**
 * Where an attention call stands: denoising step, layer, guidance branch of each batch item (0 conditional, 1 unconditional), token grid.
 * Counts start at 0.
 */
export interface Site {
  /** Denoising step, from 0; it never falls within a run. */
  readonly step: number;
  /** Steps of the run. */
  readonly steps: number;
  /** Self-attention layer, from 0. */
  readonly layer: number;
  /** Self-attention layers of the model. */
  readonly layers: number;
  /** Guidance branch of each batch item: 0 conditional, 1 unconditional. */
  readonly branches: readonly number[];
  /** The video in tokens. */
  readonly grid: Grid;
  /** The order of the call's tokens where it is not raster order: q, k, v and the result are then blocked, [batch * heads, slots, dim]. */
  readonly layout?: Layout;
}

/**
 * The seam of a model: softmax attention of q, k, v [batch * heads, tokens, dim] with scale 1/sqrt(dim). Tokens are in raster order, text last,
 * unless the site names a layout, which models do for a method's `order` alone.
 */
export type Attention = (q: Tensor, k: Tensor, v: Tensor, site: Site) => Tensor;

/** What one layer and branch remembers between steps, and frees when it is replaced or the run ends. Tensors are blocked, in layout order. */
export interface Memory {
  /** The plan of the last search. */
  plan?: Plan;
  /** Row log-sum-exp of full attention, f32 [heads, slots], where the scorer needs one. */
  lse?: Tensor;
  /** What the plan left out of the output at the last search, for corrections that add it until the next one: f32. */
  residual?: Tensor;
  /** The orders of the plan, where heads have their own. */
  layout?: Layouts;
  /** Where clusters of queries and of keys were at the last search, f32 [heads, clusters, dim]. */
  centers?: {
    /** Of queries. */
    readonly q: Tensor;
    /** Of keys. */
    readonly k: Tensor;
  };
}

/** Token orders of queries and keys. */
export interface Layouts {
  /** The order of queries. */
  readonly q: Layout;
  /** The order of keys and values. */
  readonly k: Layout;
}

/**
 * What a stage sees of one batch item: blocked q, k, v [heads, slots, dim] and where it stands; `site.branches` holds the item's own branch
 * alone.
 */
export interface Call {
  /** What stages compute with. */
  readonly ops: Backend;
  /** Queries. */
  readonly q: Tensor;
  /** Keys. */
  readonly k: Tensor;
  /** Values. */
  readonly v: Tensor;
  /** The orders that they are in. */
  readonly layout: Layouts;
  /** Where the call stands. */
  readonly site: Site;
  /** Whether this call makes a plan, as it does when this is left out, or keeps one. */
  readonly phase?: 'search' | 'reuse';
  /** What the layer and branch remember. */
  readonly memory: Memory;
  /** What the method's scorer says of forced blocks, for selectors to pass on; see `Scorer.forced`. */
  readonly forced?: number;
}

/** What a layout by head is found from: raster q, k, v [heads, tokens, dim] of one batch item, where it stands, and what its layer remembers. */
export interface Tokens {
  /** What stages compute with. */
  readonly ops: Backend;
  /** Queries. */
  readonly q: Tensor;
  /** Keys. */
  readonly k: Tensor;
  /** Values. */
  readonly v: Tensor;
  /** Where the call stands. */
  readonly site: Site;
  /** What the layer and branch remember. */
  readonly memory: Memory;
}

/**
 * The token order of queries and keys: one layout for both, or one each. Called for every attention call, so layouts keep what they made
 * per grid.
 */
export interface LayoutStage {
  (grid: Grid, site: Site, tokens?: Tokens): Layout | Layouts;
  /** Gives each head an order of its own: called without tokens for the shape of its layouts, and with them at each search. */
  readonly byHead?: boolean;
}
/** How much each query block wants each key block: f32 [heads, qBlocks, kBlocks]; +Infinity forces a block, -Infinity forbids it. */
export interface Scorer {
  (call: Call): Tensor;
  /** Reads `memory.lse`: the first search is then a dense call that keeps its log-sum-exp. */
  readonly needsLse?: boolean;
  /**
   * At most so many key blocks of a row are forced, rows that are forced whole aside: plans by rank are then no wider than their cuts and
   * these. Left out, that is unknown, and plans are as wide as there are key blocks.
   */
  readonly forced?: (layout: Layouts) => number;
  /** What of all block pairs is decided before q and k are seen; nothing when left out. */
  readonly decided?: (layout: Layouts) => Decided;
}
/** Shares of all block pairs: `forced` ones are read in full, `open` ones are left for the cuts of the levels, and no others are read. */
export interface Decided {
  /** Of all block pairs, 0..1. */
  readonly forced: number;
  /** Of all block pairs, 0..1. */
  readonly open: number;
}
/** Scores -> plan: the measure in which the cuts of `levels` are made. The plan's tensors become the attention's, which frees them in the end. */
export interface Selector {
  (call: Call, scores: Tensor, levels: readonly Level[]): Plan;
  /** What it reads by these levels of the blocks that are open, as a FLOP-equivalent share, at most; as much as cuts by rank when left out. */
  readonly share?: (levels: readonly Level[]) => number;
}
/** What is added for what the plan left out. Blocked results in and out. */
export interface Correction {
  (call: Call, result: Attended): Attended;
  /** What a call is about to compute beside the plan, in full attentions: densities count it. None when left out. */
  readonly share?: (call: Pick<Call, 'layout' | 'phase' | 'memory'>) => number;
}
/** What is due in a call: full attention, a new plan, or the plan that is kept. */
export type Phase = 'dense' | 'search' | 'reuse';
/** When dense attention, a search or the kept plan is due. */
export interface Schedule {
  (site: Site): Phase;
  /** The layer whose memory a layer shares; its own when left out. Layers that share must have one token order. */
  readonly planLayer?: (site: Site) => number;
}

/**
 * How plans are made and kept: one object, read as a sentence. Before a run on a GPU its stages are called once more, with handles that hold no
 * numbers and whose reads never end, so that their kernels are compiled in time.
 */
export interface Method {
  /** What tables and reports call it. */
  readonly name: string;
  /** Which tokens share a block. */
  readonly layout: LayoutStage;
  /** How much each query block wants each key block. */
  readonly score: Scorer;
  /** In what measure the cuts are made. */
  readonly select: Selector;
  /** Where the cuts are and how coarsely what lies up to each is read, finest first. */
  readonly levels: readonly Level[];
  /** What is added for what the plan leaves out; nothing when left out. */
  readonly correct?: Correction;
  /** When full attention, a search or the kept plan is due. */
  readonly schedule: Schedule;
  /** Reads each plan back and refuses one that breaks the rules of a `Plan`, by its row: for methods in the making. */
  readonly checkPlans?: boolean;
  /** Measures the time of each search, which waits, and the recall of each plan it reads, which computes full attention beside. */
  readonly measure?: boolean;
}
