// Softmax weights of some rows of q over all keys on the CPU, and what is summed from them: ONNX graphs run on tiles of a few MiB.
import type { Backend } from '../backend/backend.ts';
import { type CpuDevice, type CpuTensor, floatsOf } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { checkPair, checkShape } from './checks.ts';
import { poolingError } from './cpu-error.ts';
import { checkError, checkRows, checkShares, checkStride, groupShares, lineShapes } from './rows.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

/** Logits of one run, 4 MiB. */
export const TILE_LOGITS = 2 ** 20;
/** A logit that no exp survives, for padding. */
const NEVER = -1e30;

/**
 * Weights of rows over keys, summed over every `together` keys: inputs q [r, dim] (scaled), k [c, dim], bias [c], output [r, c / together].
 * One key together is the weights themselves.
 */
const weightSession = (device: CpuDevice, dim: number, together: number) =>
  device.cached(
    `search/weights/${dim}/${together}`,
    () => {
      const graph = new OnnxGraph();
      const inputs = [graph.input('q', 'f32', ['r', dim]), graph.input('k', 'f32', ['c', dim])];
      const logits = graph.node('FusedMatMul', inputs, { transB: 1 }, 'com.microsoft');
      const weights = graph.node('Softmax', [graph.node('Add', [logits, graph.input('bias', 'f32', ['c'])])], { axis: -1 });
      const blocks = graph.node('Reshape', [weights, graph.ints([0, -1, together])]);
      graph.output(graph.node('ReduceSum', [blocks, graph.ints([2])], { keepdims: 0 }, '', 'weights'), 'f32', ['r', 'b']);
      return device.runtime.session(graph.build());
    },
    (session) => session.release(),
  );

/** What the rows of one head are weighed against. */
interface Keys {
  readonly k: Float32Array;
  readonly bias: Float32Array;
  readonly dim: number;
  readonly together: number;
}

/** Weights of rows [rows, dim], already scaled, tile by tile. */
async function* weightTiles(device: CpuDevice, rows: Float32Array, { k, bias, dim, together }: Keys): AsyncGenerator<Float32Array> {
  const { Tensor } = device.runtime;
  const session = await weightSession(device, dim, together);
  const shared = { k: new Tensor('float32', k, [k.length / dim, dim]), bias: new Tensor('float32', bias, [bias.length]) };
  const size = dim * Math.max(1, Math.floor(TILE_LOGITS / bias.length));
  for (let from = 0; from < rows.length; from += size) {
    const tile = rows.subarray(from, from + size);
    const { weights } = await session.run({ q: new Tensor('float32', tile, [tile.length / dim, dim]), ...shared });
    yield weights.data as Float32Array;
  }
}

/** What is added to the logit of each group of keys: for its real tokens, or never. */
export const biasOf = (layout: Layout, stride: number): Float32Array =>
  groupShares(layout, stride).map((share) => (share > 0 ? Math.log(share) : NEVER));

/** The part of `Backend` that probes rows. */
export type ProbeOps = Pick<
  Backend,
  'probe' | 'probeBlocks' | 'blockSums' | 'lineSums' | 'lines' | 'antidiagonal' | 'poolingError' | 'divergence'
>;

/** `Backend`'s operations of probed rows on a CPU device. */
export const probeOps = (device: CpuDevice): ProbeOps => ({
  ...tableOps(device),
  probe: (q, k, rows, layout) => probe(device, q, k, rows, layout, 1),
  probeBlocks: (q, k, rows, layout) => probe(device, q, k, rows, layout, layout.k.block),
  poolingError(rows, k, layout, v) {
    checkError(rows, k, layout, v);
    return poolingError(device, rows, k, layout, v);
  },
  antidiagonal(q, k, layout, { stride }) {
    checkPair(q, k, layout);
    checkStride(stride, layout);
    return antidiagonal(device, q, k, layout, stride);
  },
});

/** Operations on tables of weights. */
const tableOps = (device: CpuDevice): Pick<ProbeOps, 'blockSums' | 'lineSums' | 'lines' | 'divergence'> => ({
  blockSums(x, layout) {
    checkShape('x', x, [...x.shape.slice(0, 2), layout.blocks * layout.block]);
    const shape = [...x.shape.slice(0, 2), layout.blocks];
    return device.enqueue([{ shape }], async () => [sumsOf(await floatsOf(x), layout)])[0];
  },
  lineSums(weights, rows, layout) {
    checkShape('weights', weights, [weights.shape[0], rows.length, layout.k.blocks]);
    checkRows(rows, layout.q);
    const shapes = lineShapes(weights.shape[0], layout);
    const [columns, diagonals] = device.enqueue(shapes, async () => {
      const sums = lineSumsOf(await floatsOf(weights), rows, layout);
      return [Float32Array.from(sums.columns), Float32Array.from(sums.diagonals)];
    });
    return { columns, diagonals };
  },
  lines(columns, diagonals, layout) {
    const [heads] = columns.shape;
    for (const [at, { shape }] of lineShapes(heads, layout).entries())
      checkShape(at === 0 ? 'columns' : 'diagonals', [columns, diagonals][at], shape);
    return device.enqueue([{ shape: [heads, layout.q.blocks, layout.k.blocks] }], async () => [
      linesOf(await floatsOf(columns), await floatsOf(diagonals), heads, layout),
    ])[0];
  },
  divergence(a, b) {
    checkShares(a, b);
    const size = a.shape[a.shape.length - 1];
    return device.enqueue([{ shape: a.shape.slice(0, -1) }], async () => [divergenceOf(await floatsOf(a), await floatsOf(b), size)])[0];
  },
});

/** `Backend.probe`, or with the keys of each block together `Backend.probeBlocks`. */
function probe(device: CpuDevice, q: Tensor, k: Tensor, rows: Int32Array, layout: Layouts, together: number): CpuTensor {
  checkPair(q, k, layout);
  checkRows(rows, layout.q);
  const [heads, slots, dim] = q.shape;
  const columns = k.shape[1] / together;
  return device.enqueue([{ shape: [heads, rows.length, columns] }], async () => {
    const [queries, keys] = [await floatsOf(q), await floatsOf(k)];
    const bias = biasOf(layout.k, 1);
    const result = new Float32Array(heads * rows.length * columns);
    let to = 0;
    for (let head = 0; head < heads; head++) {
      const chosen = new Float32Array(rows.length * dim);
      for (const [at, slot] of rows.entries()) copyScaled(queries, (head * slots + slot) * dim, chosen, at * dim, dim, 1 / Math.sqrt(dim));
      for await (const tile of weightTiles(device, chosen, { k: headOf(keys, head, heads), bias, dim, together })) {
        result.set(tile, to);
        to += tile.length;
      }
    }
    return [result];
  })[0];
}

export const headOf = (x: Float32Array, head: number, heads: number): Float32Array =>
  x.subarray((head * x.length) / heads, ((head + 1) * x.length) / heads);

function copyScaled(from: Float32Array, at: number, to: Float32Array, toAt: number, length: number, scale: number): void {
  for (let index = 0; index < length; index++) to[toAt + index] = from[at + index] * scale;
}

/** `Backend.blockSums` on numbers. */
function sumsOf(x: Float32Array, { block, blocks, counts }: Layout): Float32Array {
  return Float32Array.from({ length: x.length / block }, (_, at) => {
    let sum = 0;
    for (let slot = 0; slot < counts[at % blocks]; slot++) sum += x[at * block + slot];
    return sum;
  });
}

/** `Backend.lineSums` on numbers: weights [heads, rows, kBlocks] to columns [heads, kBlocks] and diagonals [heads, qBlocks + kBlocks - 1]. */
function lineSumsOf(x: ArrayLike<number>, rows: Int32Array, { q, k }: Layouts) {
  const heads = x.length / rows.length / k.blocks;
  const lines = q.blocks + k.blocks - 1;
  const [columns, diagonals] = [new Float64Array(heads * k.blocks), new Float64Array(heads * lines)];
  for (let at = 0; at < x.length; at++) {
    const column = at % k.blocks;
    const row = Math.floor(at / k.blocks);
    const head = Math.floor(row / rows.length);
    columns[head * k.blocks + column] += x[at];
    diagonals[head * lines + column + q.blocks - 1 - Math.floor(rows[row % rows.length] / q.block)] += x[at];
  }
  return { columns, diagonals };
}

/** `Backend.divergence` on numbers. */
function divergenceOf(a: Float32Array, b: Float32Array, size: number): Float32Array {
  const part = (share: number, middle: number) => (share > 0 ? share * Math.log(share / middle) : 0);
  return Float32Array.from({ length: a.length / size }, (_, row) => {
    let sum = 0;
    for (let at = row * size; at < (row + 1) * size; at++) {
      const middle = (a[at] + b[at]) / 2;
      sum += part(a[at], middle) + part(b[at], middle);
    }
    return Math.sqrt(Math.max(0, sum) / 2);
  });
}

/** `Backend.lines` on numbers. */
export function linesOf(columns: ArrayLike<number>, diagonals: ArrayLike<number>, heads: number, { q, k }: Layouts): Float32Array {
  return Float32Array.from({ length: heads * q.blocks * k.blocks }, (_, at) => {
    const column = at % k.blocks;
    const row = Math.floor(at / k.blocks);
    const head = Math.floor(row / q.blocks);
    const diagonal = head * (q.blocks + k.blocks - 1) + column + q.blocks - 1 - (row % q.blocks);
    return Math.max(columns[head * k.blocks + column], diagonals[diagonal]);
  });
}

/** `Backend.antidiagonal`: groups of tokens become rows, the keys' in reverse order, so that one product sums along antidiagonals. */
function antidiagonal(device: CpuDevice, q: Tensor, k: Tensor, layout: Layouts, stride: number): CpuTensor {
  const [heads, , dim] = q.shape;
  const perBlock = layout.q.block / stride;
  const kBlocks = layout.k.blocks;
  return device.enqueue([{ shape: [heads, layout.q.blocks, kBlocks] }], async () => {
    const [queries, keys] = [await floatsOf(q), await floatsOf(k)];
    const shares = groupShares(layout.q, stride);
    const sums = new Float64Array(heads * layout.q.blocks * kBlocks);
    for (let head = 0; head < heads; head++) {
      const rows = grouped(headOf(queries, head, heads), dim, layout.q, stride, false, 1 / Math.sqrt(dim) / stride);
      const k = grouped(headOf(keys, head, heads), dim, layout.k, stride, true, 1);
      const against = { k, bias: biasOf(layout.k, stride), dim: stride * dim, together: layout.k.block / stride };
      let row = 0;
      for await (const tile of weightTiles(device, rows, against))
        for (let at = 0; at < tile.length; at += kBlocks, row++) {
          const to = (head * layout.q.blocks + Math.floor(row / perBlock)) * kBlocks;
          for (let block = 0; block < kBlocks; block++) sums[to + block] += shares[row] * tile[at + block];
        }
    }
    return [Float32Array.from(sums)];
  })[0];
}

/** One head's groups of `stride` slots as rows, scaled; a group with padding repeats its tokens, one of nothing else is zeros. */
function grouped(x: Float32Array, dim: number, { block, blocks, counts }: Layout, stride: number, reversed: boolean, scale: number) {
  const groups = new Float32Array(blocks * block * dim);
  for (let slot = 0; slot < blocks * block; slot++) {
    const inGroup = slot % stride;
    const count = Math.min(stride, counts[Math.floor(slot / block)] - ((slot % block) - inGroup));
    const place = reversed ? stride - 1 - inGroup : inGroup;
    if (count > 0) copyScaled(x, (slot - inGroup + (place % count)) * dim, groups, slot * dim, dim, scale);
  }
  return groups;
}
