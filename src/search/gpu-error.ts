// How wrong rows are when they read blocks as their means, on WebGPU: logits of all keys, some rows at a time, reduced to an error a block.
import type { GpuTensor } from '../backend/webgpu/device.ts';
import { countTable } from '../sparse3d/gpu-memory.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { biasTable, rowLogits, rowsAtOnce, type Weighed } from './gpu-probe.ts';
import type { Parts } from './gpu-score.ts';

/** `Backend.poolingError`. */
export function poolingError(parts: Parts, rows: GpuTensor, k: GpuTensor, layout: Layout, v?: GpuTensor): GpuTensor {
  const { device, tableBytes } = parts;
  const [heads, count, dim] = rows.shape;
  return device.scope(() => {
    const errors = device.tensor([heads, count, layout.blocks], 'f32');
    const weighed = {
      q: rows,
      k,
      chosen: device.upload(
        Int32Array.from({ length: count }, (_, at) => at),
        [count],
      ),
      bias: biasTable(device, layout, 1),
      scale: 1 / Math.sqrt(dim),
    };
    const moments = v && valueMoments(parts, v, layout);
    const together = rowsAtOnce(tableBytes, heads, k.shape[1]);
    for (let first = 0; first < count; first += together)
      errorRows(parts, weighed, moments, errors, layout, first, Math.min(together, count - first));
    return errors;
  });
}

/** Errors of `count` rows from `first` on. */
function errorRows(
  parts: Parts,
  weighed: Weighed,
  moments: GpuTensor | undefined,
  errors: GpuTensor,
  layout: Layout,
  first: number,
  count: number,
): void {
  const { device, kernels } = parts;
  const [heads, allRows, blocks] = errors.shape;
  device.scope(() => {
    const logits = rowLogits(parts, weighed, first, count);
    device.dispatch({
      kernel: { ...kernels.poolingError, shared: [kernels.rowSoftmax] },
      header: { constants: { BLOCK: layout.block, VALUED: moments !== undefined } },
      // Logits stand in for moments that are not read.
      tensors: [logits, countTable(device, layout), moments ?? logits, errors],
      uniform: Uint32Array.of(count, blocks, allRows, first),
      workgroups: [count, heads],
    });
  });
}

/** How each token's value lies to the mean of its block, [heads, slots, 2]. */
function valueMoments({ device, kernels }: Parts, v: GpuTensor, layout: Layout): GpuTensor {
  const [heads, slots, dim] = v.shape;
  const moments = device.tensor([heads, slots, 2], 'f32');
  device.dispatch({
    kernel: kernels.valueMoments,
    header: {
      enable: v.dtype === 'f16' ? ['f16'] : [],
      alias: { Scalar: v.dtype },
      constants: { DIM: dim, BLOCK: layout.block },
    },
    tensors: [v, countTable(device, layout), moments],
    uniform: Uint32Array.of(layout.blocks, 0, 0, 0),
    workgroups: [layout.blocks, heads],
  });
  return moments;
}
