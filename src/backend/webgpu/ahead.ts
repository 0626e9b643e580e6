// A device that computes nothing: what is launched on it is compiled for the real one, all kernels at the same time, and is there when the same
// work comes in earnest.
import { bytesOf, type GpuDevice, type GpuTensor } from './device.ts';

/**
 * The device ahead of another one. Its tensors hold nothing, reads of them never end, and `idle` waits until what was launched is compiled.
 * What a kernel is refused for is left to the real launch.
 */
export function aheadOf(device: GpuDevice): GpuDevice {
  const coming = new Set<Promise<void>>();
  const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
  const nothing = () => undefined;
  const tensor: GpuDevice['tensor'] = (shape, dtype) => {
    const bytes = bytesOf({ shape, dtype });
    return { shape, dtype, owner: self, lent: { buffer: { size: bytes } as GPUBuffer, bytes } };
  };
  const self: GpuDevice = {
    ...{ device: device.device, adapter: device.adapter, memory: { bytes: 0, peakBytes: 0 } },
    tensor,
    upload: (numbers, shape) => tensor(shape, numbers instanceof Float32Array ? 'f32' : 'i32'),
    dispatch({ kernel, header }) {
      const made = device.compile(kernel, header).finally(() => coming.delete(made));
      coming.add(made);
    },
    compile: device.compile,
    idle: async () => void (await Promise.all(coming)),
    cached: cache(),
    scope: (body) => body(),
    keep: (own: GpuTensor) => own,
    ...{ read: never, profile: never },
    ...{ copy: nothing, release: nothing, trim: nothing, flush: nothing, dispose: nothing },
  };
  return self;
}

function cache(): GpuDevice['cached'] {
  const made = new WeakMap<object, Map<string, unknown>>();
  return <T>(owner: object, key: string, make: () => T): T => {
    const known = made.get(owner) ?? new Map<string, unknown>();
    made.set(owner, known);
    if (!known.has(key)) known.set(key, make());
    return known.get(key) as T;
  };
}
