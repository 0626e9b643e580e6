// Operations on score tables on WebGPU. All of it is enqueued; nothing is read back.
import type { Algebra } from '../backend/algebra.ts';
import { bytesOf, type GpuDevice, type GpuTensor, gpuTensor } from '../backend/webgpu/device.ts';
import { countTable, f16Header, gridOf, gridOfGroups } from '../sparse3d/gpu-memory.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { type DType, elements, type Tensor } from '../tensor.ts';
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
import type { SearchKernels } from './kernels/index.ts';

interface Parts {
  readonly device: GpuDevice;
  readonly kernels: SearchKernels;
}

/** `Algebra` on a WebGPU device; sums are f32. @throws RangeError for shapes, TypeError for types that do not fit. */
export function algebraGpuOps(device: GpuDevice, kernels: SearchKernels): Algebra {
  const parts = { device, kernels };
  return { ...meanOps(parts), ...rowOps(parts), ...tableOps(parts) };
}

function meanOps(parts: Parts): Pick<Algebra, 'blockMeans' | 'center' | 'product'> {
  const { device } = parts;
  return {
    blockMeans(x, layout, { normalized = false } = {}) {
      checkBlocked('x', x, layout);
      return blockMeans(parts, gpuTensor(device, x), layout, normalized);
    },
    center(x, layout) {
      checkBlocked('x', x, layout);
      return center(parts, gpuTensor(device, x), layout);
    },
    product(a, b, scale) {
      checkProduct(a, b);
      return product(parts, gpuTensor(device, a), gpuTensor(device, b), scale);
    },
  };
}

function blockMeans({ device, kernels }: Parts, x: GpuTensor, layout: Layout, normalized: boolean): GpuTensor {
  const [heads, , dim] = x.shape;
  const means = device.tensor([heads, layout.blocks, dim], 'f32');
  device.dispatch({
    kernel: kernels.blockMeans,
    header: { ...f16Header(x.dtype), alias: { Scalar: x.dtype }, constants: { DIM: dim, BLOCK: layout.block, NORMALIZED: normalized } },
    tensors: [x, countTable(device, layout), means],
    uniform: Uint32Array.of(layout.blocks, 0, 0, 0),
    workgroups: [layout.blocks, heads],
  });
  return means;
}

function center(parts: Parts, x: GpuTensor, layout: Layout): GpuTensor {
  const { device, kernels } = parts;
  const [heads, , dim] = x.shape;
  const counts = countTable(device, layout);
  const uniform = Uint32Array.of(layout.blocks, 0, 0, 0);
  return device.scope(() => {
    const means = blockMeans(parts, x, layout, false);
    const whole = device.tensor([heads, dim], 'f32');
    device.dispatch({
      kernel: kernels.headMeans,
      header: { constants: { DIM: dim } },
      tensors: [means, counts, whole],
      uniform,
      workgroups: [Math.ceil(dim / 64), heads],
    });
    const centered = device.tensor(x.shape, x.dtype);
    device.dispatch({
      kernel: kernels.center,
      header: { ...f16Header(x.dtype), alias: { Scalar: x.dtype }, constants: { DIM: dim, BLOCK: layout.block } },
      tensors: [x, whole, counts, centered],
      uniform,
      workgroups: [layout.blocks, heads],
    });
    return centered;
  });
}

function product({ device, kernels }: Parts, a: GpuTensor, b: GpuTensor, scale: number): GpuTensor {
  const [heads, n, depth] = a.shape;
  const [bHeads, m] = b.shape;
  const result = device.tensor([heads, n, m], 'f32');
  const uniform = Uint32Array.of(n, m, depth, bHeads === 1 ? 0 : m * depth, 0, 0, 0, 0);
  new Float32Array(uniform.buffer)[4] = scale;
  device.dispatch({
    kernel: kernels.tableProduct,
    header: {},
    tensors: [a, b, result],
    uniform,
    workgroups: [Math.ceil(m / 32), Math.ceil(n / 32), heads],
  });
  return result;
}

function rowOps({ device, kernels }: Parts): Pick<Algebra, 'softmax' | 'reduce' | 'argmax' | 'minMax' | 'top'> {
  /** A kernel whose workgroups take a row each. */
  const byRow = (name: keyof SearchKernels, x: Tensor, shape: readonly number[], constants = {}, dtype: DType = 'f32'): GpuTensor => {
    checkFloats(name, x);
    const size = x.shape[x.shape.length - 1];
    const rows = elements(x.shape) / size;
    const result = device.tensor(shape, dtype);
    device.dispatch({
      kernel: kernels[name],
      header: { constants },
      tensors: [gpuTensor(device, x), result],
      uniform: Uint32Array.of(rows, size, 0, 0),
      workgroups: gridOfGroups(rows),
    });
    return result;
  };
  return {
    softmax: (x) => byRow('softmax', x, x.shape),
    minMax: (x) => byRow('minMax', x, x.shape),
    reduce: (x, how) => byRow('reduce', x, withoutLast(x), { LARGEST: how === 'max', PLACE: false, MEAN: how === 'mean' }),
    argmax: (x) => byRow('reduce', x, withoutLast(x), { LARGEST: true, PLACE: true, MEAN: false }, 'i32'),
    top(x, count) {
      checkFloats('top', x);
      checkTop(count);
      const size = x.shape[x.shape.length - 1];
      const chosen = device.tensor(x.shape, 'f32');
      device.dispatch({
        kernel: kernels.top,
        header: {},
        tensors: [gpuTensor(device, x), chosen],
        uniform: Uint32Array.of(elements(x.shape) / size, size, count, 0),
        workgroups: gridOf(elements(x.shape)),
      });
      return chosen;
    },
  };
}

function tableOps(parts: Parts): Pick<Algebra, 'step' | 'multiply' | 'force' | 'pick' | 'reshape'> {
  const { device, kernels } = parts;
  return {
    step(x, threshold, below, otherwise) {
      checkFloats('step', x);
      checkStep(threshold);
      const result = device.tensor(x.shape, 'f32');
      const uniform = Uint32Array.of(elements(x.shape), 0, 0, 0);
      new Float32Array(uniform.buffer).set([threshold, below, otherwise], 1);
      const workgroups = gridOf(elements(x.shape));
      device.dispatch({ kernel: kernels.step, header: {}, tensors: [gpuTensor(device, x), result], uniform, workgroups });
      return result;
    },
    multiply: (a, b) => joined(parts, broadcastOf('multiply', a, b), a, b, true),
    force: (scores, force) => joined(parts, forcingOf(scores, force), scores, force, false),
    pick(tables, choice) {
      checkPick(tables, choice);
      const [choices, ...shape] = tables.shape;
      const picked = device.tensor([choice.shape[0], ...shape], 'f32');
      device.dispatch({
        kernel: kernels.pick,
        header: {},
        tensors: [gpuTensor(device, tables), gpuTensor(device, choice), picked],
        uniform: Uint32Array.of(choice.shape[0], choices, elements(shape), 0),
        workgroups: gridOf(elements(picked.shape)),
      });
      return picked;
    },
    reshape(x, shape) {
      checkReshape(x, shape);
      const result = device.tensor(shape, x.dtype);
      device.copy(gpuTensor(device, x), 0, result, 0, bytesOf(result));
      return result;
    },
  };
}

function joined(
  { device, kernels }: Parts,
  { shape, sizes, a: stepA, b: stepB }: Broadcast,
  a: Tensor,
  b: Tensor,
  isProduct: boolean,
): GpuTensor {
  const result = device.tensor(shape, 'f32');
  device.dispatch({
    kernel: kernels.broadcast,
    header: { constants: { PRODUCT: isProduct } },
    tensors: [gpuTensor(device, a), gpuTensor(device, b), result],
    uniform: Uint32Array.of(...sizes, ...stepA, ...stepB),
    workgroups: gridOf(elements(shape)),
  });
  return result;
}
