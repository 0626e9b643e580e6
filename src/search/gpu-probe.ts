// Softmax weights of some rows of q over all keys on WebGPU, and what is summed from them: probes, blocks, lines. Weights are made piece
// by piece where only their sums are wanted.
import { type GpuDevice, type GpuTensor, gpuTensor } from '../backend/webgpu/device.ts';
import { countTable, gridOf, gridOfGroups, ownTable } from '../sparse3d/gpu-memory.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { elements, type Tensor } from '../tensor.ts';
import { checkDim, checkPair, checkShape } from './checks.ts';
import type { ProbeOps } from './cpu-probe.ts';
import { antidiagonal } from './gpu-antidiagonal.ts';
import { poolingError } from './gpu-error.ts';
import type { Parts } from './gpu-score.ts';
import { checkError, checkRows, checkShares, checkStride, groupShares, lineShapes } from './rows.ts';

type Layouts = { readonly q: Layout; readonly k: Layout };

/** `Backend`'s operations of probed rows on a WebGPU device. */
export function probeGpuOps(parts: Parts): ProbeOps {
  const tensor = (x: Tensor) => gpuTensor(parts.device, x);
  const checkProbe = (q: Tensor, k: Tensor, rows: Int32Array, layout: Layouts) => {
    checkPair(q, k, layout);
    checkDim(q);
    checkRows(rows, layout.q);
  };
  return {
    ...tableOps(parts),
    probe(q, k, rows, layout) {
      checkProbe(q, k, rows, layout);
      return probe(parts, tensor(q), tensor(k), rows, layout);
    },
    probeBlocks(q, k, rows, layout) {
      checkProbe(q, k, rows, layout);
      return probeBlocks(parts, tensor(q), tensor(k), rows, layout);
    },
    poolingError(rows, k, layout, v) {
      checkError(rows, k, layout, v);
      checkDim(k);
      return poolingError(parts, tensor(rows), tensor(k), layout, v && tensor(v));
    },
    antidiagonal(q, k, layout, { stride }) {
      checkPair(q, k, layout);
      checkDim(q);
      checkStride(stride, layout);
      return antidiagonal(parts, tensor(q), tensor(k), layout, stride);
    },
  };
}

/** Operations on tables of weights. */
function tableOps(parts: Parts): Pick<ProbeOps, 'blockSums' | 'lineSums' | 'lines' | 'divergence'> {
  const tensor = (x: Tensor) => gpuTensor(parts.device, x);
  return {
    blockSums(x, layout) {
      checkShape('x', x, [...x.shape.slice(0, 2), layout.blocks * layout.block]);
      return blockSums(parts, tensor(x), layout);
    },
    lineSums(weights, rows, layout) {
      checkShape('weights', weights, [weights.shape[0], rows.length, layout.k.blocks]);
      checkRows(rows, layout.q);
      return lineSums(parts, tensor(weights), rows, layout);
    },
    lines(columns, diagonals, layout) {
      for (const [at, { shape }] of lineShapes(columns.shape[0], layout).entries())
        checkShape(at === 0 ? 'columns' : 'diagonals', [columns, diagonals][at], shape);
      return lines(parts, tensor(columns), tensor(diagonals), layout);
    },
    divergence(a, b) {
      checkShares(a, b);
      return divergence(parts, tensor(a), tensor(b));
    },
  };
}

/** Rows that are weighed: rows `first ...` of the list `chosen`, from q [heads, rows, dim], against k [heads, keys, dim] with a bias each. */
export interface Weighed {
  readonly q: GpuTensor;
  readonly k: GpuTensor;
  readonly chosen: GpuTensor;
  readonly bias: GpuTensor;
  readonly scale: number;
}

const threads = (count: number) => ({ workgroups: gridOf(count) });

/** A logit that no exp survives, for padding. */
const NEVER = -1e30;

/** What is added to the logit of each group of keys, in units of log2: for its real tokens, or never. */
export const biasTable = (device: GpuDevice, layout: Layout, stride: number): GpuTensor =>
  (stride === 1 ? ownTable(device, layout, 'bias') : undefined) ??
  device.cached(layout.shape ?? layout, `bias/${stride}`, () => {
    const shares = groupShares(layout, stride);
    return device.upload(
      shares.map((share) => (share > 0 ? Math.log2(share) : NEVER)),
      [shares.length],
    );
  });

/** Logits of `count` rows from `first` on, in units of log2: [heads, count, keys]. */
export function rowLogits({ device, kernels }: Parts, { q, k, chosen, bias, scale }: Weighed, first: number, count: number): GpuTensor {
  const [heads, keys, dim] = k.shape;
  const logits = device.tensor([heads, count, keys], 'f32');
  device.dispatch({
    kernel: { ...kernels.rowLogits, shared: [kernels.blockTile] },
    header: {
      enable: [q, k].some(({ dtype }) => dtype === 'f16') ? ['f16'] : [],
      alias: { Rows: q.dtype, Scalar: k.dtype },
      constants: { DIM: dim, SCALE: (Math.LOG2E * scale).toFixed(12) },
    },
    tensors: [q, k, chosen, bias, logits],
    uniform: Uint32Array.of(q.shape[1], first, count, keys),
    workgroups: [Math.ceil(keys / 64), Math.ceil(count / 64), heads],
  });
  return logits;
}

export function rowWeights(parts: Parts, weighed: Weighed, first: number, count: number): GpuTensor {
  const weights = rowLogits(parts, weighed, first, count);
  const [heads, , keys] = weights.shape;
  parts.device.dispatch({
    kernel: { ...parts.kernels.rowWeights, shared: [parts.kernels.rowSoftmax] },
    header: {},
    tensors: [weights],
    uniform: Uint32Array.of(heads * count, keys, 0, 0),
    workgroups: gridOfGroups(heads * count),
  });
  return weights;
}

/** Rows of a [heads, rows, keys] table that are made at a time, in multiples of `step`. */
export const rowsAtOnce = (tableBytes: number, heads: number, keys: number, step = 1): number =>
  step * Math.max(1, Math.floor(tableBytes / 4 / heads / keys / step));

const probed = ({ device }: Parts, q: GpuTensor, k: GpuTensor, rows: Int32Array, { k: keys }: Layouts): Weighed => ({
  q,
  k,
  chosen: device.upload(rows, [rows.length]),
  bias: biasTable(device, keys, 1),
  scale: 1 / Math.sqrt(q.shape[2]),
});

/** `Backend.probe`. */
const probe = (parts: Parts, q: GpuTensor, k: GpuTensor, rows: Int32Array, layout: Layouts): GpuTensor =>
  parts.device.scope(() => rowWeights(parts, probed(parts, q, k, rows, layout), 0, rows.length));

/** `Backend.probeBlocks`. */
function probeBlocks(parts: Parts, q: GpuTensor, k: GpuTensor, rows: Int32Array, layout: Layouts): GpuTensor {
  const { device, tableBytes } = parts;
  const [heads, slots] = k.shape;
  return device.scope(() => {
    const weighed = probed(parts, q, k, rows, layout);
    const sums = device.tensor([heads, rows.length, layout.k.blocks], 'f32');
    const together = rowsAtOnce(tableBytes, heads, slots);
    for (let first = 0; first < rows.length; first += together)
      device.scope(() => {
        const weights = rowWeights(parts, weighed, first, Math.min(together, rows.length - first));
        sumBlocks(parts, weights, countTable(device, layout.k), layout.k.block, sums, first);
      });
    return sums;
  });
}

/** `Backend.blockSums`. */
function blockSums(parts: Parts, x: GpuTensor, layout: Layout): GpuTensor {
  const [heads, rows] = x.shape;
  const sums = parts.device.tensor([heads, rows, layout.blocks], 'f32');
  sumBlocks(parts, x, countTable(parts.device, layout), layout.block, sums, 0);
  return sums;
}

/** Sums of each block of x [heads, rows, slots], to rows `first ...` of `sums`. */
export function sumBlocks(
  { device, kernels }: Parts,
  x: GpuTensor,
  counts: GpuTensor,
  block: number,
  sums: GpuTensor,
  first: number,
): void {
  const [heads, allRows, blocks] = sums.shape;
  device.dispatch({
    kernel: kernels.blockSums,
    header: { constants: { BLOCK: block } },
    tensors: [x, counts, sums],
    uniform: Uint32Array.of(heads, x.shape[1], blocks, allRows, first, 0, 0, 0),
    ...threads(heads * x.shape[1] * blocks),
  });
}

/** `Backend.lineSums`. */
function lineSums({ device, kernels }: Parts, x: GpuTensor, rows: Int32Array, { q, k }: Layouts) {
  const [heads] = x.shape;
  const [columns, diagonals] = lineShapes(heads, { q, k }).map(({ shape }) => device.tensor(shape, 'f32'));
  device.scope(() =>
    device.dispatch({
      kernel: kernels.lineSums,
      header: {},
      tensors: [
        x,
        device.upload(
          rows.map((slot) => Math.floor(slot / q.block)),
          [rows.length],
        ),
        columns,
        diagonals,
      ],
      uniform: Uint32Array.of(rows.length, q.blocks, k.blocks, 0),
      workgroups: [Math.ceil((q.blocks + 2 * k.blocks) / 256), heads],
    }),
  );
  return { columns, diagonals };
}

/** `Backend.lines`. */
function lines({ device, kernels }: Parts, columns: GpuTensor, diagonals: GpuTensor, { q, k }: Layouts): GpuTensor {
  const scores = device.tensor([columns.shape[0], q.blocks, k.blocks], 'f32');
  device.dispatch({
    kernel: kernels.lines,
    header: {},
    tensors: [columns, diagonals, scores],
    uniform: Uint32Array.of(columns.shape[0], q.blocks, k.blocks, 0),
    ...threads(elements(scores.shape)),
  });
  return scores;
}

/** `Backend.divergence`. */
function divergence({ device, kernels }: Parts, a: GpuTensor, b: GpuTensor): GpuTensor {
  const far = device.tensor(a.shape.slice(0, -1), 'f32');
  const rows = elements(far.shape);
  device.dispatch({
    kernel: kernels.divergence,
    header: {},
    tensors: [a, b, far],
    uniform: Uint32Array.of(rows, a.shape[a.shape.length - 1], 0, 0),
    workgroups: gridOfGroups(rows),
  });
  return far;
}
