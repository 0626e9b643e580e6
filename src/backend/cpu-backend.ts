// The CPU backend: every operation of a method, on ONNX Runtime and plain numbers, in the order of one device's queue.
import { searchOps } from '../search/cpu.ts';
import { sparse3dOps } from '../sparse3d/ops.ts';
import type { Backend } from './backend.ts';
import type { CpuDevice } from './cpu.ts';

/** Everything that methods can compute, on a CPU device. The device stays the caller's to dispose. */
export const cpuBackend = (device: CpuDevice): Backend => ({ ...sparse3dOps(device), ...searchOps(device) });
