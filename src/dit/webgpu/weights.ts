// Weights on the GPU: read from the file in pieces, stored as f32 or f16, and shared by the Programs of a model.
import type { GpuDevice, GpuTensor } from '../../backend/webgpu/device.ts';
import { gridOf } from '../../sparse3d/gpu-memory.ts';
import { elements } from '../../tensor.ts';
import type { Piece, Weights } from '../weights.ts';
import { mapLaunch } from './map.ts';
import { builder, enableFor, type ProgramKernels } from './steps.ts';
import { sliced } from './view.ts';

/** A weight that is wanted. */
export interface Wanted {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: 'f32' | 'f16';
}

/** Weights of one Program on a GPU. */
export interface LoadedWeights {
  get(name: string): GpuTensor;
  /** Frees those that no other Program uses. */
  release(): Promise<void>;
}

interface Shared {
  readonly tensor: Promise<GpuTensor>;
  users: number;
}

// By device, then by file; keys are names and types.
const stores = new WeakMap<GpuDevice, WeakMap<Weights, Map<string, Shared>>>();

function storeOf(device: GpuDevice, weights: Weights): Map<string, Shared> {
  const files = stores.get(device) ?? new WeakMap<Weights, Map<string, Shared>>();
  stores.set(device, files);
  const store = files.get(weights) ?? new Map<string, Shared>();
  files.set(weights, store);
  return store;
}

/** Bytes that are copied at once. */
const PIECE_BYTES = 2 ** 24;
/** Bytes of pieces that may wait for the GPU before it is waited for. */
const AHEAD_BYTES = 2 ** 28;

/**
 * Brings weights to the GPU; what another Program has there already is shared.
 * @throws UnsupportedError when one is larger than the GPU can bind; Error when one is missing or the GPU has no room.
 */
export async function loadWeights(
  wanted: readonly Wanted[],
  weights: Weights,
  device: GpuDevice,
  kernels: ProgramKernels,
): Promise<LoadedWeights> {
  const store = storeOf(device, weights);
  const tensors = new Map<string, GpuTensor>();
  const used: string[] = [];
  const release = async () => {
    const unused = used.splice(0).filter((key) => --store.get(key)!.users === 0);
    const tensors = unused.map((key) => store.get(key)!.tensor);
    for (const key of unused) store.delete(key);
    for (const tensor of tensors) await tensor.then(device.release, () => undefined);
  };
  let ahead = 0;
  try {
    for (const one of wanted) {
      const key = `${one.name} ${one.dtype}`;
      if (!store.has(key)) {
        ahead += weights.get(one.name).bytes;
        store.set(key, { tensor: load(one, weights, device, kernels), users: 0 });
      }
      const shared = store.get(key)!;
      shared.users++;
      used.push(key);
      tensors.set(one.name, await shared.tensor);
      if (ahead > AHEAD_BYTES) await device.idle();
      if (ahead > AHEAD_BYTES) ahead = 0;
    }
    await device.idle();
    device.trim();
  } catch (error) {
    await release();
    throw error;
  }
  return { get: (name) => tensors.get(name)!, release };
}

/** One weight in a tensor of its own. What is stored as it is wanted is copied as it is, bf16 becomes what is wanted on the GPU, which also rounds the rest. */
async function load(wanted: Wanted, weights: Weights, device: GpuDevice, kernels: ProgramKernels): Promise<GpuTensor> {
  const { name, shape, dtype } = wanted;
  const stored = weights.get(name).dtype;
  const whole = device.tensor(shape, dtype);
  try {
    if (stored === 'BF16' || stored === dtype.toUpperCase())
      for await (const piece of storedPieces(name, weights)) await placeStored(piece, stored === 'BF16', whole, device, kernels);
    else for await (const piece of weights.pieces(name)) await place(piece, whole, device, kernels);
    return whole;
  } catch (error) {
    device.release(whole);
    throw error;
  }
}

/** Bytes of a tensor in a row, from byte `at` on, filled up with zeros to whole words: a GPU copies 4 bytes at a time. */
interface StoredPiece {
  readonly at: number;
  readonly bytes: number;
  readonly words: Int32Array<ArrayBuffer>;
}

async function* storedPieces(name: string, weights: Weights): AsyncGenerator<StoredPiece> {
  const { bytes: all } = weights.get(name);
  for (let at = 0; at < all; at += PIECE_BYTES) {
    const piece = await weights.bytes(name, at, Math.min(all, at + PIECE_BYTES));
    const words = new Int32Array(piece.length % 4 === 0 ? piece.buffer : padded(piece));
    yield { at, bytes: piece.length, words };
  }
}

function padded(bytes: Uint8Array): ArrayBuffer {
  const all = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  all.set(bytes);
  return all.buffer;
}

async function placeStored(
  { at, bytes, words }: StoredPiece,
  isBfloat: boolean,
  whole: GpuTensor,
  device: GpuDevice,
  kernels: ProgramKernels,
): Promise<void> {
  const kernel = kernels.dit.bfloat;
  const header = { enable: enableFor(whole.dtype), alias: { Number: whole.dtype } };
  if (isBfloat) await device.compile(kernel, header);
  const staged = device.upload(words, [words.length]);
  const [uniform, workgroups] = [Uint32Array.of(bytes / 2, at / 2), gridOf(bytes / 2)];
  if (isBfloat) device.dispatch({ kernel, header, tensors: [staged, whole], uniform, workgroups });
  else device.copy(staged, 0, whole, at, 4 * words.length);
  device.release(staged);
}

async function place({ at, numbers }: Piece, whole: GpuTensor, device: GpuDevice, kernels: ProgramKernels): Promise<void> {
  const copy = builder(kernels);
  const [from, to] = [copy.slot([numbers.length], 'f32', 'fixed'), copy.slot([elements(whole.shape)], whole.dtype, 'fixed')];
  const { slots: _, ...launch } = mapLaunch(copy, 'copy', [from], sliced(to, 0, at, at + numbers.length));
  await device.compile(launch.kernel, launch.header);
  const piece = device.upload(numbers, [numbers.length]);
  device.dispatch({ ...launch, tensors: [piece, piece, whole] });
  device.release(piece);
}
