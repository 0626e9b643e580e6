// How wrong rows are when they read blocks as their means, on the CPU: one ONNX graph, run on tiles of a few MiB.
import { type CpuDevice, type CpuTensor, floatsOf } from '../backend/cpu.ts';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Layout } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { biasOf, headOf, TILE_LOGITS } from './cpu-probe.ts';

/**
 * Inputs q [r, dim] (scaled), k [c, dim], bias [c], each token's v.v_j and v_j.v_j - v.v_j [b, block], 1 / tokens [b, 1]; output [r, b]:
 * the sum over j of (s - w_j)^2 v.v_j + w_j^2 (v_j.v_j - v.v_j), which is that of |s v - w_j v_j|^2, over the tokens.
 */
const errorSession = (device: CpuDevice, dim: number, block: number) =>
  device.cached(
    `search/error/${dim}/${block}`,
    () => {
      const graph = new OnnxGraph();
      const op = (name: string, ...inputs: string[]) => graph.node(name, inputs);
      const reduce = (name: string, x: string, axis: number, keepdims = 1) => graph.node(name, [x, graph.ints([axis])], { keepdims });
      const blocks = (x: string) => op('Reshape', x, graph.ints([0, -1, block]));
      const [q, k] = [graph.input('q', 'f32', ['r', dim]), graph.input('k', 'f32', ['c', dim])];
      const logits = graph.node('FusedMatMul', [q, k], { transB: 1 }, 'com.microsoft');
      const masked = op('Add', logits, graph.input('bias', 'f32', ['c']));
      const largest = reduce('ReduceMax', masked, 1);
      const exps = op('Exp', op('Sub', masked, largest));
      const total = reduce('ReduceSum', exps, 1);
      const share = graph.input('share', 'f32', ['b', 1]);
      // Padding is zero in k, and so in its logits.
      const mean = op('Mul', reduce('ReduceSum', blocks(logits), 2), share);
      const [deep, deepTotal] = [largest, total].map((x) => op('Unsqueeze', x, graph.ints([2])));
      const pooled = op('Div', op('Exp', op('Sub', mean, deep)), deepTotal);
      const weights = blocks(op('Div', exps, total));
      const gap = op('Sub', pooled, weights);
      const toMean = op('Mul', op('Mul', gap, gap), graph.input('along', 'f32', ['b', block]));
      const ownPart = op('Mul', op('Mul', weights, weights), graph.input('beside', 'f32', ['b', block]));
      const sums = reduce('ReduceSum', op('Mul', op('Add', toMean, ownPart), share), 2, 0);
      graph.output(graph.node('Relu', [sums], {}, '', 'errors'), 'f32', ['r', 'b']);
      return device.runtime.session(graph.build());
    },
    (session) => session.release(),
  );

/** `Backend.poolingError`. */
export function poolingError(device: CpuDevice, rows: Tensor, k: Tensor, layout: Layout, v?: Tensor): CpuTensor {
  const [heads, count, dim] = rows.shape;
  return device.enqueue([{ shape: [heads, count, layout.blocks] }], async () => {
    const [queries, keys, values] = [await floatsOf(rows), await floatsOf(k), v && (await floatsOf(v))];
    const session = await errorSession(device, dim, layout.block);
    const { Tensor } = device.runtime;
    const tensor = (x: Float32Array, ...shape: number[]) => new Tensor('float32', x, shape);
    const tokens = Float32Array.from(layout.counts, (count) => 1 / Math.max(count, 1));
    const shared = { bias: tensor(biasOf(layout, 1), layout.blocks * layout.block), share: tensor(tokens, layout.blocks, 1) };
    const errors = new Float32Array(heads * count * layout.blocks);
    const size = dim * Math.max(1, Math.floor(TILE_LOGITS / layout.order.length));
    for (let head = 0; head < heads; head++) {
      const { along, beside } = momentsOf(values && headOf(values, head, heads), dim, layout);
      const [a, b] = [along, beside].map((x) => tensor(x, layout.blocks, layout.block));
      const own = headOf(queries, head, heads).map((x) => x / Math.sqrt(dim));
      const k = tensor(headOf(keys, head, heads), layout.order.length, dim);
      for (let from = 0; from < own.length; from += size) {
        const q = tensor(own.subarray(from, from + size), Math.min(size, own.length - from) / dim, dim);
        const result = await session.run({ q, k, ...shared, along: a, beside: b });
        errors.set(result.errors.data as Float32Array, (head * count + from / dim) * layout.blocks);
      }
    }
    return [errors];
  })[0];
}

/** For each token of one head v.v_j and v_j.v_j - v.v_j, where v is its block's mean; without values all are one and the same. PAD is 0. */
function momentsOf(v: Float32Array | undefined, dim: number, { blocks, block, counts }: Layout) {
  const [along, beside] = [new Float32Array(blocks * block), new Float32Array(blocks * block)];
  for (let at = 0; at < blocks; at++) {
    const slots = Array.from({ length: counts[at] }, (_, slot) => at * block + slot);
    if (!v) for (const slot of slots) along[slot] = 1;
    else {
      const mean = Float64Array.from(
        { length: dim },
        (_, index) => slots.reduce((sum, slot) => sum + v[slot * dim + index], 0) / slots.length,
      );
      for (const slot of slots)
        for (let index = 0; index < dim; index++) {
          const value = v[slot * dim + index];
          along[slot] += mean[index] * value;
          beside[slot] += (value - mean[index]) * value;
        }
    }
  }
  return { along, beside };
}
