// The weights of one model part by tensor name: from a safetensors file, a (sharded) diffusers or transformers folder, or memory.
// Opening reads headers only; a tensor is read when it is asked for.
import { UnsupportedError } from '../errors.ts';
import { folderOf, join, kindOf, namesIn, type OpenFile, openFile } from '../files.ts';
import { readJson } from './config.ts';
import { bytesPerElement, checkData, readExactly, readHeader, type StoredTensor, type TensorData } from './safetensors.ts';
import { widen } from './widen.ts';

export { type StoredTensor, type StoredType, type TensorData, writeSafetensors } from './safetensors.ts';

/** Some of a tensor's numbers in a row. */
export interface Piece {
  readonly at: number;
  readonly numbers: Float32Array<ArrayBuffer>;
}

/** Tensors by name. `close` frees the file handles; reading after it throws. */
export interface Weights {
  /** The folder or file they come from, for messages. */
  readonly source: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  has(name: string): boolean;
  /** The entry of a tensor. Throws when it is missing (naming the nearest names), or, with `shape` given, of another shape. */
  get(name: string, shape?: readonly number[]): StoredTensor;
  /** The stored bytes [start, end) of a tensor, by default all, in a buffer of their own (offset 0). */
  bytes(name: string, start?: number, end?: number): Promise<Uint8Array<ArrayBuffer>>;
  /** A tensor as float32: F32, F64 (rounded), BF16 and F16 (exact). Throws an UnsupportedError for other stored types. */
  floats(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** The numbers of `floats` one piece after the other, each with the index of its first, so that a large tensor is never held whole. */
  pieces(name: string): AsyncIterable<Piece>;
  /** Rows `ids` of a [rows, width] tensor as float32 [ids.length, width], read by offset. Throws a RangeError for an id outside the table. */
  rows(name: string, ids: ArrayLike<number>): Promise<Float32Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** Reads `length` bytes of a tensor from byte `start` of it. */
type ReadTensor = (tensor: StoredTensor, start: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * Opens a `.safetensors` file, or a model part's folder that holds one (whatever its name or variant) or a sharded one with its index.
 * Throws one sentence for a path, folder, index or header that does not hold together.
 */
export async function openWeights(path: string): Promise<Weights> {
  const found = await kindOf(path);
  if (!found) throw new Error(`No weights at "${path}": there is no such file or folder.`);
  const file = found === 'folder' ? join(path, chooseFile(path, await namesIn(path, PLAIN))) : path;
  if (isIndex(file)) return openSharded(path, file);
  if (!file.endsWith('.safetensors')) throw new UnsupportedError(`${file} is not a .safetensors file; convert the weights to safetensors.`);
  const { opened, tensors } = await openTensors(file);
  return weightsOver(path, tensors, ...fileReader(new Map([[file, opened]])));
}

/** Weights held in memory, for tests and for models with random weights. Throws for data that does not fit its type and shape. */
export function memoryWeights(tensors: Readonly<Record<string, TensorData>>): Weights {
  const file = 'memory';
  const entries = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    checkData(name, dtype, shape, data);
    entries.set(name, { name, dtype, shape, bytes: data.byteLength, file, offset: 0 });
  }
  const read: ReadTensor = async ({ name }, start, length) => {
    const { data } = tensors[name];
    return new Uint8Array(data.buffer, data.byteOffset + start, length).slice();
  };
  return weightsOver(file, entries, read, async () => {});
}

const isIndex = (file: string): boolean => /\.safetensors\.index(\.[\w-]+)?\.json$/.test(file);

const STEMS = ['diffusion_pytorch_model.safetensors', 'model.safetensors'];
/** Names of weight files as diffusers and transformers write them. */
const PLAIN = [...STEMS, ...STEMS.map((stem) => `${stem}.index.json`)];

/** The file of a folder to read: the plain names first, then the only index or file there is (a variant, a decoder with its own name). */
function chooseFile(folder: string, names: readonly string[]): string {
  const plain = PLAIN.find((name) => names.includes(name));
  if (plain) return plain;
  const shard = /-\d+-of-\d+(\.[\w-]+)?\.safetensors$/;
  const candidates = names.filter((name) => isIndex(name) || (name.endsWith('.safetensors') && !shard.test(name)));
  if (candidates.length === 1) return candidates[0];
  if (candidates.length > 1)
    throw new Error(`${folder} holds several weight files (${candidates.join(', ')}): give the path of one of them.`);
  if (names.some((name) => shard.test(name))) throw new Error(`${folder} holds weight shards, but not their *.safetensors.index.json.`);
  const other = names.find((name) => /\.(bin|pt|pth|ckpt|gguf)$/.test(name));
  if (other) throw new UnsupportedError(`${folder} holds ${other}, but no .safetensors file; convert the weights to safetensors.`);
  throw new Error(`${folder} holds no .safetensors file.`);
}

async function openTensors(file: string): Promise<{ opened: OpenFile; tensors: Map<string, StoredTensor> }> {
  const opened = await openFile(file).catch((error: Error) => {
    throw new Error(`Cannot open ${file}: ${error.message}`);
  });
  if (!opened) throw new Error(`${file} is missing; download it again.`);
  try {
    return { opened, tensors: await readHeader(opened, file) };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openSharded(source: string, index: string): Promise<Weights> {
  const { weight_map: map } = await readJson(index);
  if (map === null || typeof map !== 'object' || Array.isArray(map)) throw new Error(`${index} has no weight_map object.`);
  const folder = folderOf(index);
  const tensors = new Map<string, StoredTensor>();
  const shards = new Map<string, Awaited<ReturnType<typeof openTensors>>>();
  try {
    for (const [name, shard] of Object.entries(map)) {
      // A shard lies beside its index; a path would let an index read any file of the machine.
      if (typeof shard !== 'string' || /[\\/]/.test(shard) || !shard.endsWith('.safetensors')) {
        throw new Error(
          `${index} puts tensor "${name}" in ${JSON.stringify(shard)}, which is not the name of a .safetensors file beside it.`,
        );
      }
      const known = shards.get(shard) ?? (await openTensors(join(folder, shard)));
      shards.set(shard, known);
      const tensor = known.tensors.get(name);
      if (!tensor) throw new Error(`${index} puts tensor "${name}" in ${shard}, which does not hold it.`);
      tensors.set(name, tensor);
    }
  } catch (error) {
    await Promise.all([...shards.values()].map(({ opened }) => opened.close()));
    throw error;
  }
  return weightsOver(source, tensors, ...fileReader(new Map([...shards].map(([shard, { opened }]) => [join(folder, shard), opened]))));
}

function fileReader(files: Map<string, OpenFile>): [ReadTensor, () => Promise<void>] {
  const read: ReadTensor = async ({ name, file, offset }, start, length) => {
    const opened = files.get(file);
    if (!opened) throw new Error(`Cannot read tensor "${name}": the weights of ${file} were closed.`);
    return readExactly(opened, offset + start, length, file);
  };
  const close = async () => {
    const open = [...files.values()];
    files.clear();
    await Promise.all(open.map((file) => file.close()));
  };
  return [read, close];
}

function weightsOver(source: string, tensors: ReadonlyMap<string, StoredTensor>, read: ReadTensor, close: () => Promise<void>): Weights {
  const get = (name: string, shape?: readonly number[]): StoredTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`${source} has no tensor "${name}"${nearest(name, tensors.keys())}.`);
    if (shape && (shape.length !== tensor.shape.length || shape.some((size, axis) => size !== tensor.shape[axis]))) {
      throw new Error(`${source}: tensor "${name}" has shape [${tensor.shape}], and [${shape}] was expected.`);
    }
    return tensor;
  };
  return {
    source,
    tensors,
    has: (name) => tensors.has(name),
    get,
    bytes: async (name, start = 0, end = get(name).bytes) => read(get(name), start, end - start),
    floats: async (name) => readFloats(get(name), read),
    pieces: (name) => readPieces(get(name), read),
    rows: async (name, ids) => readRows(get(name), ids, read),
    close,
  };
}

const PIECE_BYTES = 1 << 24;

async function* readPieces(tensor: StoredTensor, read: ReadTensor): AsyncGenerator<Piece> {
  const width = bytesPerElement(tensor.dtype);
  for (let start = 0; start < tensor.bytes; start += PIECE_BYTES) {
    const piece = await read(tensor, start, Math.min(PIECE_BYTES, tensor.bytes - start));
    const numbers = new Float32Array(piece.length / width);
    widen(tensor.dtype, piece, numbers, 0, `${tensor.file}: tensor "${tensor.name}"`);
    yield { at: start / width, numbers };
  }
}

/** Widens piece by piece, so that a large half-precision tensor is never held twice. */
async function readFloats(tensor: StoredTensor, read: ReadTensor): Promise<Float32Array<ArrayBuffer>> {
  const out = new Float32Array(tensor.bytes / bytesPerElement(tensor.dtype));
  for await (const { at, numbers } of readPieces(tensor, read)) out.set(numbers, at);
  return out;
}

async function readRows(tensor: StoredTensor, ids: ArrayLike<number>, read: ReadTensor): Promise<Float32Array<ArrayBuffer>> {
  const what = `${tensor.file}: tensor "${tensor.name}"`;
  if (tensor.shape.length !== 2) throw new RangeError(`${what} has shape [${tensor.shape}]; rows are taken from two dimensions.`);
  const [rows, width] = tensor.shape;
  const rowBytes = width * bytesPerElement(tensor.dtype);
  const out = new Float32Array(ids.length * width);
  const first = new Map<number, number>();
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (!Number.isInteger(id) || id < 0 || id >= rows) throw new RangeError(`${what} has ${rows} rows; there is no row ${id}.`);
    const known = first.get(id);
    if (known !== undefined) out.copyWithin(i * width, known * width, (known + 1) * width);
    else widen(tensor.dtype, await read(tensor, id * rowBytes, rowBytes), out, i * width, what);
    if (known === undefined) first.set(id, i);
  }
  return out;
}

/** The three names that share most of their beginning and end with `name`, as the end of a sentence. */
function nearest(name: string, names: Iterable<string>): string {
  const scored = [...names].map((other) => {
    const limit = Math.min(name.length, other.length);
    let front = 0;
    while (front < limit && name[front] === other[front]) front++;
    let back = 0;
    while (back < limit - front && name.at(-1 - back) === other.at(-1 - back)) back++;
    return { other, score: front + back };
  });
  const best = scored.sort((a, b) => b.score - a.score).slice(0, 3);
  return best.length ? `; the nearest names are ${best.map(({ other }) => other).join(', ')}` : '; it holds none';
}
