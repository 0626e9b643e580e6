// Reads ONNX files: the graph, and the numbers of its tensors, which may lie in other files beside it.
import { open, readFile, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { UnsupportedError } from '../errors.ts';
import { type ModelProto, modelType, type TensorProto } from './schema.ts';

/** A model as it was read. Bytes of tensors inside the file are views of it. */
export interface OnnxFile {
  readonly path: string;
  readonly model: ModelProto;
  /** The bytes of a tensor that lies in another file. */
  external(tensor: TensorProto): Promise<Uint8Array>;
}

/**
 * Reads a model; weights in other files are looked for, and read only when they are asked for.
 * @throws Error when a file is missing, too short or no ONNX model, with its name.
 */
export async function readOnnx(path: string): Promise<OnnxFile> {
  const bytes = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') throw new Error(`there is no ONNX file ${path}; check the path`);
    if (cause.code === 'EISDIR') throw new Error(`${path} is a folder; give the ONNX file in it`);
    throw new Error(
      `${path} cannot be read (${cause.message}); an ONNX file is smaller than 2 GiB, with larger weights in files beside it`,
    );
  });
  const model = decode(path, bytes);
  const folder = dirname(path);
  const sizes = new Map<string, number>();
  for (const tensor of model.graph.initializer) if (isExternal(tensor)) await check(path, folder, tensor, sizes);
  return { path, model, external: (tensor) => read(path, folder, tensor) };
}

export const isExternal = (tensor: TensorProto): boolean => tensor.dataLocation === 1;

function decode(path: string, bytes: Uint8Array): ModelProto {
  let model: ModelProto;
  try {
    model = modelType.decode(bytes) as unknown as ModelProto;
  } catch (cause) {
    throw new Error(`${path} is damaged or no ONNX model (${(cause as Error).message}); export or copy it again`);
  }
  if (!model.graph || model.graph.node.length === 0 || model.opsetImport.length === 0)
    throw new Error(`${path} is damaged or no ONNX model (it has no graph); export or copy it again`);
  const [sparse] = model.graph.sparseInitializer ?? [];
  if (sparse)
    throw new UnsupportedError(`${path} keeps ${sparse.values.name} as a sparse tensor, which is not read; export it as a dense one`);
  return model;
}

interface Place {
  readonly file: string;
  readonly offset: number;
  readonly length: number | undefined;
}

function placeOf(path: string, folder: string, tensor: TensorProto): Place {
  const entries = Object.fromEntries((tensor.externalData ?? []).map(({ key, value }) => [key, value]));
  const location = normalize(entries.location ?? '');
  if (!entries.location || isAbsolute(location) || location.startsWith('..'))
    throw new UnsupportedError(
      `${path} keeps ${tensor.name} in ${JSON.stringify(entries.location ?? '')}, which is not a file in its folder; export it with weights beside it`,
    );
  return {
    file: join(folder, location),
    offset: Number(entries.offset ?? 0),
    length: entries.length === undefined ? undefined : Number(entries.length),
  };
}

async function check(path: string, folder: string, tensor: TensorProto, sizes: Map<string, number>): Promise<void> {
  const { file, offset, length = 0 } = placeOf(path, folder, tensor);
  const size =
    sizes.get(file) ??
    (await stat(file)
      .then((found) => found.size)
      .catch(() => undefined));
  if (size === undefined) throw new Error(`${path} keeps ${tensor.name} in ${file}, which is not there; copy it next to the model`);
  sizes.set(file, size);
  if (offset + length > size)
    throw new Error(`${file} has ${size} bytes, but ${tensor.name} of ${path} ends at ${offset + length}; copy it again`);
}

async function read(path: string, folder: string, tensor: TensorProto): Promise<Uint8Array> {
  const { file, offset, length } = placeOf(path, folder, tensor);
  const handle = await open(file);
  try {
    const bytes = new Uint8Array(length ?? (await handle.stat()).size - offset);
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(bytes.length - at, 2 ** 30), offset + at);
      if (bytesRead === 0) throw new Error(`${file} ends before ${tensor.name} of ${path}; copy it again`);
      at += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}
