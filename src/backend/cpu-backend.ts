// The CPU backend: every operation of a method, on ONNX Runtime and plain numbers, in the order of one device's queue.
import { checkObject } from '../checks.ts';
import { UnsupportedError } from '../errors.ts';
import { searchOps } from '../search/cpu.ts';
import { algebraOps } from '../search/cpu-algebra.ts';
import { orderOps } from '../search/cpu-orders.ts';
import { sparse3dOps } from '../sparse3d/ops.ts';
import type { Backend } from './backend.ts';
import { overHeads } from './by-head.ts';
import type { CpuDevice } from './cpu.ts';

/** Everything that methods can compute, on a CPU device. The device stays the caller's to dispose. */
export function cpuBackend(device: CpuDevice): Backend {
  checkObject('the device is', device, 'give one that is open, await openCpu()');
  return overHeads({
    ...memoryOps,
    ...sparse3dOps(device),
    ...searchOps(device),
    ...algebraOps(device),
    ...orderOps(device),
  });
}

/** Memory belongs to the garbage collector here. */
const memoryOps: Pick<Backend, 'cast' | 'scope' | 'keep' | 'release'> = {
  cast(x, dtype) {
    if (dtype !== x.dtype) throw new UnsupportedError(`the CPU computes in f32 and does not cast ${x.dtype} to ${dtype}; choose f32`);
    return x;
  },
  scope: (body) => body(),
  keep: (x) => x,
  release: () => undefined,
};
