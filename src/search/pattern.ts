// Static patterns as forced scores: which block pairs are read whatever q and k are. Made once per layout, and uploaded once per backend.
import { checkStage } from '../checks.ts';
import type { Call, Decided, Layouts, Scorer, Selector } from '../method.ts';
import type { Tensor } from '../tensor.ts';
import { inTurn, neverEmpty, tablesOf } from './pattern-tables.ts';
import { text } from './patterns.ts';
import { perLayouts } from './tables.ts';

/** A table over block pairs, [qBlocks * kBlocks]: 1 where the pair is read. */
export type Mask = Uint8Array;

/** Which block pairs are read: one mask for all heads, or several that heads take in turn, head h the mask h mod their number. */
export type Pattern = (layout: Layouts) => readonly Mask[];

/** Pairs that any of the patterns reads. */
export const union =
  (...patterns: readonly Pattern[]): Pattern =>
  (layout) => {
    const masks = patterns.map((pattern) => pattern(layout));
    return cycle(
      masks.map((own) => own.length),
      (head) => masks.map((own) => own[head % own.length]).reduce(either),
    );
  };

/** Head h reads by pattern h mod their number: for tables of windows by head (STA, MoA). */
export const byHead =
  (...patterns: readonly Pattern[]): Pattern =>
  (layout) => {
    const masks = patterns.map((pattern) => pattern(layout));
    return cycle([masks.length, ...masks.map((own) => own.length)], (head) => {
      const own = masks[head % masks.length];
      return own[head % own.length];
    });
  };

/** As many masks as it takes until cycles of these lengths all end. */
function cycle(lengths: readonly number[], maskOf: (head: number) => Mask): readonly Mask[] {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  const length = lengths.reduce((whole, next) => (whole / divisor(whole, next)) * next);
  return Array.from({ length }, (_, head) => maskOf(head));
}

function either(a: Mask, b: Mask): Mask {
  const both = a.slice();
  for (let at = 0; at < both.length; at++) both[at] |= b[at];
  return both;
}

/**
 * A scorer that is a pattern: what any of `patterns` reads is forced, all else forbidden. Text is read in full both ways, and a row that
 * the patterns leave empty reads its own blocks.
 */
export const pattern = (...patterns: readonly Pattern[]): Scorer => {
  const whole = neverEmpty(union(...patterns, text()));
  const tables = tablesOf(whole, -Infinity);
  const score = ({ ops, q, layout }: Call): Tensor => inTurn(ops, tables(ops, layout), q.shape[0]);
  const decided = (layout: Layouts): Decided => ({ forced: tables.share(layout), open: 0 });
  return Object.assign(score, { forced: (layout: Layouts) => tables.most(layout), decided });
};

/** Forces what a pattern reads over another scorer's scores; a pattern that reads nothing leaves them as they are. */
export const withPattern = (scorer: Scorer, ...patterns: readonly Pattern[]): Scorer => {
  checkStage('withPattern', scorer, 'a scorer, such as sampled()');
  const tables = tablesOf(union(...patterns), 0);
  const readsNothing = perLayouts((layout) => tables.masks(layout).every((mask) => !mask.includes(1)));
  const score = (call: Call): Tensor => {
    const { ops, layout } = call;
    if (readsNothing(layout)) return scorer(call);
    const made = tables(ops, layout);
    return ops.scope(() => {
      const scores = scorer(call);
      return ops.force(scores, made.shape[0] === 1 ? made : inTurn(ops, made, scores.shape[0]));
    });
  };
  const inner = scorer.forced;
  const forced = inner && ((layout: Layouts) => inner(layout) + tables.most(layout));
  const decided = (layout: Layouts): Decided => {
    const { forced: own, open } = scorer.decided?.(layout) ?? { forced: 0, open: 1 };
    const left = 1 - tables.share(layout);
    return { forced: 1 - left + left * own, open: left * open };
  };
  return Object.assign(score, { needsLse: scorer.needsLse, forced, decided });
};

/**
 * Another scorer's logits less their row's anchor, the largest of what `patterns` read: for a margin that counts from zero (AnchorAttention,
 * arXiv 2505.23520; its patterns and margin were not read). A row without anchors takes its own blocks.
 */
export const lessAnchor = (scorer: Scorer, ...patterns: readonly Pattern[]): Scorer => {
  checkStage('lessAnchor', scorer, 'a scorer, such as sampled()');
  const tables = tablesOf(neverEmpty(union(...patterns)), -Infinity, 0);
  const score = (call: Call): Tensor =>
    call.ops.scope(() => {
      const { ops } = call;
      const scores = scorer(call);
      const [heads, qBlocks] = scores.shape;
      const anchors = ops.reduce(ops.force(scores, inTurn(ops, tables(ops, call.layout), heads)), 'max');
      const less = ops.multiply(ops.reshape(anchors, [heads, qBlocks, 1]), ops.upload(Float32Array.of(-1), [1, 1, 1]));
      return ops.force(scores, less);
    });
  return Object.assign(score, { needsLse: scorer.needsLse, forced: scorer.forced, decided: scorer.decided });
};

/** Reads what is forced and nothing else, at the finest level: the selector of patterns. */
export const forced = (): Selector => {
  const select: Selector = ({ ops, forced: most }, scores, [{ pool }]) =>
    ops.select(scores, { measure: 'rank', levels: [{ pool, upTo: 0 }], forced: most });
  return Object.assign(select, { share: () => 0 });
};
