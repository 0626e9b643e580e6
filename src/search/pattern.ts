// Static patterns as forced scores: which block pairs are read whatever q and k are. Made once per layout, and uploaded once per backend.
import type { Backend } from '../backend/backend.ts';
import type { Call, Layouts, Scorer, Selector } from '../method.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { ownBlock, text } from './patterns.ts';

/** A table over block pairs, [qBlocks * kBlocks]: 1 where the pair is read. */
export type Mask = Uint8Array;

/** Which block pairs are read: one mask for all heads, or several that heads take in turn, head h the mask h mod their number. */
export type Pattern = (layout: Layouts) => readonly Mask[];

/** Pairs that any of the patterns reads. */
export const union =
  (...patterns: readonly Pattern[]): Pattern =>
  (layout) => {
    const masks = patterns.map((pattern) => pattern(layout));
    return inTurn(
      masks.map((own) => own.length),
      (head) => masks.map((own) => own[head % own.length]).reduce(either),
    );
  };

/** Head h reads by pattern h mod their number: for tables of windows by head (STA, MoA). */
export const byHead =
  (...patterns: readonly Pattern[]): Pattern =>
  (layout) => {
    const masks = patterns.map((pattern) => pattern(layout));
    return inTurn([masks.length, ...masks.map((own) => own.length)], (head) => {
      const own = masks[head % masks.length];
      return own[head % own.length];
    });
  };

/** As many masks as it takes until cycles of these lengths all end. */
function inTurn(lengths: readonly number[], maskOf: (head: number) => Mask): readonly Mask[] {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  const cycle = lengths.reduce((whole, length) => (whole / divisor(whole, length)) * length);
  return Array.from({ length: cycle }, (_, head) => maskOf(head));
}

const either = (a: Mask, b: Mask): Mask => a.map((read, at) => read | b[at]);

/**
 * A scorer that is a pattern: what any of `patterns` reads is forced, all else forbidden. Text is read in full both ways, and a row that
 * the patterns leave empty reads its own blocks.
 */
export const pattern = (...patterns: readonly Pattern[]): Scorer => {
  const whole = neverEmpty(union(...patterns, text()));
  const tables = uploaded(whole, -Infinity);
  const score = ({ ops, q, layout }: Call): Tensor => {
    const { choices } = tables(ops, layout);
    return ops.concat(Array.from({ length: q.shape[0] }, (_, head) => choices[head % choices.length]));
  };
  return Object.assign(score, { forced: (layout: Layouts) => tables.most(layout) });
};

/** Forces what a pattern reads over another scorer's scores; a pattern that reads nothing leaves them as they are. */
export const withPattern = (scorer: Scorer, ...patterns: readonly Pattern[]): Scorer => {
  const tables = uploaded(union(...patterns), 0);
  const score = (call: Call): Tensor => {
    const { ops, layout } = call;
    const { choices, empty } = tables(ops, layout);
    if (empty) return scorer(call);
    return ops.scope(() => {
      const scores = scorer(call);
      if (choices.length === 1) return ops.force(scores, choices[0]);
      return ops.concat(ops.split(scores, scores.shape[0]).map((head, at) => ops.force(head, choices[at % choices.length])));
    });
  };
  const inner = scorer.forced;
  const forced = inner && ((layout: Layouts) => inner(layout) + tables.most(layout));
  return Object.assign(score, { needsLse: scorer.needsLse, forced });
};

/** Reads what is forced and nothing else, at the finest level: the selector of patterns. */
export const forced =
  (): Selector =>
  ({ ops, forced: most }, scores, [{ pool }]) =>
    ops.select(scores, { measure: 'rank', levels: [{ pool, upTo: 0 }], forced: most });

function neverEmpty(pattern: Pattern): Pattern {
  const own = ownBlock();
  return (layout) =>
    pattern(layout).map((mask) => {
      const { q, k } = layout;
      const whole = mask.slice();
      for (let row = 0; row < q.blocks; row++) {
        const [from, to] = [row * k.blocks, (row + 1) * k.blocks];
        if (!mask.subarray(from, to).includes(1)) whole.set(own(layout)[0].subarray(from, to), from);
      }
      return whole;
    });
}

interface Uploaded {
  /** f32 tables [qBlocks, kBlocks] or, to be put together by head, [1, qBlocks, kBlocks]. */
  readonly choices: readonly Tensor[];
  readonly empty: boolean;
}

/** A pattern's tables on each backend, +Infinity where a pair is read and `elsewhere` where not; they live as long as the backend. */
function uploaded(pattern: Pattern, elsewhere: number) {
  const masksOf = perLayouts(pattern);
  const upload = (ops: Backend) =>
    perLayouts((layout): Uploaded => {
      const { q, k } = layout;
      const shape = elsewhere === 0 ? [q.blocks, k.blocks] : [1, q.blocks, k.blocks];
      const masks = masksOf(layout);
      const tables = masks.map((mask) => Float32Array.from(mask, (read) => (read ? Infinity : elsewhere)));
      return { choices: tables.map((table) => ops.keep(ops.upload(table, shape))), empty: masks.every((mask) => !mask.includes(1)) };
    });
  const backends = new WeakMap<Backend, ReturnType<typeof upload>>();
  const most = perLayouts((layout) => Math.max(...masksOf(layout).map((mask) => mostOf(mask, layout))));
  const of = (ops: Backend, layout: Layouts): Uploaded => entry(backends, ops, () => upload(ops))(layout);
  return Object.assign(of, { most });
}

/** The most pairs of a row, rows that read everything aside. */
function mostOf(mask: Mask, { q, k }: Layouts): number {
  const counts = Array.from({ length: q.blocks }, (_, row) =>
    mask.subarray(row * k.blocks, (row + 1) * k.blocks).reduce((sum, read) => sum + read, 0),
  );
  return Math.max(0, ...counts.filter((count) => count < k.blocks));
}

/** Keeps what is made for a pair of layouts as long as both live. */
function perLayouts<Made>(make: (layout: Layouts) => Made): (layout: Layouts) => Made {
  const known = new WeakMap<Layout, WeakMap<Layout, { readonly made: Made }>>();
  return ({ q, k }) =>
    entry(
      entry(known, q, () => new WeakMap<Layout, { readonly made: Made }>()),
      k,
      () => ({ made: make({ q, k }) }),
    ).made;
}

function entry<K extends object, V>(map: WeakMap<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
