// The CPU backend's handles and its queue. A handle wraps a promise, because ONNX Runtime's `run` is asynchronous;
// jobs run strictly in the order in which they were enqueued, so stage and model code reads as if it were synchronous.
import { type DType, elements, type Numbers, type Tensor } from '../tensor.ts';
import { loadRuntime, type Runtime, type RuntimeChoice } from './runtime.ts';

/** A handle of the CPU backend. */
export interface CpuTensor extends Tensor {
  readonly numbers: Promise<Numbers>;
}

/** What one job wants to become a handle. */
export interface Shaped {
  readonly shape: readonly number[];
  readonly dtype?: DType;
}

/** The queue and the runtime that all CPU operations share. Sessions that a device makes are cached in it and released by `dispose`. */
export interface CpuDevice {
  readonly runtime: Runtime;
  /** Makes a handle of host numbers. The array is not copied: do not write to it afterwards. */
  upload(numbers: Numbers, shape: readonly number[]): CpuTensor;
  /** Waits for a handle's numbers; do not write to them. */
  read(tensor: Tensor): Promise<Numbers>;
  /** Enqueues a job behind all earlier ones; its results become the handles returned at once, in the order of `outputs`. */
  enqueue(outputs: readonly Shaped[], job: () => Promise<readonly Numbers[]>): CpuTensor[];
  /** The value made once for a key: sessions, tables. `release` is called by `dispose`. */
  cached<T>(key: string, make: () => Promise<T>, release?: (value: T) => Promise<void>): Promise<T>;
  /** Waits until every job enqueued so far has ended, well or not. */
  idle(): Promise<void>;
  dispose(): Promise<void>;
}

function isCpuTensor(tensor: Tensor): tensor is CpuTensor {
  return 'numbers' in tensor;
}

/** Numbers of a CPU handle. @throws TypeError when the handle belongs to another backend. */
export function numbersOf(tensor: Tensor): Promise<Numbers> {
  if (!isCpuTensor(tensor))
    throw new TypeError(`a tensor of shape [${tensor.shape}] belongs to another backend; upload it to the CPU device first`);
  return tensor.numbers;
}

/** f32 numbers of a CPU handle. */
export const floatsOf = (tensor: Tensor): Promise<Float32Array> => numbersOf(tensor) as Promise<Float32Array>;
/** i32 numbers of a CPU handle. */
export const intsOf = (tensor: Tensor): Promise<Int32Array> => numbersOf(tensor) as Promise<Int32Array>;

/** Opens the CPU device on ONNX Runtime; see `loadRuntime` for the choice and its errors. */
export async function openCpu(choice: RuntimeChoice = 'auto'): Promise<CpuDevice> {
  const runtime = await loadRuntime(choice);
  const cache = new Map<string, { value: Promise<unknown>; release?: (value: never) => Promise<void> }>();
  let tail: Promise<unknown> = Promise.resolve();
  return {
    runtime,
    upload(numbers, shape) {
      if (elements(shape) !== numbers.length)
        throw new RangeError(`shape [${shape}] needs ${elements(shape)} numbers, got ${numbers.length}`);
      return { shape, dtype: numbers instanceof Float32Array ? 'f32' : 'i32', numbers: Promise.resolve(numbers) };
    },
    read: numbersOf,
    enqueue(outputs, job) {
      const results = tail.then(job);
      // The queue waits for results but holds none.
      tail = results.then(
        () => undefined,
        () => undefined,
      );
      return outputs.map(({ shape, dtype = 'f32' }, index) => {
        const numbers = results.then((all) => all[index]);
        numbers.catch(() => undefined);
        return { shape, dtype, numbers };
      });
    },
    cached<T>(key: string, make: () => Promise<T>, release?: (value: T) => Promise<void>): Promise<T> {
      let entry = cache.get(key);
      if (!entry) {
        entry = { value: make(), release: release as ((value: never) => Promise<void>) | undefined };
        cache.set(key, entry);
      }
      return entry.value as Promise<T>;
    },
    async idle() {
      await tail;
    },
    async dispose() {
      await tail;
      for (const { value, release } of cache.values()) await release?.((await value) as never);
      cache.clear();
    },
  };
}
