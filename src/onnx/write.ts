// Writes a segment of a graph as a model of its own. Weights are handed over beside it: those in other files are read for the session alone, and
// no file is written.
import { ONNX_TYPE } from '../backend/onnx.ts';
import type { ExternalBytes } from '../backend/runtime.ts';
import { intOf } from './attributes.ts';
import { isExternal, type OnnxFile } from './file.ts';
import { type Graph, readsOf } from './graph.ts';
import { modelType, type NodeProto, type TensorProto, type ValueInfoProto } from './schema.ts';
import type { Segment } from './segments.ts';

/** What is known of a value that enters a segment. */
export interface Entry {
  readonly type: number;
  /** Sizes; -1 stays open. Undefined when even the rank is not known. */
  readonly shape?: readonly number[];
}

/** Smaller tensors stay in the model, where shapes can be read from them. */
const INLINE_BYTES = 1024;

export interface WrittenModel {
  readonly model: Uint8Array;
  readonly externalData: readonly ExternalBytes[];
}

export async function writeSegment(
  file: OnnxFile,
  graph: Graph,
  segment: Segment,
  entries: ReadonlyMap<string, Entry>,
): Promise<WrittenModel> {
  const externalData: ExternalBytes[] = [];
  const initializer: TensorProto[] = [];
  const reads = new Set([...segment.nodes.flatMap(readsOf), ...segment.outputs]);
  for (const value of reads) {
    const tensor = graph.initializers.get(value);
    if (tensor) initializer.push(await placed(file, tensor, externalData));
  }
  const proto = {
    irVersion: file.model.irVersion,
    producerName: 'zoetrope',
    opsetImport: file.model.opsetImport,
    functions: file.model.functions ?? [],
    graph: {
      name: file.model.graph.name || 'segment',
      node: withoutCasts(graph, segment),
      initializer,
      input: segment.inputs.map((name) => info(name, entries.get(name))),
      output: segment.outputs.map((name) => ({ name })),
    },
  };
  return { model: modelType.encode(proto).finish(), externalData };
}

/**
 * The nodes less casts to the type that a value has, as exporters write them around norms: ONNX Runtime 1.30 refuses some graphs with them. Those
 * whose result is read elsewhere, or inside a body, stay.
 */
function withoutCasts(graph: Graph, { nodes, outputs }: Segment): readonly NodeProto[] {
  const kept = new Set([...outputs, ...nodes.flatMap((node) => readsOf(node).slice(node.input.filter(Boolean).length))]);
  const behind = new Map<string, string>();
  return nodes.flatMap((node) => {
    const [value] = node.input;
    const input = node.input.map((name) => behind.get(name) ?? name);
    const isIdle = node.opType === 'Cast' && !node.domain && intOf(node, 'to', 0) === graph.type(value) && !kept.has(node.output[0]);
    if (!isIdle) return [{ ...node, input }];
    behind.set(node.output[0], input[0]);
    return [];
  });
}

async function placed(file: OnnxFile, tensor: TensorProto, externalData: ExternalBytes[]): Promise<TensorProto> {
  const raw = isExternal(tensor) ? await file.external(tensor) : tensor.rawData;
  if (!raw?.length) return tensor;
  const { name, dims, dataType } = tensor;
  if (raw.length <= INLINE_BYTES) return { name, dims, dataType, rawData: raw };
  const path = `w${externalData.length}`;
  externalData.push({ path, data: raw });
  const where = { location: path, offset: 0, length: raw.length };
  return {
    name,
    dims,
    dataType,
    dataLocation: 1,
    externalData: Object.entries(where).map(([key, value]) => ({ key, value: String(value) })),
  };
}

function info(name: string, entry: Entry | undefined): ValueInfoProto {
  const shape = entry?.shape && { dim: entry.shape.map((size) => (size >= 0 ? { dimValue: size } : {})) };
  return { name, type: { tensorType: { elemType: entry?.type ?? ONNX_TYPE.f32, ...(shape && { shape }) } } };
}

const TYPES: Readonly<Record<string, number>> = {
  ...{ float32: 1, uint8: 2, int8: 3, uint16: 4, int16: 5, int32: 6, int64: 7, string: 8, bool: 9, float16: 10, float64: 11 },
  ...{ uint32: 12, uint64: 13 },
};

/** What a session says of a result. A rank of zero may mean that the rank is not known; wasm says -1 as the largest number of 32 bits. */
export function entryOf(type: string, shape: readonly (number | string)[]): Entry {
  const sizes = shape.map((size) => (typeof size === 'number' && size < 2 ** 31 ? size : -1));
  return { type: TYPES[type] ?? ONNX_TYPE.f32, ...(sizes.length > 0 && { shape: sizes }) };
}
