// The safetensors file format: a checked header reader, a writer, and widening of stored numbers to float32.
// Every number of a header is held against the file's size before anything is allocated by it.
import { UnsupportedError } from '../errors.ts';
import type { OpenFile } from '../files.ts';

/** Bytes of one element of each stored type this reader knows. */
const elementBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;

/** A stored element type, spelt as in the safetensors header. */
export type StoredType = keyof typeof elementBytes;

/** Where one tensor lies: `offset` is absolute in `file`, `bytes` is its length. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly file: string;
  readonly offset: number;
}

/** A tensor held in memory, as it is to be stored: `data` is the little-endian bytes of `dtype` (bf16 and f16 as Uint16Array). */
export interface TensorData {
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/** Longest header accepted, in bytes: the limit of the format. */
const maximumHeaderBytes = 100_000_000;

/** Bytes of one element of a stored type. */
export const bytesPerElement = (dtype: StoredType): number => elementBytes[dtype];

const isCount = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 80);

/** Number of elements of a shape. Throws a RangeError when a dimension is no count or the product passes 2^53 - 1. */
function elementCount(shape: readonly unknown[], what: string): number {
  let count = 1;
  for (const size of shape) {
    if (!isCount(size)) throw new RangeError(`${what}: shape ${shown(shape)} has a dimension that is not a whole number >= 0.`);
    count *= size;
    if (!Number.isSafeInteger(count)) throw new RangeError(`${what}: shape ${shown(shape)} has more elements than can be counted.`);
  }
  return count;
}

/** Byte length of a tensor of this type and shape. Throws like `elementCount`, and an UnsupportedError for an unknown type. */
export function byteLength(dtype: unknown, shape: readonly unknown[], what: string): number {
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype)) {
    throw new UnsupportedError(
      `${what}: stored type ${shown(dtype)} is not supported; convert it to one of ${Object.keys(elementBytes).join(', ')}.`,
    );
  }
  const bytes = elementCount(shape, what) * elementBytes[dtype as StoredType];
  if (!Number.isSafeInteger(bytes)) throw new RangeError(`${what}: shape ${shown(shape)} of ${dtype} has more bytes than can be counted.`);
  return bytes;
}

/** Reads `length` bytes from `position`, in a buffer of their own. Throws when the file ends before that. */
export async function readExactly(file: OpenFile, position: number, length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
  const found = await file.read(position, length);
  if (found.length < length)
    throw new Error(`${what} ended early: ${length} bytes wanted at byte ${position}, ${found.length} found; was the file changed?`);
  return found;
}

/**
 * Reads and checks the header of an open safetensors file; returns its tensors by name.
 * Throws an Error naming the file, the tensor and the value for anything that does not hold together.
 */
export async function readHeader(opened: OpenFile, file: string): Promise<Map<string, StoredTensor>> {
  const { bytes: size } = opened;
  if (size < 8) throw new Error(`${file} is not a safetensors file: it has ${size} bytes, and the header's length alone takes 8.`);
  const head = await readExactly(opened, 0, 8, file);
  const stated = new DataView(head.buffer).getBigUint64(0, true);
  if (stated > BigInt(maximumHeaderBytes)) {
    throw new Error(
      `${file} is not a safetensors file: it states a header of ${stated} bytes, and at most ${maximumHeaderBytes} are allowed.`,
    );
  }
  const headerBytes = Number(stated);
  if (headerBytes > size - 8)
    throw new Error(`${file} is truncated: it states a header of ${headerBytes} bytes, and ${size - 8} bytes follow; download it again.`);
  const text = await readExactly(opened, 8, headerBytes, file);
  return parseHeader(text, file, 8 + headerBytes, size - 8 - headerBytes);
}

function parseHeader(text: Uint8Array, file: string, dataStart: number, dataBytes: number): Map<string, StoredTensor> {
  let header: unknown;
  let keys: readonly string[];
  try {
    const json = new TextDecoder('utf-8', { fatal: true }).decode(text);
    const found = scan(json);
    // Deep nesting would cost the parser all memory.
    if (found.depth > formatDepth) throw new Error('it nests deeper than the format does');
    keys = found.keys;
    header = JSON.parse(json);
  } catch (error) {
    throw new Error(`${file} has a header that is not the JSON of this format: ${(error as Error).message}`);
  }
  if (header === null || typeof header !== 'object' || Array.isArray(header)) {
    throw new Error(`${file} has a header that is not a JSON object: ${shown(header)}`);
  }
  const seen = new Set<string>();
  for (const key of keys) {
    // JSON.parse keeps the last of two equal keys, silently. Names have no escapes as a rule; one that does is compared decoded.
    const name = key.includes('\\') ? JSON.stringify(JSON.parse(key)) : key;
    if (seen.has(name)) throw new Error(`${file} names tensor ${name} twice in its header.`);
    seen.add(name);
  }
  const tensors = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => checkEntry(name, entry, file, dataStart, dataBytes));
  checkCover(tensors, file, dataStart, dataBytes);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

function checkEntry(name: string, entry: unknown, file: string, dataStart: number, dataBytes: number): StoredTensor {
  const what = `${file}, tensor "${name}"`;
  if (entry === null || typeof entry !== 'object') throw new Error(`${what}: its header entry is ${shown(entry)}, not an object.`);
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (!Array.isArray(shape)) throw new Error(`${what}: shape is ${shown(shape)}, not a list.`);
  const bytes = byteLength(dtype, shape, what);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1]) {
    throw new Error(`${what}: data_offsets is ${shown(offsets)}, not a [begin, end] pair.`);
  }
  const [begin, end] = offsets as [number, number];
  if (end - begin !== bytes)
    throw new Error(`${what}: ${dtype} ${shown(shape)} takes ${bytes} bytes, and data_offsets ${shown(offsets)} hold ${end - begin}.`);
  if (end > dataBytes)
    throw new Error(
      `${what}: it ends at byte ${end} of the data, and the file holds ${dataBytes}; it is truncated or damaged, so download it again.`,
    );
  return { name, dtype: dtype as StoredType, shape: shape as number[], bytes, file, offset: dataStart + begin };
}

/** The format leaves no byte of the data unnamed and none named twice. */
function checkCover(tensors: readonly StoredTensor[], file: string, dataStart: number, dataBytes: number): void {
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let at = dataStart;
  let before = 'the header';
  for (const { name, offset, bytes } of sorted) {
    if (offset < at) throw new Error(`${file}: tensor "${name}" begins at byte ${offset - dataStart} of the data, inside ${before}.`);
    if (offset > at) throw new Error(`${file}: ${offset - at} bytes between ${before} and tensor "${name}" belong to no tensor.`);
    at = offset + bytes;
    before = `tensor "${name}"`;
  }
  const rest = dataStart + dataBytes - at;
  if (rest > 0) throw new Error(`${file}: ${rest} bytes after ${before} belong to no tensor.`);
}

/** Depth of the format: the header, a tensor, its shape. */
const formatDepth = 3;

/** The strings of a header's outer object, still quoted (all keys, where it holds what it should), and its depth; it stops where that is too deep. */
function scan(json: string): { readonly keys: readonly string[]; readonly depth: number } {
  const keys: string[] = [];
  let depth = 0;
  for (let at = 0; at < json.length && depth <= formatDepth; at++) {
    const character = json[at];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const end = stringEnd(json, at);
      if (depth === 1) keys.push(json.slice(at, end + 1));
      at = end;
    }
  }
  return { keys, depth };
}

/** Index of the quote that closes the string opened at `start`, or the end of the text. */
function stringEnd(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at++) {
    if (json[at] === '\\') at++;
    else if (json[at] === '"') return at;
  }
  return json.length;
}

/** Writes one safetensors file. Wider types come first, so that every tensor is aligned to its element. Throws for data that does not fit its shape. */
export async function writeSafetensors(path: string, tensors: Readonly<Record<string, TensorData>>): Promise<void> {
  const order = Object.entries(tensors).sort(([a, x], [b, y]) => elementBytes[y.dtype] - elementBytes[x.dtype] || (a < b ? -1 : 1));
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, { dtype, shape, data }] of order) {
    checkData(name, dtype, shape, data);
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  const { open } = await import('node:fs/promises'); // not before: web pages read this format too
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(head);
    for (const [, { data }] of order) await handle.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  } finally {
    await handle.close();
  }
}

/** Throws when `data` does not have the bytes that its type and shape ask for. */
export function checkData(name: string, dtype: StoredType, shape: readonly number[], data: ArrayBufferView): void {
  const wanted = byteLength(dtype, shape, `tensor "${name}"`);
  if (data.byteLength !== wanted) {
    throw new RangeError(`tensor "${name}": ${dtype} ${shown(shape)} takes ${wanted} bytes, and its data has ${data.byteLength}.`);
  }
}
