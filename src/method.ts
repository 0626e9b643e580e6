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
  readonly step: number;
  readonly steps: number;
  readonly layer: number;
  readonly layers: number;
  readonly branches: readonly number[];
  readonly grid: Grid;
}

/** The seam of a model: softmax attention of q, k, v [batch * heads, tokens, dim] (raster order, text last) with scale 1/sqrt(dim). */
export type Attention = (q: Tensor, k: Tensor, v: Tensor, site: Site) => Tensor;

/** What one layer and branch remembers between steps. Tensors are blocked, in layout order. */
export interface Memory {
  plan?: Plan;
  lse?: Tensor;
}

/**
 * What a stage sees of one batch item: blocked q, k, v [heads, slots, dim] and where it stands; `site.branches` holds the item's own branch
 * alone.
 */
export interface Call {
  readonly ops: Backend;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly layout: { readonly q: Layout; readonly k: Layout };
  readonly site: Site;
  readonly memory: Memory;
}

/**
 * The token order of queries and keys: one layout for both, or one each. Called for every attention call, so layouts keep what they made
 * per grid.
 */
export type LayoutStage = (grid: Grid, site: Site) => Layout | { readonly q: Layout; readonly k: Layout };
/** How much each query block wants each key block: f32 [heads, qBlocks, kBlocks]; +Infinity forces a block, -Infinity forbids it. */
export interface Scorer {
  (call: Call): Tensor;
  /** Reads `memory.lse`: the first search is then a dense call that keeps its log-sum-exp. */
  readonly needsLse?: boolean;
}
/** Scores -> plan: the measure in which the cuts of `levels` are made. */
export type Selector = (call: Call, scores: Tensor, levels: readonly Level[]) => Plan;
/** What is added for what the plan left out. Blocked results in and out. */
export type Correction = (call: Call, result: Attended) => Attended;
export type Phase = 'dense' | 'search' | 'reuse';
/** When dense attention, a search or the kept plan is due. */
export type Schedule = (site: Site) => Phase;

/** How plans are made and kept: one object, read as a sentence. */
export interface Method {
  readonly name: string;
  readonly layout: LayoutStage;
  readonly score: Scorer;
  readonly select: Selector;
  readonly levels: readonly Level[];
  readonly correct?: Correction;
  readonly schedule: Schedule;
}
