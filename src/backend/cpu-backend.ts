// The CPU backend: every operation of a method, on ONNX Runtime and plain numbers, in the order of one device's queue.
import type { AttentionOps } from '../attention.ts';
import { searchOps } from '../search/cpu.ts';
import { sparse3dOps } from '../sparse3d/ops.ts';
import type { Layout } from '../sparse3d/plan.ts';
import { elements, type Tensor } from '../tensor.ts';
import type { Backend } from './backend.ts';
import { type CpuDevice, floatsOf } from './cpu.ts';

/** Everything that methods can compute, on a CPU device. The device stays the caller's to dispose. */
export function cpuBackend(device: CpuDevice): AttentionOps {
  const tokens = sparse3dOps(device);
  return {
    ...tokens,
    ...searchOps(device),
    gather: (x, layout) => (x.shape.length === 2 ? gatherRows(tokens, x, layout) : tokens.gather(x, layout)),
    split: (x, parts) => split(device, x, parts),
    concat: (parts) => concat(device, parts),
  };
}

/** One number a token, such as a log-sum-exp [heads, tokens], to [heads, slots]. */
function gatherRows(tokens: Pick<Backend, 'gather'>, x: Tensor, layout: Layout): Tensor {
  const gathered = tokens.gather({ ...x, shape: [...x.shape, 1] }, layout);
  return { ...gathered, shape: gathered.shape.slice(0, 2) };
}

function split(device: CpuDevice, x: Tensor, parts: number): Tensor[] {
  const [rows, ...rest] = x.shape;
  if (parts < 1 || rows % parts !== 0)
    throw new RangeError(`a tensor of shape [${x.shape}] does not split in ${parts} equal parts along its first axis`);
  const shape = [rows / parts, ...rest];
  const size = elements(shape);
  return device.enqueue(Array(parts).fill({ shape }), async () => {
    const numbers = await floatsOf(x);
    return Array.from({ length: parts }, (_, part) => numbers.subarray(part * size, (part + 1) * size));
  });
}

function concat(device: CpuDevice, parts: readonly Tensor[]): Tensor {
  const [, ...rest] = parts[0].shape;
  const shape = [parts.reduce((sum, part) => sum + part.shape[0], 0), ...rest];
  return device.enqueue([{ shape }], async () => {
    const whole = new Float32Array(elements(shape));
    let at = 0;
    for (const part of parts) {
      whole.set(await floatsOf(part), at);
      at += elements(part.shape);
    }
    return [whole];
  })[0];
}
