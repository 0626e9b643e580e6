// Which ONNX Runtime computes: on the CPU onnxruntime-node (native) when it is installed, onnxruntime-web (wasm) otherwise, or onnxruntime-web's
// WebGPU build on a GPU. All speak one API, onnxruntime-common; nothing outside this file and `runtime-webgpu.ts` knows which one it is.
import type * as ort from 'onnxruntime-common';
import { UnsupportedError } from '../errors.ts';
import { inNode } from '../in-node.ts';
import type { Numbers } from '../tensor.ts';
import { webgpuRuntime } from './runtime-webgpu.ts';
import type { GpuDevice } from './webgpu/device.ts';

/** The packages that can compute: native on the CPU, wasm on the CPU, and onnxruntime-web on a GPU. */
export type RuntimeName = 'onnxruntime-node' | 'onnxruntime-web' | 'onnxruntime-webgpu';
/** A package by name, or `auto`; see `loadRuntime` for what that takes. */
export type RuntimeChoice = 'auto' | RuntimeName;

/** Bytes for the external initializers of a graph; `path` equals the initializer's `location`. */
export interface ExternalBytes {
  readonly path: string;
  readonly data: Uint8Array;
}

export interface SessionOptions {
  readonly externalData?: readonly ExternalBytes[];
  /** Threads inside one run; the default is all cores. */
  readonly threads?: number;
  /** false: buffers go back to the system after use, for graphs whose intermediate values are large (default true: they are kept for the next run). */
  readonly arena?: boolean;
  /** true: results stay where the runtime computes them (see `Runtime.held`) until they are freed. Those of a CPU are host numbers all the same. */
  readonly held?: boolean;
  /**
   * Where single results stay; for graphs that were made elsewhere, on a GPU: what has no GPU form there, as arithmetic on shapes, then runs on
   * the CPU.
   */
  readonly places?: Readonly<Record<string, 'gpu-buffer' | 'cpu'>>;
  /** true: the session runs once, so rearranging its weights beforehand does not pay where that is slow. */
  readonly once?: boolean;
}

/** Results that a runtime left in GPU buffers. Whoever has one frees it. */
export interface HeldResults {
  /** Waits for the numbers; with `last` the buffer is freed. */
  read(result: ort.Tensor, last: boolean): Promise<Numbers>;
  /** A copy of rows [start, end) along the first axis. */
  rows(result: ort.Tensor, start: number, end: number): ort.Tensor;
  free(result: ort.Tensor): void;
}

/** A loaded ONNX Runtime. */
export interface Runtime {
  /** The package that was loaded. */
  readonly name: RuntimeName;
  /** The version of that package. */
  readonly version: string;
  /** Cores this process may use; wasm uses them as threads. */
  readonly threads: number;
  /** What to do to get the faster runtime; absent when this is the faster one. */
  readonly hint?: string;
  /** Tensors of that package. @internal */
  readonly Tensor: typeof ort.Tensor;
  /** true: its sessions take no weights of half precision. @internal */
  readonly floatsOnly?: boolean;
  /** What can be done with results that stay on a GPU; absent where there are none. @internal */
  readonly held?: HeldResults;
  /** Opens a model. @internal */
  session(model: Uint8Array, options?: SessionOptions): Promise<ort.InferenceSession>;
  /** Gives back what it holds of a GPU device; its sessions are released before. */
  dispose?(): Promise<void>;
}

type Module = typeof ort;

async function importRuntime(name: 'onnxruntime-node' | 'onnxruntime-web'): Promise<Module> {
  const loaded = (name === 'onnxruntime-node' ? await import('onnxruntime-node') : await import('onnxruntime-web')) as unknown as Module & {
    default?: Module;
  };
  return loaded.InferenceSession ? loaded : loaded.default!;
}

const HINT = 'install onnxruntime-node for about 4x the speed: npm install onnxruntime-node --onnxruntime-node-install=skip';

/**
 * Loads ONNX Runtime. `auto` takes onnxruntime-node when it is installed, else (so on every web page) onnxruntime-webgpu where a GPU device is given
 * and onnxruntime-web where none is; a named runtime is never replaced.
 * @throws UnsupportedError when the named runtime is not installed, or needs a GPU device and there is none.
 */
export async function loadRuntime(choice: RuntimeChoice = 'auto', gpu?: GpuDevice): Promise<Runtime> {
  if (choice === 'onnxruntime-webgpu') {
    if (gpu) return webgpuRuntime(gpu);
    throw new UnsupportedError(
      'onnxruntime-webgpu computes on a GPU device, and this run has none; choose device webgpu or another runtime',
    );
  }
  if (choice === 'onnxruntime-web') return describe('onnxruntime-web', await importRuntime('onnxruntime-web'));
  try {
    if (!inNode) throw new Error('a web page runs no native code');
    return await describe('onnxruntime-node', await importRuntime('onnxruntime-node'));
  } catch (cause) {
    if (choice === 'auto') return gpu ? webgpuRuntime(gpu) : describe('onnxruntime-web', await importRuntime('onnxruntime-web'));
    throw new UnsupportedError(
      `onnxruntime-node cannot be loaded (${(cause as Error).message.split('\n')[0]}); install it with "npm install onnxruntime-node --onnxruntime-node-install=skip" or choose onnxruntime-web`,
    );
  }
}

/** Cores that a runtime may use; wasm has threads on pages alone that are isolated from other origins. */
async function cores(): Promise<number> {
  if (inNode) return (await import('node:os')).availableParallelism();
  return globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
}

/**
 * How long an idle thread spins before it sleeps: longer than the gaps between a graph's operations, but on a busy machine not for the
 * milliseconds in which another thread of the session waits for a core.
 */
const SPIN_MICROSECONDS = '100';

async function describe(name: 'onnxruntime-node' | 'onnxruntime-web', module: Module): Promise<Runtime> {
  const threads = await cores();
  if (name === 'onnxruntime-web') module.env.wasm.numThreads = threads;
  module.env.logLevel = 'error';
  const versions = module.env.versions as Record<string, string | undefined>;
  return {
    name,
    threads,
    version: (name === 'onnxruntime-node' ? versions.node : versions.web) ?? versions.common ?? 'unknown',
    ...(name === 'onnxruntime-web' && inNode && { hint: HINT }),
    Tensor: module.Tensor,
    session: (model, options = {}) =>
      module.InferenceSession.create(model, {
        executionProviders: name === 'onnxruntime-node' ? ['cpu'] : ['wasm'],
        intraOpNumThreads: options.threads ?? threads,
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
        enableCpuMemArena: options.arena ?? true,
        enableMemPattern: options.arena ?? true,
        // A session's idle threads would otherwise spin on and take a core from the next session; sessions alternate here.
        extra: { session: { force_spinning_stop: '1', 'intra_op.spin_duration_us': SPIN_MICROSECONDS } },
        ...(options.externalData && { externalData: options.externalData.map(({ path, data }) => ({ path, data })) }),
      }),
  };
}
