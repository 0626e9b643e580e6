// Orders of each head's own on WebGPU: clusters and sorting by kernels, nothing is read back.
import type { Ordering } from '../backend/ordering.ts';
import { type GpuDevice, type GpuTensor, gpuTensor } from '../backend/webgpu/device.ts';
import { f16Header, gridOf, gridOfGroups, splitTensor } from '../sparse3d/gpu-memory.ts';
import { oneHead, withHeads } from '../sparse3d/heads.ts';
import { type Layout, type StoredOrder, slotCount, tokensOf } from '../sparse3d/plan.ts';
import type { Tensor } from '../tensor.ts';
import { checkDim } from './checks.ts';
import type { SearchKernels } from './kernels/index.ts';
import { checkByLabel, checkByWeight, checkLabelMeans, checkNearest } from './orders.ts';

interface Parts {
  readonly device: GpuDevice;
  readonly kernels: SearchKernels;
}

/** `Ordering` on a WebGPU device; distances and means are f32. */
export function orderGpuOps(device: GpuDevice, kernels: SearchKernels): Ordering {
  const parts = { device, kernels };
  const tensor = (x: Tensor) => gpuTensor(device, x);
  return {
    nearest(x, centers, tokens) {
      checkNearest(x, centers, tokens);
      checkDim(x);
      return nearest(parts, tensor(x), tensor(centers), tokens);
    },
    labelMeans(x, labels, centers) {
      checkLabelMeans(x, labels, centers);
      return labelMeans(parts, tensor(x), tensor(labels), tensor(centers));
    },
    byLabel(labels, count, shape) {
      checkByLabel(labels, shape);
      return byLabel(parts, tensor(labels), count, shape);
    },
    byWeight(weights, shape) {
      checkByWeight(weights, shape);
      return byWeight(parts, tensor(weights), shape);
    },
  };
}

function nearest({ device, kernels }: Parts, x: GpuTensor, centers: GpuTensor, tokens: number): GpuTensor {
  const [heads, rows, dim] = x.shape;
  const labels = device.tensor([heads, tokens], 'i32');
  device.dispatch({
    kernel: kernels.nearest,
    header: { ...f16Header(x.dtype), alias: { Scalar: x.dtype }, constants: { DIM: dim, TOGETHER: dim > 128 ? 8 : 16 } },
    tensors: [x, centers, labels],
    uniform: Uint32Array.of(tokens, rows, centers.shape[1], 0),
    workgroups: [Math.ceil(tokens / 64), heads],
  });
  return labels;
}

function labelMeans({ device, kernels }: Parts, x: GpuTensor, labels: GpuTensor, centers: GpuTensor): GpuTensor {
  const [heads, count, dim] = centers.shape;
  const means = device.tensor(centers.shape, 'f32');
  device.dispatch({
    kernel: { ...kernels.labelMeans, shared: [kernels.labelMembers] },
    header: { ...f16Header(x.dtype), alias: { Scalar: x.dtype }, constants: { DIM: dim } },
    tensors: [x, labels, centers, means],
    uniform: Uint32Array.of(labels.shape[1], x.shape[1], count, 0),
    workgroups: [count, heads],
  });
  return means;
}

function byLabel({ device, kernels }: Parts, labels: GpuTensor, count: number, shape: Layout): Layout {
  const [heads, tokens] = labels.shape;
  const { block, blocks, videoBlocks, grid } = shape;
  const { order, slots, layouts } = tablesOf(device, heads, shape);
  const counts = device.tensor([heads, blocks], 'i32');
  const lnCounts = device.tensor([heads, 1, blocks], 'f32');
  const bias = device.tensor(order.shape, 'f32');
  device.scope(() => {
    const totals = device.tensor([heads, count], 'i32');
    device.dispatch({
      kernel: { ...kernels.labelSizes, shared: [kernels.labelMembers] },
      header: {},
      tensors: [labels, totals],
      uniform: Uint32Array.of(tokens, count, 0, 0),
      workgroups: [count, heads],
    });
    device.dispatch({
      kernel: { ...kernels.labelOrder, shared: [kernels.labelMembers] },
      header: { constants: { BLOCK: block } },
      tensors: [labels, totals, order, slots, counts, lnCounts, bias],
      uniform: Uint32Array.of(tokens, count, blocks, videoBlocks, grid.text, 0, 0, 0),
      workgroups: [count + 1, heads],
    });
  });
  return withHeads(shape, { layouts: layouts({ order, slots, counts, bias }), counts, lnCounts });
}

function byWeight({ device, kernels }: Parts, weights: GpuTensor, shape: Layout): Layout {
  const [heads, video] = weights.shape;
  const { order, slots, layouts } = tablesOf(device, heads, shape);
  const capacity = 2 ** Math.ceil(Math.log2(video));
  device.scope(() => {
    const sorted = device.tensor([heads, capacity, 2], 'i32');
    device.dispatch({
      kernel: { ...kernels.selectSort, shared: [kernels.selectShared] },
      header: { constants: { LEVELS: 1, CAPACITY: capacity, HELD: 8 * capacity <= device.adapter.limits.maxComputeWorkgroupStorageSize } },
      tensors: [weights, sorted],
      uniform: Uint32Array.from({ length: 12 }, (_, at) => [0, heads, 1, video][at] ?? 0),
      workgroups: gridOfGroups(heads),
    });
    device.dispatch({
      kernel: kernels.weightOrder,
      header: {},
      tensors: [sorted, order, slots],
      uniform: Uint32Array.of(heads, capacity, video, tokensOf(shape.grid), slotCount(shape), shape.videoBlocks * shape.block, 0, 0),
      workgroups: gridOf(heads * slotCount(shape)),
    });
  });
  return withHeads(shape, { layouts: layouts({ order, slots }) });
}

/** Tables of all heads to be filled, and the layouts of single heads once they are. */
function tablesOf(device: GpuDevice, heads: number, shape: Layout) {
  const [order, slots] = [slotCount(shape), tokensOf(shape.grid)].map((size) => device.tensor([heads, size], 'i32'));
  const unknown = () => {
    throw new TypeError(`the order ${shape.name} of a head is on the GPU; read its tables, or take stages that need none of it`);
  };
  const layouts = (all: StoredOrder): Layout[] => {
    const parts = Object.entries(all).map(([name, table]) => [name, splitTensor(device, table, heads)] as const);
    const storedOf = (head: number) => Object.fromEntries(parts.map(([name, part]) => [name, part[head]])) as unknown as StoredOrder;
    return Array.from({ length: heads }, (_, head) => oneHead(shape, { order: unknown, counts: () => shape.counts }, storedOf(head)));
  };
  return { order, slots, layouts };
}
