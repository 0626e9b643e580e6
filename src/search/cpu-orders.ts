// Orders of each head's own on the CPU: distances by ONNX Runtime, sorting on plain numbers.
import { type CpuDevice, type CpuTensor, floatsOf, intsOf } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Ordering } from '../backend/ordering.ts';
import { oneHead, ordersFrom, withHeads } from '../sparse3d/heads.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Numbers, Tensor } from '../tensor.ts';
import { headOf, TILE_LOGITS } from './cpu-probe.ts';
import { checkByLabel, checkByWeight, checkLabelMeans, checkNearest, videoOf } from './orders.ts';

/** `Ordering` on a CPU device. */
export function orderOps(device: CpuDevice): Ordering {
  return {
    nearest(x, centers, tokens) {
      checkNearest(x, centers, tokens);
      return nearest(device, x, centers, tokens);
    },
    labelMeans(x, labels, centers) {
      checkLabelMeans(x, labels, centers);
      return device.enqueue([{ shape: centers.shape }], async () => [
        meansByLabel(await floatsOf(x), await intsOf(labels), await floatsOf(centers), centers.shape, x.shape[1]),
      ])[0];
    },
    byLabel(labels, count, shape) {
      checkByLabel(labels, shape);
      return ordered(device, labels, shape, (numbers) => blocksByLabel(numbers as Int32Array, count, shape.block), true);
    },
    byWeight(weights, shape) {
      checkByWeight(weights, shape);
      return ordered(device, weights, shape, (numbers) => blocksByWeight(numbers as Float32Array, shape), false);
    },
  };
}

function nearest(device: CpuDevice, x: Tensor, centers: Tensor, tokens: number): CpuTensor {
  const [heads, , dim] = x.shape;
  return device.enqueue([{ shape: [heads, tokens], dtype: 'i32' }], async () => {
    const session = await nearestSession(device, dim);
    const { Tensor } = device.runtime;
    const [rows, means] = [await floatsOf(x), await floatsOf(centers)];
    const labels = new Int32Array(heads * tokens);
    const together = Math.max(1, Math.floor(TILE_LOGITS / centers.shape[1]));
    for (let head = 0; head < heads; head++) {
      const [own, c] = [headOf(rows, head, heads), new Tensor('float32', headOf(means, head, heads), [centers.shape[1], dim])];
      for (let first = 0; first < tokens; first += together) {
        const count = Math.min(together, tokens - first);
        const part = own.subarray(first * dim, (first + count) * dim);
        const result = await session.run({ x: new Tensor('float32', part, [count, dim]), c });
        labels.set(result.labels.data as Int32Array, head * tokens + first);
      }
    }
    return [labels];
  })[0];
}

/** x [r, dim], c [n, dim] -> labels i32 [r]: the largest of x.c - c.c / 2, whose center is the nearest. */
const nearestSession = (device: CpuDevice, dim: number) =>
  device.cached(
    `search/nearest/${dim}`,
    () => {
      const graph = new OnnxGraph();
      const [x, c] = [graph.input('x', 'f32', ['r', dim]), graph.input('c', 'f32', ['n', dim])];
      const products = graph.node('FusedMatMul', [x, c], { transB: 1 }, 'com.microsoft');
      const squares = graph.node('ReduceSum', [graph.node('Mul', [c, c]), graph.ints([1])], { keepdims: 0 });
      const halves = graph.node('Mul', [squares, graph.scalar(0.5)]);
      const best = graph.node('ArgMax', [graph.node('Sub', [products, halves])], { axis: 1, keepdims: 0 });
      graph.output(graph.node('Cast', [best], { to: 6 }, '', 'labels'), 'i32', ['r']);
      return device.runtime.session(graph.build());
    },
    (session) => session.release(),
  );

function meansByLabel(x: Float32Array, labels: Int32Array, centers: Float32Array, shape: readonly number[], rows: number): Float32Array {
  const [heads, count, dim] = shape;
  const tokens = labels.length / heads;
  const sums = new Float64Array(centers.length);
  const sizes = new Int32Array(heads * count);
  for (let at = 0; at < labels.length; at++) {
    const head = Math.floor(at / tokens);
    const to = head * count + labels[at];
    const from = (head * rows + (at % tokens)) * dim;
    sizes[to]++;
    for (let index = 0; index < dim; index++) sums[to * dim + index] += x[from + index];
  }
  return centers.map((center, at) => (sizes[Math.floor(at / dim)] > 0 ? sums[at] / sizes[Math.floor(at / dim)] : center));
}

/** The tokens of each block of one head, by label. */
function blocksByLabel(labels: Int32Array, count: number, block: number): number[][] {
  const members = Array.from({ length: count }, (): number[] => []);
  for (const [token, label] of labels.entries()) members[label].push(token);
  return members.flatMap((tokens) => cut(tokens, block));
}

function blocksByWeight(weights: Float32Array, shape: Layout): number[][] {
  const tokens = Uint32Array.from({ length: videoOf(shape) }, (_, token) => token);
  return cut([...tokens.sort((a, b) => weights[b] - weights[a] || a - b)], shape.block);
}

const cut = (tokens: readonly number[], block: number): number[][] =>
  Array.from({ length: Math.ceil(tokens.length / block) }, (_, at) => tokens.slice(at * block, (at + 1) * block));

/**
 * A layout whose orders are known once the job that finds them has run. Jobs run in order, so whatever is enqueued later may ask for them.
 */
function ordered(device: CpuDevice, from: Tensor, shape: Layout, find: (head: Numbers) => number[][], differ: boolean): Layout {
  const [heads, each] = from.shape;
  const known: ReturnType<typeof ordersFrom>[] = [];
  const [counts, lnCounts] = device.enqueue(
    [
      { shape: [heads, shape.blocks], dtype: 'i32' },
      { shape: [heads, 1, shape.blocks], dtype: 'f32' },
    ],
    async () => {
      const numbers = from.dtype === 'i32' ? await intsOf(from) : await floatsOf(from);
      for (let head = 0; head < heads; head++) known.push(ordersFrom(shape, find(numbers.subarray(head * each, (head + 1) * each))));
      const all = Int32Array.from(known.flatMap((one) => [...one.counts]));
      return [all, Float32Array.from(all, Math.log)];
    },
  );
  const layouts = Array.from({ length: heads }, (_, head) =>
    oneHead(shape, { order: () => known[head].order, counts: () => known[head].counts }),
  );
  return withHeads(shape, { layouts, ...(differ && { counts, lnCounts }) });
}
