// Values that are made once for a key, such as the tables of a layout, and live as long as the device.
import { type BufferPool, reachable, type Scopes } from './buffers.ts';
import type { GpuDevice, GpuTensor } from './device.ts';

/** A value with its tensors: without memory for one of them it is made again. */
interface Cached {
  readonly value: unknown;
  readonly tensors: readonly GpuTensor[];
}

/** `GpuDevice.cached`. What fails is not kept. */
export function cacheOver(scoped: Scopes<GpuTensor>, { isGone }: BufferPool): GpuDevice['cached'] {
  const caches = new WeakMap<object, Map<string, Cached>>();
  return <T>(owner: object, key: string, make: () => T): T => {
    const known = caches.get(owner) ?? new Map<string, Cached>();
    caches.set(owner, known);
    const found = known.get(key);
    if (found && !found.tensors.some(({ lent }) => isGone(lent.buffer))) return found.value as T;
    for (const tensor of found?.tensors ?? []) scoped.free(tensor);
    const value = scoped.outside(() => scoped.run(make));
    known.set(key, { value, tensors: [...reachable(value)].filter((part) => 'lent' in part) as GpuTensor[] });
    return value;
  };
}
