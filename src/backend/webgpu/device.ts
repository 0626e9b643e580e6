// The WebGPU device: one queue, a pool of buffers, pipelines made once per source, and handles that nobody waits for until they are read.
// In Node it comes from the optional package `webgpu` (Dawn), in a browser from `navigator.gpu`.
import { UnsupportedError } from '../../errors.ts';
import { type DType, elements, type Numbers, type Tensor } from '../../tensor.ts';
import { type AdapterReport, type GpuOptions, requestDevice } from './adapter.ts';
import { bind, keptBindings, keptUniform } from './bindings.ts';
import { type BufferPool, bufferPool, type Lent, type Scopes, scopes } from './buffers.ts';
import { cacheOver } from './cache.ts';
import { type ErrorLog, errorLog } from './errors.ts';
import { type Compiled, pipelineCache } from './pipelines.ts';
import { type CommandQueue, commandQueue, type Timed } from './queue.ts';
import type { Header, Kernel } from './wgsl.ts';

/** A handle of a WebGPU device. */
export interface GpuTensor extends Tensor {
  /** The device that made it. */
  readonly owner: GpuDevice;
  /** Where its numbers lie. */
  readonly lent: Lent;
}

/** One kernel launch. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly header: Header;
  /** Bound to group 0 from binding 1 on, in this order. */
  readonly tensors: readonly GpuTensor[];
  /** The uniform at binding 0, at most 256 bytes; leave it out when the body declares none. */
  readonly uniform?: Uint32Array | Float32Array | Int32Array;
  readonly workgroups: readonly [x: number, y?: number, z?: number];
  /** An object of its own for a launch that is repeated with the same kernel, header and uniform: what is made for it is kept there. */
  readonly memory?: LaunchMemory;
}

/** What is kept of a repeated launch. */
export interface LaunchMemory {
  compiled?: Compiled;
  uniform?: GPUBuffer;
  /** The last few bindings; tensors of a repeated launch tend to come back in the same buffers. */
  bindings?: readonly { readonly buffers: readonly GPUBuffer[]; readonly group: GPUBindGroup }[];
}

/** An opened GPU: one queue, and memory that is used again. What else it does is for kernels, which `webgpuBackend` has. */
export interface GpuDevice {
  /** The device of WebGPU itself, for buffers and work of one's own. */
  readonly device: GPUDevice;
  /** What is known of the GPU. */
  readonly adapter: AdapterReport;
  /** A tensor with old contents, in the innermost scope. @throws UnsupportedError when it is larger than the adapter can bind. @internal */
  tensor(shape: readonly number[], dtype: DType): GpuTensor;
  /** A tensor of host numbers. @throws RangeError for numbers that are not as many as the shape has. @internal */
  upload(numbers: Numbers, shape: readonly number[]): GpuTensor;
  /** Waits for the numbers of an f32 or i32 tensor. An error that a read `aside` throws, at which nobody may look, is left to the next wait too. @internal */
  read(tensor: GpuTensor, aside?: boolean): Promise<Numbers>;
  /** Records a launch. @throws UnsupportedError for more workgroups than the GPU takes. @internal */
  dispatch(launch: Dispatch): void;
  /** Compiles a kernel without holding up the host, and waits for it: a launch of it need not compile it then. @internal */
  compile(kernel: Kernel, header: Header): Promise<void>;
  /** Copies bytes from one tensor to another. @internal */
  copy(from: GpuTensor, fromByte: number, to: GpuTensor, toByte: number, bytes: number): void;
  /** The value made once for a key, such as the tables of a layout; tensors made by `make` live as long as the device. @internal */
  cached<T>(owner: object, key: string, make: () => T): T;
  /** Runs `body` and frees what it made, as `Backend.scope` does. @internal */
  scope<Result>(body: () => Result): Result;
  /** Takes a tensor out of its scope. @internal */
  keep(tensor: GpuTensor): GpuTensor;
  /** Frees a tensor. @internal */
  release(tensor: GpuTensor): void;
  /** GPU times of what `body` launches, in order; needs the feature `timestamp-query`. @internal */
  profile(body: () => void): Promise<readonly Timed[]>;
  /** Bytes of GPU memory in use, and the most there ever were. */
  readonly memory: BufferPool['usage'];
  /** Gives memory that no tensor uses back to the GPU, as between runs of different sizes. */
  trim(): void;
  /** Submits what was enqueued: for use before others submit work of their own on this device. */
  flush(): void;
  /** Submits what was enqueued and waits for it. @throws the first error that no wait before it threw. */
  idle(): Promise<void>;
  /** Destroys the device and frees its memory; use nothing of it afterwards. */
  dispose(): void;
}

const firstLine = (text: string): string => text.trim().split('\n')[0];

const BYTES: Record<DType, number> = { f32: 4, f16: 2, i32: 4 };

/** Bytes of a tensor. */
export const bytesOf = ({ shape, dtype }: Tensor): number => elements(shape) * BYTES[dtype];

/** A handle of this device. @throws TypeError when it belongs to another. */
export function gpuTensor(device: GpuDevice, tensor: Tensor): GpuTensor {
  const { owner } = tensor as Partial<GpuTensor>;
  if (owner !== device)
    throw new TypeError(
      `a tensor of shape [${tensor.shape}] belongs to another ${owner ? 'WebGPU device' : 'backend'}; upload it to this device first`,
    );
  return tensor as GpuTensor;
}

/**
 * Opens a WebGPU device with the adapter's limits and the features that kernels use; `dispose` gives its memory back.
 * @throws UnsupportedError when there is no WebGPU or no adapter.
 */
export async function openWebgpu(options: GpuOptions = {}): Promise<GpuDevice> {
  const { device, adapter } = await requestDevice(options);
  const errors = errorLog(device);
  const queue = commandQueue(device);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const pool = bufferPool(
    (size) =>
      bufferOf(device, errors, { size, usage }, pool.usage.bytes - size, (buffer) => {
        pool.lose(buffer);
        pool.trim();
      }),
    queue.flush,
  );
  const freed = new WeakSet<GpuTensor>();
  const scoped = scopes<GpuTensor>((tensor) => {
    if (freed.has(tensor)) return;
    freed.add(tensor);
    pool.give(tensor.lent);
  });
  const self = { device, adapter, memory: pool.usage } as GpuDevice;
  const parts: Parts = {
    device,
    errors,
    queue,
    pool,
    scoped,
    alive(tensor) {
      if (freed.has(tensor)) throw new Error(`a tensor of shape [${tensor.shape}] was freed; keep it, or use it inside its scope`);
      return gpuTensor(self, tensor);
    },
  };
  return Object.assign(self, storage(self, parts), lifetimes(self, parts), launches(parts), waits(parts));
}

/** What an error says first when the GPU had no memory for a buffer. */
const OUT_OF_MEMORY = 'out of memory: ';

/** What the GPU had no memory for, when that is what the error says. */
export const outOfMemory = (error: unknown): string | undefined =>
  error instanceof Error && error.message.startsWith(OUT_OF_MEMORY) ? error.message.slice(OUT_OF_MEMORY.length).split(';')[0] : undefined;

/** A buffer beside `held` bytes; where there is no memory for it, that is the error of the next wait. */
function bufferOf(
  device: GPUDevice,
  errors: ErrorLog,
  wanted: GPUBufferDescriptor,
  held: number,
  failed?: (buffer: GPUBuffer) => void,
): GPUBuffer {
  device.pushErrorScope('out-of-memory');
  const buffer = device.createBuffer(wanted);
  errors.watch(({ message }) => {
    failed?.(buffer);
    const what = `the GPU has no room for a buffer of ${wanted.size} bytes beside the ${held} in use`;
    return `${OUT_OF_MEMORY}${what} (${firstLine(message)}); ask for less, or release tensors first`;
  });
  return buffer;
}

/** What the functions of a device share. */
interface Parts {
  readonly device: GPUDevice;
  readonly errors: ErrorLog;
  readonly queue: CommandQueue;
  readonly pool: BufferPool;
  readonly scoped: Scopes<GpuTensor>;
  /** @throws Error for a freed tensor, TypeError for one of another device. */
  alive(tensor: GpuTensor): GpuTensor;
}

/** Making tensors. */
function storage(self: GpuDevice, { device, errors, queue, pool, scoped }: Parts): Pick<GpuDevice, 'tensor' | 'upload'> {
  const largest = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
  return {
    tensor(shape, dtype) {
      errors.check();
      const bytes = elements(shape) * BYTES[dtype];
      if (bytes > largest)
        throw new UnsupportedError(`a tensor of shape [${shape}] needs ${bytes} bytes, but this GPU binds at most ${largest} at once`);
      const tensor = { shape, dtype, owner: self, lent: pool.take(Math.max(4, Math.ceil(bytes / 4) * 4)) };
      scoped.add(tensor);
      return tensor;
    },
    upload(numbers, shape) {
      if (elements(shape) !== numbers.length)
        throw new RangeError(`shape [${shape}] needs ${elements(shape)} numbers, got ${numbers.length}`);
      const tensor = self.tensor(shape, numbers instanceof Float32Array ? 'f32' : 'i32');
      // A shared buffer, as wasm threads have, ends the process in Dawn on Node 20: it is copied.
      const { buffer, byteOffset, byteLength } = numbers.buffer instanceof ArrayBuffer ? numbers : numbers.slice();
      // What was recorded may still use the memory that this tensor now has.
      queue.flush();
      device.queue.writeBuffer(tensor.lent.buffer, 0, buffer as ArrayBuffer, byteOffset, byteLength);
      return tensor;
    },
  };
}

/** How long tensors live. */
function lifetimes(self: GpuDevice, { pool, scoped, alive }: Parts): Pick<GpuDevice, 'cached' | 'scope' | 'keep' | 'release' | 'trim'> {
  return {
    cached: cacheOver(scoped, pool),
    scope: scoped.run,
    keep(tensor) {
      scoped.remove(alive(tensor));
      return tensor;
    },
    release: (tensor) => scoped.free(gpuTensor(self, tensor)),
    trim: pool.trim,
  };
}

/** Work that is recorded. */
function launches({ device, errors, queue, alive }: Parts): Pick<GpuDevice, 'dispatch' | 'compile' | 'copy'> {
  const pipelines = pipelineCache(device, errors);
  const most = device.limits.maxComputeWorkgroupsPerDimension;
  return {
    dispatch(launch) {
      errors.check();
      const { kernel, header, tensors, uniform, workgroups, memory } = launch;
      if (workgroups.some((side = 1) => side > most))
        throw new UnsupportedError(
          `${kernel.name} would take ${workgroups.join(' x ')} workgroups, but this GPU takes ${most} a side; make blocks larger`,
        );
      for (const tensor of tensors) alive(tensor);
      const compiled = memory?.compiled ?? pipelines.of(kernel, header);
      if (memory) memory.compiled = compiled;
      const own = memory ? uniform && keptUniform(device, memory, uniform) : uniform && queue.uniform(uniform);
      const bindings = memory ? keptBindings(device, compiled, launch, memory, own) : bind(device, compiled, launch, own);
      queue.dispatch(kernel.name, compiled.pipeline, bindings, workgroups);
    },
    compile: pipelines.ahead,
    copy(from, fromByte, to, toByte, bytes) {
      errors.check();
      const [source, target] = [alive(from), alive(to)];
      queue.encoder().copyBufferToBuffer(source.lent.buffer, fromByte, target.lent.buffer, toByte, bytes);
    },
  };
}

/** What is waited for. */
function waits({ device, errors, queue, pool, alive }: Parts): Pick<GpuDevice, 'read' | 'profile' | 'flush' | 'idle' | 'dispose'> {
  return {
    flush: queue.flush,
    async read(tensor, aside) {
      if (tensor.dtype === 'f16') throw new TypeError('an f16 tensor is cast to f32 before it is read');
      errors.check();
      const { buffer, bytes } = alive(tensor).lent;
      const staging = bufferOf(device, errors, { size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST }, pool.usage.bytes);
      queue.encoder().copyBufferToBuffer(buffer, 0, staging, 0, bytes);
      queue.flush();
      try {
        await errors.during(staging.mapAsync(GPUMapMode.READ), aside);
        const copy = staging.getMappedRange().slice(0, bytesOf(tensor));
        return tensor.dtype === 'f32' ? new Float32Array(copy) : new Int32Array(copy);
      } finally {
        staging.destroy();
      }
    },
    async profile(body) {
      if (!device.features.has('timestamp-query')) throw new UnsupportedError('this GPU has no timestamps (feature timestamp-query)');
      return errors.during(queue.profile(body));
    },
    async idle() {
      queue.flush();
      await errors.during(device.queue.onSubmittedWorkDone());
    },
    dispose() {
      errors.close();
      device.destroy();
    },
  };
}
