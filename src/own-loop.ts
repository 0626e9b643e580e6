// A method for a denoising loop of one's own: a function of q, k and v, as plain numbers, buffers of a GPU, or handles of a backend, with the
// step and the layer said at each call.
import { type BoundAttention, createAttention } from './attention.ts';
import type { Backend } from './backend/backend.ts';
import { openCpu } from './backend/cpu.ts';
import { cpuBackend } from './backend/cpu-backend.ts';
import type { RuntimeChoice } from './backend/runtime.ts';
import { webgpuBackend } from './backend/webgpu/backend.ts';
import type { GpuDevice, GpuTensor } from './backend/webgpu/device.ts';
import { checkBackend, checkedGrid, checkMethod, checkObject, checkOptions, type GridSizes, shown } from './checks.ts';
import type { Method } from './method.ts';
import { type Grid, tokensOf } from './sparse3d/plan.ts';
import { type AttentionStatistics, callLog } from './statistics.ts';
import type { Tensor } from './tensor.ts';

/** The model and the loop that attention is for. */
export interface OwnLoopOptions {
  /** The video in tokens; q, k and v have them in raster order, text last. */
  readonly grid: GridSizes;
  /** Self-attention layers of the model; schedules are shares of these and of the steps. */
  readonly layers: number;
  /** Denoising steps of a run. */
  readonly steps: number;
  /** Heads of q, k and v; handles say it themselves. */
  readonly heads?: number;
  /** What buffers of a GPU hold (default f32). */
  readonly dtype?: 'f32' | 'f16';
  /** The device whose buffers are given; without it, plain numbers are computed on the CPU. */
  readonly device?: GpuDevice;
  /** The backend whose handles are given; it stays the caller's. */
  readonly ops?: Backend;
  /** Which ONNX Runtime the CPU takes; see `loadRuntime`. */
  readonly runtime?: RuntimeChoice;
}

/** Where a call stands: step and layer from 0, and the guidance branch (0, the default, conditional; 1 unconditional). */
export interface Place {
  /** Denoising step, from 0. */
  readonly step: number;
  /** Self-attention layer, from 0. */
  readonly layer: number;
  /** Guidance branch: 0 conditional (default), 1 unconditional. */
  readonly branch?: number;
}

/** One attention call. A step before the last one, or one that its layer and branch had already, begins a new run. */
export interface Attend {
  /** Numbers [heads, tokens, dim], on the CPU or the device, to as many. */
  (q: Float32Array, k: Float32Array, v: Float32Array, place: Place): Promise<Float32Array>;
  /**
   * Buffers [heads, tokens, dim] of the device, usable as STORAGE; the result is copied into `out`, usable as COPY_DST. Nothing is read: when the
   * promise is kept the work is submitted, before whatever is submitted afterwards.
   */
  (q: GPUBuffer, k: GPUBuffer, v: GPUBuffer, place: Place & { readonly out: GPUBuffer }): Promise<GPUBuffer>;
  /** Handles [heads, tokens, dim] of `ops`, to a handle that is the caller's to release. */
  (q: Tensor, k: Tensor, v: Tensor, place: Place): Tensor;
}

/** Attention of one's own loop. */
export interface OwnLoop extends Attend {
  /** What the calls of this run did. */
  statistics(): Promise<AttentionStatistics>;
  /** Forgets plans and begins a new run. */
  reset(): void;
  /** Frees what was opened; the device and the backend that were given stay open. */
  dispose(): Promise<void>;
}

/**
 * Makes a method a function for a loop of one's own: `attend(q, k, v, { step, layer, branch })`.
 * @throws TypeError for what is no method, and for options that are missing, unknown or of another kind; RangeError for sizes that are no whole numbers
 * above 0. A call throws the same for a step or layer that there is not, and for q, k, v that do not fit.
 */
export function attention(method: Method, options: OwnLoopOptions): OwnLoop {
  checkMethod(method);
  const sizes = checked(options);
  const begin = () => callLog(method.name, method.measure);
  let log = begin();
  const onEnd = () => {
    log = begin();
  };
  const bind = (ops: Backend): BoundAttention => createAttention(ops, method, { onCall: (call) => log.note(call), onEnd });
  const opened = sizes.ops ? undefined : once(() => open(sizes, bind));
  const handles = sizes.ops && bind(sizes.ops);
  const attendHandles = (bound: BoundAttention, q: Tensor, k: Tensor, v: Tensor, place: Place): Tensor => {
    const { grid, layers, steps } = sizes;
    return bound.attention(q, k, v, { grid, layers, steps, step: place.step, layer: place.layer, branches: [place.branch ?? 0] });
  };
  const attend = (q: Given, k: Given, v: Given, place: Place & { readonly out?: GPUBuffer }) => {
    checkPlace(sizes, place);
    if (handles) return attendHandles(handles, handle(q), handle(k), handle(v), place);
    return onDevice(sizes, opened!, [q, k, v], place, attendHandles);
  };
  return Object.assign(attend as unknown as Attend, {
    statistics: () => log.statistics(),
    reset() {
      handles?.reset();
      opened?.made?.then(({ bound }) => bound.reset()).catch(() => undefined);
      onEnd();
    },
    async dispose() {
      handles?.reset();
      // Who called it knows why nothing could be opened.
      await (await opened?.made?.catch(() => undefined))?.dispose();
    },
  });
}

type Given = Float32Array | GPUBuffer | Tensor;

/** With all of the grid. */
type CheckedOptions = OwnLoopOptions & { readonly grid: Grid };

interface Opened {
  readonly ops: Backend;
  readonly bound: BoundAttention;
  dispose(): Promise<void>;
}

/** What is made when it is first asked for. */
function once<T>(make: () => Promise<T>) {
  const self = { made: undefined as Promise<T> | undefined, get: () => (self.made ??= make()) };
  return self;
}

async function open({ device, runtime }: OwnLoopOptions, bind: (ops: Backend) => BoundAttention): Promise<Opened> {
  if (device) {
    const ops = await webgpuBackend(device);
    const bound = bind(ops);
    return { ops, bound, dispose: async () => bound.reset() };
  }
  const cpu = await openCpu(runtime);
  const ops = cpuBackend(cpu);
  return { ops, bound: bind(ops), dispose: () => cpu.dispose() };
}

type AttendHandles = (bound: BoundAttention, q: Tensor, k: Tensor, v: Tensor, place: Place) => Tensor;

/** Numbers to numbers, or buffers to a buffer. */
async function onDevice(
  options: CheckedOptions,
  opened: { get(): Promise<Opened> },
  given: readonly Given[],
  place: Place & { readonly out?: GPUBuffer },
  attend: AttendHandles,
): Promise<Float32Array | GPUBuffer> {
  const { device } = options;
  if (given.every((one) => one instanceof Float32Array)) {
    const shape = shapeOf(
      options,
      given.map((one) => one.length),
    );
    const { ops, bound } = await opened.get();
    const held = given.map((one) => ops.upload(one, shape));
    try {
      const [q, k, v] = held;
      held.push(attend(bound, q, k, v, place));
      return (await ops.read(held[3])) as Float32Array;
    } finally {
      for (const x of held) ops.release(x);
    }
  }
  if (!device || !place.out || given.some((one) => one instanceof Float32Array || typeof (one as GPUBuffer | undefined)?.size !== 'number'))
    throw new TypeError('q, k and v are neither three Float32Arrays nor three GPUBuffers with `device` and `out`; give handles with `ops`');
  const { dtype = 'f32' } = options;
  const buffers = [...(given as GPUBuffer[]), place.out];
  const shape = shapeOf(
    options,
    buffers.map(({ size }) => size / (dtype === 'f16' ? 2 : 4)),
  );
  const { ops, bound } = await opened.get();
  const [q, k, v, out] = buffers.map((buffer): GpuTensor => ({ shape, dtype, owner: device, lent: { buffer, bytes: buffer.size } }));
  ops.scope(() => device.copy(ops.cast(attend(bound, q, k, v, place), dtype) as GpuTensor, 0, out, 0, place.out!.size));
  device.flush();
  return place.out;
}

function handle(x: Given): Tensor {
  if (x instanceof Float32Array || !Array.isArray((x as Tensor | undefined)?.shape))
    throw new TypeError('q, k and v are no handles, but `ops` was given; upload them with it, or leave ops out');
  return x as Tensor;
}

/** [heads, tokens, dim] of q, k and v with so many numbers. */
function shapeOf({ grid, heads }: CheckedOptions, sizes: readonly number[]): readonly number[] {
  if (heads === undefined) throw new TypeError('the number of heads is missing, which plain numbers and buffers do not tell; give heads');
  const dim = sizes[0] / (heads * tokensOf(grid));
  if (!Number.isInteger(dim) || dim < 1 || sizes.some((size) => size !== sizes[0]))
    throw new RangeError(
      `q, k, v have ${sizes.slice(0, 3).join(', ')} numbers${sizes.length > 3 ? ` and out ${sizes[3]}` : ''}; give as many each, a multiple of ${heads} heads x ${tokensOf(grid)} tokens`,
    );
  return [heads, tokensOf(grid), dim];
}

const OPTIONS: readonly (keyof OwnLoopOptions)[] = ['grid', 'layers', 'steps', 'heads', 'dtype', 'device', 'ops', 'runtime'];

function checked(options: OwnLoopOptions): CheckedOptions {
  checkOptions('attention', options, ['grid', 'layers', 'steps', 'heads'], OPTIONS);
  const { layers, steps, heads = 1, dtype = 'f32', device, ops } = options;
  for (const [name, size] of Object.entries({ layers, steps, heads }))
    if (!Number.isInteger(size) || size < 1) throw new RangeError(`${name} is ${shown(size)}; give a whole number above 0`);
  if (dtype !== 'f32' && dtype !== 'f16') throw new TypeError(`dtype is ${shown(dtype)}; choose 'f32' or 'f16'`);
  if (device !== undefined) checkObject('device is', device, 'give one that is open, await openWebgpu()');
  if (ops !== undefined) checkBackend(ops);
  return { ...options, grid: checkedGrid(options.grid) };
}

function checkPlace({ layers, steps }: CheckedOptions, place: Place): void {
  checkObject('the place of a call is', place, 'give { step, layer }, and branch where guidance has two');
  const { step, layer, branch = 0 } = place;
  for (const [name, at, all] of [
    ['step', step, steps],
    ['layer', layer, layers],
  ] as const)
    if (!Number.isInteger(at) || at < 0 || at >= all)
      throw new RangeError(`${name} is ${shown(at)}; give a whole number from 0 to ${all - 1}`);
  if (!Number.isInteger(branch) || branch < 0)
    throw new RangeError(`branch is ${shown(branch)}; give 0 (conditional) or 1 (unconditional)`);
}
