// Checks at the size of a real video, 21 x 30 x 52 tokens: everything is computed, and some rows are held to f64.
import type { Backend } from '../backend/backend.ts';
import { randomFrom } from '../search/sampling.ts';
import { curve } from '../sparse3d/layout.ts';
import { type Grid, tokensOf } from '../sparse3d/plan.ts';
import { attendEntries, type Entry, planRows, poolReference, type Rows, rowsOf, tokensIn } from '../sparse3d/reference.ts';
import type { Numbers } from '../tensor.ts';
import { attentionBounds } from './attention.ts';
import { type Check, difference, type Measured, unlessUnsupported, worst } from './check.ts';
import { numbers, type Storage, toF16 } from './inputs.ts';
import { randomPlan, uploadPlan } from './plans.ts';

const [HEADS, DIM, SAMPLES] = [2, 64, 24];
const grid: Grid = { frames: 21, height: 30, width: 52, text: 0 };
const layout = curve(64)(grid);
const both = { q: layout, k: layout };
const size = { heads: HEADS, queryBlocks: layout.blocks, keyBlocks: layout.blocks };
const shape = [HEADS, tokensOf(grid), DIM];

/** Dense attention, attention by a plan with and without pooled levels, and block mass. */
export const fullSizeChecks = (storage: Storage): readonly Check[] => [
  fullSize('attendAll', (ops) => dense(ops, storage)),
  fullSize('attend', (ops) => byPlan(ops, storage, [1])),
  fullSize('attend, pools 1 2 4 8', (ops) => byPlan(ops, storage, [1, 2, 4, 8])),
  fullSize('blockMass', (ops) => mass(ops, storage)),
];

const fullSize = (name: string, run: (ops: Backend) => Promise<readonly Measured[]>): Check => ({
  name: `${name}, ${HEADS} x ${DIM}, 21x30x52, ${SAMPLES} rows`,
  size: 'large',
  run: (ops) => unlessUnsupported(async () => worst(await run(ops))),
});

/** q, k and v as the storage holds them: on the backend, and as rows of each head. */
function inputs(ops: Backend, storage: Storage) {
  const raw = [1, 2, 3].map((seed) => numbers(shape[0] * shape[1] * shape[2], seed));
  const [q, k, v] = raw.map((x) => ops.cast(ops.upload(x, shape), storage));
  const [qs, ks, vs] = raw.map((x) => rowsOf(storage === 'f16' ? x.map(toF16) : x, HEADS, DIM));
  return { q, k, v, qs, ks, vs };
}

/** A head and a token in turn. */
function samples(): { head: number; token: number }[] {
  const random = randomFrom(77);
  return Array.from({ length: SAMPLES }, (_, at) => ({ head: at % HEADS, token: Math.floor(random() * shape[1]) }));
}

/** What a token of a head attends to. */
type EntriesOf = (head: number, token: number) => readonly Entry[];

/** Holds sampled rows of raster results to f64. */
function held({ out, lse }: { out: Numbers; lse: Numbers }, qs: readonly Rows[], entriesOf: EntriesOf, storage: Storage, pooled = false) {
  const rows = samples().map(({ head, token }) => ({
    at: head * shape[1] + token,
    twin: attendEntries(qs[head][token], entriesOf(head, token)),
  }));
  const outs = rows.flatMap(({ at }) => [...out.subarray(at * DIM, (at + 1) * DIM)]);
  const bounds = attentionBounds(storage, pooled);
  return [
    {
      what: 'out',
      error: difference(
        outs,
        rows.flatMap(({ twin }) => twin.out),
        true,
      ),
      tolerance: bounds.out.tolerance,
    },
    {
      what: 'lse',
      error: difference(
        rows.map(({ at }) => lse[at]),
        rows.map(({ twin }) => twin.lse),
        false,
      ),
      tolerance: bounds.lse.tolerance,
    },
  ];
}

async function dense(ops: Backend, storage: Storage) {
  const { q, k, v, qs, ks, vs } = inputs(ops, storage);
  const { out, lse } = ops.attendAll(q, k, v);
  const entries = ks.map((keys, head) => keys.map((key, at) => ({ key, value: vs[head][at], count: 1 })));
  return held({ out: await ops.read(out), lse: await ops.read(lse) }, qs, (head) => entries[head], storage);
}

async function byPlan(ops: Backend, storage: Storage, pools: readonly number[]) {
  const { q, k, v, qs, ks, vs } = inputs(ops, storage);
  const plan = randomPlan(size, pools, 5, Math.ceil(layout.blocks / 6));
  const blocked = [q, k, v].map((x) => ops.gather(x, layout));
  const { out, lse } = ops.attend(blocked[0], blocked[1], blocked[2], uploadPlan(ops, plan, size, pools), both);
  const results = { out: await ops.read(ops.scatter(out, layout)), lse: await ops.read(ops.scatter(lse, layout)) };
  const levels = pools.map((pool) => ({ pool, upTo: 1 }));
  const rows = ks.map((_, head) =>
    planRows(plan.counts as Int32Array, plan.blocks as Int32Array, levels, head, layout.blocks, layout.blocks),
  );
  const entriesOf = (head: number, token: number) =>
    rows[head][blockOf(token)].flatMap(({ block, pool }) => poolReference(ks[head], vs[head], layout, block, pool));
  return held(results, qs, entriesOf, storage, pools.length > 1);
}

const blockOf = (token: number): number => Math.floor(layout.order.indexOf(token) / layout.block);

/** Mass of a few block pairs, with a log-sum-exp that is right. */
async function mass(ops: Backend, storage: Storage) {
  const { q, k, qs, ks } = inputs(ops, storage);
  const { lse } = ops.attendAll(q, k, k);
  const table = await ops.read(ops.blockMass(ops.gather(q, layout), ops.gather(k, layout), ops.gather(lse, layout), both));
  const sums = await ops.read(lse);
  const pairs = samples().map(({ head, token }, at) => ({ head, query: blockOf(token), key: (at * 31) % layout.blocks }));
  const twin = ({ head, query, key }: (typeof pairs)[number]): number => {
    const keys = tokensIn(layout, key).map((token) => ks[head][token]);
    const rows = tokensIn(layout, query);
    return rows.reduce((sum, token) => sum + massOf(qs[head][token], keys, sums[head * shape[1] + token]), 0);
  };
  const own = pairs.map(({ head, query, key }) => table[(head * layout.blocks + query) * layout.blocks + key]);
  return [{ what: 'mass', error: difference(own, pairs.map(twin), true), tolerance: storage === 'f32' ? 1e-4 : 1e-3 }];
}

const massOf = (query: readonly number[], keys: Rows, lse: number): number =>
  keys.reduce((sum, key) => sum + Math.exp(query.reduce((dot, x, at) => dot + x * key[at], 0) / Math.sqrt(DIM) - lse), 0);
