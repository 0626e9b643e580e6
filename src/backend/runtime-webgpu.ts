// ONNX Runtime on a GPU device of ours: onnxruntime-web's WebGPU build. All its sessions live in one wasm module of one thread, where one call at a
// time may be under way.
import type * as ort from 'onnxruntime-common';
import { UnsupportedError } from '../errors.ts';
import { inNode } from '../in-node.ts';
import { elements } from '../tensor.ts';
import { OnnxGraph } from './onnx.ts';
import type { HeldResults, Runtime, SessionOptions } from './runtime.ts';
import { findGpu } from './webgpu/adapter.ts';
import type { GpuDevice, GpuTensor } from './webgpu/device.ts';

type Module = typeof ort;

let tail: Promise<unknown> = Promise.resolve();

/** Runs a call into the module once those before it have ended. */
function alone<Result>(call: () => Result | Promise<Result>): Promise<Result> {
  const result = tail.then(call);
  tail = result.then(
    () => undefined,
    () => undefined,
  );
  return result;
}

/**
 * ONNX Runtime over a GPU device, which stays the caller's. Nothing of our graphs is computed elsewhere: one with an operation that has no GPU form
 * is refused. Graphs made elsewhere (`SessionOptions.places`) are not.
 * @throws UnsupportedError when the WebGPU build cannot be loaded.
 */
export async function webgpuRuntime(gpu: GpuDevice): Promise<Runtime> {
  const { module, first } = await alone(() => opened(gpu.device)).catch((cause: Error) => {
    throw new UnsupportedError(`onnxruntime-web cannot compute on this GPU (${cause.message.split('\n')[0]}); choose another runtime`);
  });
  const results = gpuResults(module, gpu);
  return {
    name: 'onnxruntime-webgpu',
    version: (module.env.versions as Record<string, string | undefined>).web ?? module.env.versions.common,
    threads: 1,
    Tensor: module.Tensor,
    floatsOnly: true,
    held: results,
    session: (model, options = {}) => session(module, gpu, results, model, options),
    dispose: () => alone(() => first.release()),
  };
}

const optionsOn = (device: GPUDevice, { once, places }: SessionOptions = {}): ort.InferenceSession.SessionOptions => ({
  executionProviders: [{ name: 'webgpu', device } as ort.InferenceSession.ExecutionProviderConfig],
  graphOptimizationLevel: 'all',
  // What goes wrong is thrown; ONNX Runtime would print it too.
  logSeverityLevel: 4,
  // A silent copy to the host and back at such a node would be slower than the rest of the graph.
  extra: {
    ...(!places && { session: { disable_cpu_ep_fallback: '1' } }),
    // Constants are folded by one thread of wasm: for large weights that takes far longer than the GPU does at each run.
    ...(once && { optimization: { disable_specified_optimizers: 'ConstantFolding' } }),
  },
});

async function session(
  module: Module,
  gpu: GpuDevice,
  results: GpuResults,
  model: Uint8Array,
  options: SessionOptions,
): Promise<ort.InferenceSession> {
  const { externalData, held, places } = options;
  const made = await alone(() =>
    module.InferenceSession.create(model, {
      ...optionsOn(gpu.device, options),
      ...(places && { preferredOutputLocation: places }),
      ...(held && { preferredOutputLocation: 'gpu-buffer' as const }),
      ...(externalData && { externalData: externalData.map(({ path, data }) => ({ path, data })) }),
    }),
  );
  const [run, release] = [made.run.bind(made), made.release.bind(made)];
  return Object.assign(made, {
    async run(feeds: ort.InferenceSession.FeedsType) {
      const fetches = held ? results.room(made.outputMetadata) : {};
      try {
        const given = await alone(() => {
          // A buffer lent here may be one that recorded work still uses.
          gpu.flush();
          return held ? run(feeds, fetches) : run(feeds);
        });
        if (held) return fetches;
        // What went wrong on the device, as no room for a buffer, is known to the device alone.
        await gpu.idle();
        return given;
      } catch (error) {
        for (const result of Object.values(fetches)) results.free(result);
        throw error;
      }
    },
    release: () => alone(release),
  });
}

interface GpuResults extends HeldResults {
  /** Room for each output of a session. */
  room(outputs: ort.InferenceSession['outputMetadata']): Record<string, ort.Tensor>;
}

/** Results in tensors of the device: its pool lends them, and ONNX Runtime's own memory is for what lives within a run. */
function gpuResults(module: Module, gpu: GpuDevice): GpuResults {
  const behind = new WeakMap<ort.Tensor, GpuTensor>();
  const make = (shape: readonly number[]): { result: ort.Tensor; tensor: GpuTensor } => {
    const tensor = gpu.tensor(shape, 'f32');
    const result = module.Tensor.fromGpuBuffer(tensor.lent.buffer, { dataType: 'float32', dims: shape });
    behind.set(result, tensor);
    return { result, tensor };
  };
  const free = (result: ort.Tensor): void => gpu.release(behind.get(result)!);
  return {
    free,
    room: (outputs) =>
      Object.fromEntries(outputs.map((output) => [output.name, make(output.isTensor ? (output.shape as number[]) : []).result])),
    async read(result, last) {
      const numbers = await gpu.read(behind.get(result)!);
      if (last) free(result);
      return numbers;
    },
    rows(result, start, end) {
      const rest = result.dims.slice(1);
      const rowBytes = 4 * elements(rest);
      const part = make([end - start, ...rest]);
      gpu.copy(behind.get(result)!, start * rowBytes, part.tensor, 0, (end - start) * rowBytes);
      return part.result;
    },
  };
}

let loading: Promise<Module> | undefined;

/** The module, and a first session on the device: what is missing shows here, and with it the module keeps what it knows of the device. */
async function opened(device: GPUDevice): Promise<{ module: Module; first: ort.InferenceSession }> {
  loading ??= load();
  const module = await loading;
  return { module, first: await withNavigator(() => module.InferenceSession.create(identity(), optionsOn(device))) };
}

async function load(): Promise<Module> {
  if (inNode && Number(process.versions.node.split('.')[0]) < 22) await helpNode20();
  const found = (await import('onnxruntime-web/webgpu')) as unknown as Module;
  found.env.logLevel = 'fatal';
  found.env.wasm.numThreads = 1;
  return found;
}

/** Node 20 optimises this module's wasm for half a minute in its first run, and Dawn does not take views of shared memory there. */
async function helpNode20(): Promise<void> {
  const v8 = await import('node:v8');
  v8.setFlagsFromString('--liftoff-only');
  const write = GPUQueue.prototype.writeBuffer;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, start = 0, size) {
    const isShared = ArrayBuffer.isView(data) && data.buffer instanceof SharedArrayBuffer;
    if (!isShared) return write.call(this, buffer, offset, data, start, size);
    const { BYTES_PER_ELEMENT: width = 1 } = data as Uint8Array;
    const from = data.byteOffset + start * width;
    const bytes = new Uint8Array(data.buffer, from, size === undefined ? data.byteLength - start * width : size * width).slice();
    return write.call(this, buffer, offset, bytes);
  };
}

/** The module's initialisation wants to see `navigator.gpu`, even where each session is given its device. */
async function withNavigator<Result>(body: () => Promise<Result>): Promise<Result> {
  if (typeof navigator !== 'undefined' && navigator.gpu) return body();
  const gpu = { value: await findGpu({}), configurable: true };
  const isAbsent = typeof navigator === 'undefined';
  if (isAbsent) Object.defineProperty(globalThis, 'navigator', { value: Object.defineProperty({}, 'gpu', gpu), configurable: true });
  else Object.defineProperty(navigator, 'gpu', gpu);
  try {
    return await body();
  } finally {
    if (isAbsent) Reflect.deleteProperty(globalThis, 'navigator');
    else Reflect.deleteProperty(navigator, 'gpu');
  }
}

function identity(): Uint8Array {
  const graph = new OnnxGraph();
  graph.output(graph.node('Identity', [graph.input('x', 'f32', [1])], {}, '', 'y'), 'f32', [1]);
  return graph.build();
}
