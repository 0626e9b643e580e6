// Tensors of a WebGPU device moved and stored anew: other types, parts and wholes, weighted sums, other orders.
import { bytesOf, type GpuDevice, type GpuTensor, gpuTensor } from '../backend/webgpu/device.ts';
import { UnsupportedError } from '../errors.ts';
import { type DType, elements, type Numbers, type Tensor } from '../tensor.ts';
import { checkBlocked, checkCombine, checkRaster, checkSplit } from './checks.ts';
import type { Sparse3dKernels } from './kernels/index.ts';
import { slotsOf } from './order.ts';
import type { Layout, StoredOrder } from './plan.ts';

const THREADS = 256;

/** Workgroups of 256 for `count` threads. */
export const gridOf = (count: number): [x: number, y: number] => gridOfGroups(Math.max(1, Math.ceil(count / THREADS)));

/** So many workgroups, or a few more, in two dimensions, since one holds 65,535 at most. */
export function gridOfGroups(groups: number): [x: number, y: number] {
  const y = Math.ceil(groups / 65_535);
  return [Math.ceil(groups / y), y];
}

/** Reads any tensor, f16 as f32. */
export function readTensor(device: GpuDevice, kernels: Sparse3dKernels, x: Tensor): Promise<Numbers> {
  const tensor = gpuTensor(device, x);
  if (tensor.dtype !== 'f16') return device.read(tensor);
  return device.scope(() => ({ numbers: device.read(gpuTensor(device, castTensor(device, kernels, x, 'f32'))) })).numbers;
}

/** The same numbers as f32 or f16. @throws UnsupportedError where the GPU has no f16. */
export function castTensor(device: GpuDevice, kernels: Sparse3dKernels, x: Tensor, dtype: 'f32' | 'f16'): Tensor {
  const from = gpuTensor(device, x);
  if (from.dtype === dtype) return x;
  if (dtype === 'f16') needF16(device);
  const to = device.tensor(x.shape, dtype);
  const size = elements(x.shape);
  const [count, typeOf] = size % 4 === 0 ? [size / 4, (type: DType) => `vec4<${type}>`] : [size, (type: DType) => type];
  device.dispatch({
    kernel: kernels.cast,
    header: { ...f16Header(from.dtype, dtype), alias: { From: typeOf(from.dtype), To: typeOf(dtype) } },
    tensors: [from, to],
    uniform: new Uint32Array([count, 0, 0, 0]),
    workgroups: gridOf(count),
  });
  return to;
}

/** Header lines for types that are stored. */
export const f16Header = (...dtypes: readonly DType[]): { enable: string[] } => ({ enable: dtypes.includes('f16') ? ['f16'] : [] });

function needF16({ adapter }: GpuDevice): void {
  if (!adapter.features.has('shader-f16')) throw new UnsupportedError('this GPU stores no f16 (feature shader-f16 is missing); choose f32');
}

/** Parts of a tensor along its first axis. */
export function splitTensor(device: GpuDevice, x: Tensor, parts: number): Tensor[] {
  checkSplit(x, parts);
  const from = gpuTensor(device, x);
  const shape = [x.shape[0] / parts, ...x.shape.slice(1)];
  return Array.from({ length: parts }, (_, part) => {
    const to = device.tensor(shape, x.dtype);
    device.copy(from, part * wholeBytes(to), to, 0, bytesOf(to));
    return to;
  });
}

/** The whole of parts along their first axis. */
export function concatTensors(device: GpuDevice, parts: readonly Tensor[]): Tensor {
  const [, ...rest] = parts[0].shape;
  const whole = device.tensor([parts.reduce((sum, part) => sum + part.shape[0], 0), ...rest], parts[0].dtype);
  let at = 0;
  for (const part of parts) {
    if (part.dtype !== whole.dtype || `${part.shape.slice(1)}` !== `${rest}`)
      throw new RangeError(`concat takes parts alike, got ${whole.dtype} [${parts[0].shape}] and ${part.dtype} [${part.shape}]`);
    device.copy(gpuTensor(device, part), 0, whole, at, wholeBytes(part));
    at += bytesOf(part);
  }
  return whole;
}

// A kernel has 8 storage buffers everywhere, no more, and one is for the result.
const MOST_PARTS = 6;

/** The weighted sum of tensors, in f32; longer sums are made from the sum of the first few. */
export function combineTensors(device: GpuDevice, kernels: Sparse3dKernels, parts: readonly Tensor[], weights: readonly number[]): Tensor {
  checkCombine(parts, weights);
  if (parts.length <= MOST_PARTS) return weightedSum(device, kernels, parts, weights);
  return device.scope(() => {
    const first = weightedSum(device, kernels, parts.slice(0, MOST_PARTS), weights);
    return combineTensors(device, kernels, [first, ...parts.slice(MOST_PARTS)], [1, ...weights.slice(MOST_PARTS)]);
  });
}

function weightedSum(device: GpuDevice, kernels: Sparse3dKernels, parts: readonly Tensor[], weights: readonly number[]): GpuTensor {
  const { shape } = parts[0];
  const sum = device.tensor(shape, 'f32');
  const size = elements(shape);
  const [count, item] = size % 4 === 0 ? [size / 4, 'vec4<f32>'] : [size, 'f32'];
  device.dispatch({
    kernel: kernels.combine,
    header: { alias: { Item: item }, constants: { PARTS: parts.length } },
    tensors: [...Array.from({ length: MOST_PARTS }, (_, part) => gpuTensor(device, parts[part] ?? parts[0])), sum],
    uniform: Float32Array.from({ length: 8 }, (_, part) => weights[part] ?? 0),
    workgroups: gridOf(count),
  });
  return sum;
}

// A GPU copies 4 bytes at a time.
function wholeBytes(tensor: Tensor): number {
  const bytes = bytesOf(tensor);
  if (bytes % 4 !== 0)
    throw new UnsupportedError(`an f16 tensor of shape [${tensor.shape}], odd in size, is neither split nor joined here; cast it to f32`);
  return bytes;
}

/** Raster -> blocked. */
export function gatherTensor(device: GpuDevice, kernels: Sparse3dKernels, x: Tensor, layout: Layout): Tensor {
  checkRaster(x, layout);
  return permuted(device, kernels, x, orderTable(device, layout));
}

/** Blocked -> raster. */
export function scatterTensor(device: GpuDevice, kernels: Sparse3dKernels, x: Tensor, layout: Layout): Tensor {
  checkBlocked(x, layout);
  return permuted(device, kernels, x, slotTable(device, layout));
}

/** A table of one head's layout, where the device made it. */
export function ownTable(device: GpuDevice, { stored }: Layout, name: keyof StoredOrder): GpuTensor | undefined {
  const table = stored?.[name];
  return table && gpuTensor(device, table);
}

/** The token of each slot. */
export const orderTable = (device: GpuDevice, layout: Layout): GpuTensor =>
  ownTable(device, layout, 'order') ?? device.cached(layout, 'order', () => device.upload(layout.order, [layout.order.length]));

/** Real tokens of each block. */
export const countTable = (device: GpuDevice, layout: Layout): GpuTensor =>
  ownTable(device, layout, 'counts') ??
  device.cached(layout.shape ?? layout, 'counts', () => device.upload(layout.counts, [layout.blocks]));

/** The slot of each token. */
export const slotTable = (device: GpuDevice, layout: Layout): GpuTensor =>
  ownTable(device, layout, 'slots') ??
  device.cached(layout, 'slots', () => {
    const slots = slotsOf(layout);
    return device.upload(slots, [slots.length]);
  });

function permuted(device: GpuDevice, kernels: Sparse3dKernels, x: Tensor, order: GpuTensor): Tensor {
  const y = device.tensor([x.shape[0], elements(order.shape), ...x.shape.slice(2)], x.dtype);
  permute(device, kernels, gpuTensor(device, x), order, y);
  return y;
}

/** Row r of each head of y [heads, rows, dim] becomes row order[r] of that head of x, zero where that is negative. */
export function permute(device: GpuDevice, kernels: Sparse3dKernels, x: GpuTensor, order: GpuTensor, y: GpuTensor): void {
  const [heads, target, dim = 1] = y.shape;
  const rows = elements(x.shape) / heads / dim;
  const [items, item] = dim % 4 === 0 ? [dim / 4, `vec4<${x.dtype}>`] : [dim, x.dtype];
  device.dispatch({
    kernel: kernels.permute,
    header: { ...f16Header(x.dtype), alias: { Item: item } },
    tensors: [x, order, y],
    uniform: new Uint32Array([heads, rows, target, items]),
    workgroups: gridOf(heads * target * items),
  });
}
