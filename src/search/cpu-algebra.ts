// Operations on score tables on the CPU: plain loops, but for products, which ONNX Runtime multiplies.
import type { Algebra } from '../backend/algebra.ts';
import { type CpuDevice, type CpuTensor, floatsOf, intsOf, numbersOf } from '../backend/cpu.ts';
import { float, OnnxGraph } from '../backend/onnx.ts';
import { elements, type Numbers, type Tensor } from '../tensor.ts';
import {
  type Broadcast,
  broadcastOf,
  checkFloats,
  checkPick,
  checkProduct,
  checkReshape,
  checkStep,
  checkTop,
  forcingOf,
  withoutLast,
} from './algebra-checks.ts';
import { checkBlocked } from './checks.ts';
import { centered, meansOf } from './cpu-means.ts';
import { argmaxOf, minMaxOf, reduced, softmaxOf, topOf } from './cpu-rows.ts';

/** `Algebra` on a CPU device. @throws RangeError for shapes, TypeError for types that do not fit. */
export function algebraOps(device: CpuDevice): Algebra {
  const one = (shape: readonly number[], job: () => Promise<Numbers>, dtype: 'f32' | 'i32' = 'f32'): CpuTensor =>
    device.enqueue([{ shape, dtype }], async () => [await job()])[0];
  /** A row at a time: `row` gets numbers of the last axis and where to write. */
  const byRow = (name: string, x: Tensor, row: (from: Float32Array, to: Float32Array) => void): CpuTensor => {
    checkFloats(name, x);
    return one(x.shape, async () => eachRow(await floatsOf(x), x.shape[x.shape.length - 1], row));
  };
  const pointwise = ({ shape, ...walk }: Broadcast, a: Tensor, b: Tensor, of: (x: number, y: number) => number): CpuTensor =>
    one(shape, async () => joined({ shape, ...walk }, await floatsOf(a), await floatsOf(b), of));
  return {
    blockMeans(x, layout, { normalized = false } = {}) {
      checkBlocked('x', x, layout);
      const [heads, , dim] = x.shape;
      return one([heads, layout.blocks, dim], async () => meansOf(await floatsOf(x), heads, dim, layout, normalized));
    },
    center(x, layout) {
      checkBlocked('x', x, layout);
      return one(x.shape, async () => centered(await floatsOf(x), x.shape[0], x.shape[2], layout));
    },
    product: (a, b, scale) => product(device, a, b, scale),
    softmax: (x) => byRow('softmax', x, softmaxOf),
    minMax: (x) => byRow('minMax', x, minMaxOf),
    top(x, count) {
      checkTop(count);
      return byRow('top', x, (from, to) => topOf(from, to, count));
    },
    reduce(x, how) {
      checkFloats('reduce', x);
      return one(withoutLast(x), async () => Float32Array.from(rowsOf(await floatsOf(x), x), (row) => reduced(row, how)));
    },
    argmax(x) {
      checkFloats('argmax', x);
      return one(withoutLast(x), async () => Int32Array.from(rowsOf(await floatsOf(x), x), argmaxOf), 'i32');
    },
    step(x, threshold, below, otherwise) {
      checkFloats('step', x);
      checkStep(threshold);
      const bound = Math.fround(threshold);
      return one(x.shape, async () => (await floatsOf(x)).map((number) => (number < bound ? below : otherwise)));
    },
    multiply: (a, b) => pointwise(broadcastOf('multiply', a, b), a, b, (x, y) => x * y),
    force: (scores, force) => pointwise(forcingOf(scores, force), scores, force, (x, y) => x + y),
    pick(tables, choice) {
      checkPick(tables, choice);
      const [choices, ...shape] = tables.shape;
      return one([choice.shape[0], ...shape], async () => picked(await floatsOf(tables), choices, await intsOf(choice)));
    },
    reshape(x, shape) {
      checkReshape(x, shape);
      return one(shape, () => numbersOf(x), x.dtype as 'f32' | 'i32');
    },
  };
}

function product(device: CpuDevice, a: Tensor, b: Tensor, scale: number): CpuTensor {
  checkProduct(a, b);
  const shape = [a.shape[0], a.shape[1], b.shape[1]];
  return device.enqueue([{ shape }], async () => {
    const session = await productSession(device, scale);
    const { Tensor } = device.runtime;
    const feeds = { a: new Tensor('float32', await floatsOf(a), a.shape), b: new Tensor('float32', await floatsOf(b), b.shape) };
    return [(await session.run(feeds)).product.data as Float32Array];
  })[0];
}

const productSession = (device: CpuDevice, scale: number) =>
  device.cached(
    `search/product/${scale}`,
    () => {
      const graph = new OnnxGraph();
      const tables = [graph.input('a', 'f32', ['h', 'n', 'd']), graph.input('b', 'f32', ['g', 'm', 'd'])];
      graph.node('FusedMatMul', tables, { transB: 1, alpha: float(scale) }, 'com.microsoft', 'product');
      graph.output('product', 'f32', ['h', 'n', 'm']);
      return device.runtime.session(graph.build());
    },
    (session) => session.release(),
  );

function* rowsOf(numbers: Float32Array, { shape }: Tensor): Generator<Float32Array> {
  const size = shape[shape.length - 1];
  for (let at = 0; at < numbers.length; at += size) yield numbers.subarray(at, at + size);
}

function eachRow(numbers: Float32Array, size: number, row: (from: Float32Array, to: Float32Array) => void): Float32Array {
  const result = new Float32Array(numbers.length);
  for (let at = 0; at < numbers.length; at += size) row(numbers.subarray(at, at + size), result.subarray(at, at + size));
  return result;
}

/** Two tensors number by number. Infinite ones are no numbers: one of b replaces, one of a stays. */
function joined({ sizes, a: stepA, b: stepB }: Broadcast, a: Float32Array, b: Float32Array, of: (x: number, y: number) => number) {
  const result = new Float32Array(elements(sizes));
  const [, second, third, length] = sizes;
  for (let line = 0; line * length < result.length; line++) {
    const place = [Math.floor(line / third / second), Math.floor(line / third) % second, line % third];
    const [fromA, fromB] = [stepA, stepB].map((steps) => place.reduce((sum, at, axis) => sum + at * steps[axis], 0));
    for (let at = 0; at < length; at++) {
      const [x, y] = [a[fromA + at * stepA[3]], b[fromB + at * stepB[3]]];
      result[line * length + at] = !Number.isFinite(y) ? y : Number.isFinite(x) ? of(x, y) : x;
    }
  }
  return result;
}

function picked(tables: Float32Array, choices: number, choice: Int32Array): Float32Array {
  const size = tables.length / choices;
  const result = new Float32Array(size * choice.length);
  for (const [head, chosen] of choice.entries()) {
    const at = Math.min(Math.max(chosen, 0), choices - 1);
    result.set(tables.subarray(at * size, (at + 1) * size), head * size);
  }
  return result;
}
