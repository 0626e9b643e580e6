// Checks at the size of a real video, 21 x 30 x 52 tokens: everything is computed, and some rows are held to f64.
import type { Backend } from '../backend/backend.ts';
import { randomFrom } from '../search/sampling.ts';
import { curve } from '../sparse3d/layout.ts';
import { type Grid, type Layout, tokensOf } from '../sparse3d/plan.ts';
import { attendEntries, type Entry, planRows, poolReference, type Rows, rowsOf, tokensIn } from '../sparse3d/reference.ts';
import type { Numbers } from '../tensor.ts';
import { attentionBounds } from './attention.ts';
import { type Check, difference, type Measured, unlessUnsupported, worst } from './check.ts';
import { numbers, rounded, type Storage } from './inputs.ts';
import { randomPlan, uploadPlan } from './plans.ts';

const [HEADS, DIM, SAMPLES] = [2, 64, 24];
const grid: Grid = { frames: 21, height: 30, width: 52, text: 0 };
const shape = [HEADS, tokensOf(grid), DIM];
/** Blocks of so many tokens, always in one order. */
const layouts = { 64: curve(64), 128: curve(128) };
type Block = keyof typeof layouts;

/** Dense attention, attention by a plan with and without pooled levels, and block mass, these for two sizes of query blocks. */
export const fullSizeChecks = (storage: Storage): readonly Check[] => [
  denseCheck(storage),
  ...([64, 128] as const).flatMap((queries) => [
    planCheck(storage, [1], queries),
    planCheck(storage, [1, 2, 4, 8], queries),
    massCheck(storage, queries),
  ]),
];

const fullSize = (name: string, run: (ops: Backend) => Promise<readonly Measured[]>): Check => ({
  name: `${name}, ${HEADS} x ${DIM}, 21x30x52, ${SAMPLES} rows`,
  size: 'large',
  run: (ops) => unlessUnsupported(async () => worst(await run(ops))),
});

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

const raw = once(() => [1, 2, 3].map((seed) => numbers(shape[0] * shape[1] * shape[2], seed)));
/** q, k and v as a storage holds them. */
const held = { f32: raw, f16: once(() => raw().map((x) => rounded(x, 'f16'))) };
const rowsOfAll = (storage: Storage) =>
  once(() => {
    const [q, k, v] = held[storage]().map((x) => rowsOf(x, HEADS, DIM));
    return { q, k, v };
  });
/** The same as rows of each head. */
const rows = { f32: rowsOfAll('f32'), f16: rowsOfAll('f16') };

const upload = (ops: Backend, storage: Storage) => held[storage]().map((x) => ops.cast(ops.upload(x, shape), storage));

/** A head and a token in turn. */
const samples = once(() => {
  const random = randomFrom(77);
  return Array.from({ length: SAMPLES }, (_, at) => ({ head: at % HEADS, token: Math.floor(random() * shape[1]) }));
});

interface Sampled {
  readonly out: readonly number[];
  readonly lse: readonly number[];
}

/** Sampled rows in f64; `entriesOf` is what a token of a head attends to. */
function sampledTwin(storage: Storage, entriesOf: (head: number, token: number) => readonly Entry[]): Sampled {
  const twins = samples().map(({ head, token }) => attendEntries(rows[storage]().q[head][token], entriesOf(head, token)));
  return { out: twins.flatMap(({ out }) => out), lse: twins.map(({ lse }) => lse) };
}

/** Holds raster results to sampled rows. */
function compared(out: Numbers, lse: Numbers, twin: Sampled, storage: Storage, pooled: boolean): readonly Measured[] {
  const at = samples().map(({ head, token }) => head * shape[1] + token);
  const own = at.flatMap((row) => [...out.subarray(row * DIM, (row + 1) * DIM)]);
  const sums = at.map((row) => lse[row]);
  const bounds = attentionBounds(storage, pooled);
  return [
    { what: 'out', error: difference(own, twin.out, true), tolerance: bounds.out.tolerance },
    { what: 'lse', error: difference(sums, twin.lse, false), tolerance: bounds.lse.tolerance },
  ];
}

function denseCheck(storage: Storage): Check {
  const twin = once(() => {
    const { k, v } = rows[storage]();
    const entries = k.map((keys, head) => keys.map((key, at) => ({ key, value: v[head][at], count: 1 })));
    return sampledTwin(storage, (head) => entries[head]);
  });
  return fullSize('attendAll', async (ops) => {
    const { out, lse } = ops.scope(() => {
      const [q, k, v] = upload(ops, storage);
      return ops.attendAll(q, k, v);
    });
    const results = [await ops.read(out), await ops.read(lse)];
    for (const tensor of [out, lse]) ops.release(tensor);
    return compared(results[0], results[1], twin(), storage, false);
  });
}

function planCheck(storage: Storage, pools: readonly number[], queries: Block): Check {
  const layout = { q: layouts[queries](grid), k: layouts[64](grid) };
  const size = { heads: HEADS, queryBlocks: layout.q.blocks, keyBlocks: layout.k.blocks };
  const plan = once(() => randomPlan(size, pools, 5, Math.ceil(layout.k.blocks / 6)));
  const twin = once(() => {
    const { k, v } = rows[storage]();
    const { counts, blocks } = plan() as { counts: Int32Array; blocks: Int32Array };
    const levels = pools.map((pool) => ({ pool, upTo: 1 }));
    const read = k.map((_, head) => planRows(counts, blocks, levels, head, layout.q.blocks, layout.k.blocks));
    return sampledTwin(storage, (head, token) =>
      read[head][blockOf(token, layout.q)].flatMap(({ block, pool }) => poolReference(k[head], v[head], layout.k, block, pool)),
    );
  });
  return fullSize(`attend, pools ${pools.join(' ')}, ${queries} queries`, async (ops) => {
    const results = ops.scope(() => {
      const [q, k, v] = upload(ops, storage).map((x, at) => ops.gather(x, at ? layout.k : layout.q));
      const { out, lse } = ops.attend(q, k, v, uploadPlan(ops, plan(), size, pools), layout);
      return [ops.scatter(out, layout.q), ops.scatter(lse, layout.q)];
    });
    const [out, lse] = await Promise.all(results.map((x) => ops.read(x)));
    for (const tensor of results) ops.release(tensor);
    return compared(out, lse, twin(), storage, pools.length > 1);
  });
}

const blockOf = (token: number, { order, block }: Layout): number => Math.floor(order.indexOf(token) / block);

/** Mass of a few block pairs, by the log-sum-exp that the backend itself found. */
function massCheck(storage: Storage, queries: Block): Check {
  const layout = { q: layouts[queries](grid), k: layouts[64](grid) };
  const pairs = once(() =>
    samples().map(({ head, token }, at) => ({ head, query: blockOf(token, layout.q), key: (at * 31) % layout.k.blocks })),
  );
  return fullSize(`blockMass, ${queries} queries`, async (ops) => {
    const results = ops.scope(() => {
      const [q, k] = upload(ops, storage);
      const { lse } = ops.attendAll(q, k, k);
      return [lse, ops.blockMass(ops.gather(q, layout.q), ops.gather(k, layout.k), ops.gather(lse, layout.q), layout)];
    });
    const [lse, table] = await Promise.all(results.map((x) => ops.read(x)));
    for (const tensor of results) ops.release(tensor);
    const own = pairs().map(({ head, query, key }) => table[(head * layout.q.blocks + query) * layout.k.blocks + key]);
    const { q, k } = rows[storage]();
    const twin = pairs().map(({ head, query, key }) => {
      const keys = tokensIn(layout.k, key).map((token) => k[head][token]);
      return tokensIn(layout.q, query).reduce((sum, token) => sum + massOf(q[head][token], keys, lse[head * shape[1] + token]), 0);
    });
    return [{ what: 'mass', error: difference(own, twin, true), tolerance: storage === 'f32' ? 1e-4 : 1e-3 }];
  });
}

const massOf = (query: readonly number[], keys: Rows, lse: number): number =>
  keys.reduce((sum, key) => sum + Math.exp(query.reduce((dot, x, at) => dot + x * key[at], 0) / Math.sqrt(DIM) - lse), 0);
