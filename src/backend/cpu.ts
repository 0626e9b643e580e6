// The CPU backend's handles and its queue. A handle wraps a promise, because ONNX Runtime's `run` is asynchronous;
// jobs run strictly in the order in which they were enqueued, so stage and model code reads as if it were synchronous.
import type * as ort from 'onnxruntime-common';
import { type DType, elements, type Numbers, type Tensor } from '../tensor.ts';
import { free } from './free.ts';
import { loadRuntime, type Runtime, type RuntimeChoice } from './runtime.ts';
import type { GpuDevice } from './webgpu/device.ts';

/** What a job takes and gives: host numbers, or a result that a session was told to leave on the GPU (`SessionOptions.held`). */
export type Value = Numbers | ort.Tensor;

/** A handle of the CPU backend. */
export interface CpuTensor extends Tensor {
  readonly value: Promise<Value>;
}

/** What one job wants to become a handle. */
export interface Shaped {
  readonly shape: readonly number[];
  readonly dtype?: DType;
}

/**
 * The queue and the runtime that all CPU operations share. Sessions that a device makes are cached in it and released by `dispose`. The runtime
 * may compute on a GPU: the device is that of host numbers, which its sessions take and, unless they hold their results, give.
 */
export interface CpuDevice {
  /** The ONNX Runtime that computes. */
  readonly runtime: Runtime;
  /** Makes a handle of host numbers. The array is not copied: do not write to it afterwards. @internal */
  upload(numbers: Numbers, shape: readonly number[]): CpuTensor;
  /** Waits for a handle's numbers; do not write to them. @internal */
  read(tensor: Tensor): Promise<Numbers>;
  /** Waits for the numbers of a handle that is not used again: they are the caller's. @internal */
  take(tensor: Tensor): Promise<Numbers>;
  /** A copy of rows [start, end) along the first axis, where the handle's numbers lie. @internal */
  rows(tensor: Tensor, start: number, end: number): CpuTensor;
  /** Gives the memory of a handle back, once the jobs enqueued so far have ended. @internal */
  release(tensor: Tensor): void;
  /** Enqueues a job behind all earlier ones; its results become the handles returned at once, in the order of `outputs`. @internal */
  enqueue(outputs: readonly Shaped[], job: () => Promise<readonly Value[]>): CpuTensor[];
  /** The value made once for a key: sessions, tables. `release` is called by `dispose`. @internal */
  cached<T>(key: string, make: () => Promise<T>, release?: (value: T) => Promise<void>): Promise<T>;
  /** Waits until every job enqueued so far has ended, well or not. */
  idle(): Promise<void>;
  /** Waits for what was enqueued and frees sessions, tables and what the runtime holds; use nothing of it afterwards. */
  dispose(): Promise<void>;
}

/** Whether a value lies on the host. */
export const isNumbers = (value: Value): value is Numbers => ArrayBuffer.isView(value);

/** What a CPU handle holds. @throws TypeError when the handle belongs to another backend. */
export function contentOf(tensor: Tensor): Promise<Value> {
  if (!('value' in tensor))
    throw new TypeError(`a tensor of shape [${tensor.shape}] belongs to another backend; upload it to the CPU device first`);
  return (tensor as CpuTensor).value;
}

/** Numbers of a CPU handle that lie on the host. @throws TypeError for a handle of another backend, or of a result held on a GPU. */
export function numbersOf(tensor: Tensor): Promise<Numbers> {
  return contentOf(tensor).then((value) => {
    if (isNumbers(value)) return value;
    throw new TypeError(`a tensor of shape [${tensor.shape}] is held on the GPU; read it from its device`);
  });
}

/** f32 numbers of a CPU handle. */
export const floatsOf = (tensor: Tensor): Promise<Float32Array> => numbersOf(tensor) as Promise<Float32Array>;
/** i32 numbers of a CPU handle. */
export const intsOf = (tensor: Tensor): Promise<Int32Array> => numbersOf(tensor) as Promise<Int32Array>;

/** Opens the CPU device on ONNX Runtime; see `loadRuntime` for the choice and what a GPU device is for. @throws UnsupportedError as `loadRuntime`. */
export async function openCpu(choice: RuntimeChoice = 'auto', gpu?: GpuDevice): Promise<CpuDevice> {
  const runtime = await loadRuntime(choice, gpu);
  const queue = jobQueue();
  return { runtime, ...storage(runtime, queue), ...caches(runtime, queue), enqueue: queue.enqueue, idle: queue.idle };
}

type Queue = Pick<CpuDevice, 'enqueue' | 'idle'>;

function jobQueue(): Queue {
  let tail: Promise<unknown> = Promise.resolve();
  return {
    enqueue(outputs, job) {
      const results = tail.then(job);
      // The queue waits for results but holds none.
      tail = results.then(
        () => undefined,
        () => undefined,
      );
      return outputs.map(({ shape, dtype = 'f32' }, index) => {
        const value = results.then((all) => all[index]);
        value.catch(() => undefined);
        return { shape, dtype, value };
      });
    },
    async idle() {
      await tail;
    },
  };
}

/** Numbers in and out. */
function storage({ held }: Runtime, { enqueue }: Queue): Pick<CpuDevice, 'upload' | 'read' | 'take' | 'rows' | 'release'> {
  const read = async (tensor: Tensor, last: boolean): Promise<Numbers> => {
    const value = await contentOf(tensor);
    return isNumbers(value) ? value : held!.read(value, last);
  };
  return {
    upload(numbers, shape) {
      if (elements(shape) !== numbers.length)
        throw new RangeError(`shape [${shape}] needs ${elements(shape)} numbers, got ${numbers.length}`);
      return { shape, dtype: numbers instanceof Float32Array ? 'f32' : 'i32', value: Promise.resolve(numbers) };
    },
    read: (tensor) => read(tensor, false),
    take: (tensor) => read(tensor, true),
    rows(tensor, start, end) {
      const rest = tensor.shape.slice(1);
      return enqueue([{ shape: [end - start, ...rest], dtype: tensor.dtype }], async () => {
        const value = await contentOf(tensor);
        return [isNumbers(value) ? value.slice(start * elements(rest), end * elements(rest)) : held!.rows(value, start, end)];
      })[0];
    },
    release(tensor) {
      enqueue([], async () => {
        const value = await contentOf(tensor);
        if (isNumbers(value)) free(value);
        else held!.free(value);
        return [];
      });
    },
  };
}

function caches(runtime: Runtime, { idle }: Queue): Pick<CpuDevice, 'cached' | 'dispose'> {
  const cache = new Map<string, { value: Promise<unknown>; release?: (value: never) => Promise<void> }>();
  return {
    cached<T>(key: string, make: () => Promise<T>, release?: (value: T) => Promise<void>): Promise<T> {
      let entry = cache.get(key);
      if (!entry) {
        entry = { value: make(), release: release as ((value: never) => Promise<void>) | undefined };
        cache.set(key, entry);
      }
      return entry.value as Promise<T>;
    },
    async dispose() {
      await idle();
      for (const { value, release } of cache.values()) await release?.((await value) as never);
      cache.clear();
      await runtime.dispose?.();
    },
  };
}
