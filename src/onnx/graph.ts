// What is known of a graph before it runs: who makes and reads each value, which values never change, types and shapes as far as the file says.
import { ONNX_TYPE } from '../backend/onnx.ts';
import { type GraphProto, type NodeProto, numberOf, type TensorProto } from './schema.ts';
import { typesOf } from './types.ts';

export interface Graph {
  readonly nodes: readonly NodeProto[];
  readonly initializers: ReadonlyMap<string, TensorProto>;
  /** Names to feed, and names of results. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  producer(value: string): NodeProto | undefined;
  consumers(value: string): readonly NodeProto[];
  /** Whether a value depends on no input of the graph. */
  isFixed(value: string): boolean;
  /** Sizes that the file states; undefined where it states none, -1 for a size that stays open. */
  shape(value: string): readonly number[] | undefined;
  /** Element type (TensorProto.DataType), or 0 where it is not known. */
  type(value: string): number;
}

export function graphOf(proto: GraphProto): Graph {
  const initializers = new Map(proto.initializer.map((tensor) => [tensor.name, tensor]));
  const producers = new Map<string, NodeProto>();
  const readers = new Map<string, NodeProto[]>();
  const moving = new Set(proto.input.map(({ name }) => name).filter((name) => !initializers.has(name)));
  const inputs = [...moving];
  for (const node of proto.node) {
    const reads = readsOf(node);
    for (const value of reads) readers.set(value, [...(readers.get(value) ?? []), node]);
    const changes = RANDOM.has(node.opType) || reads.some((value) => moving.has(value));
    for (const value of node.output) {
      if (value) producers.set(value, node);
      if (value && changes) moving.add(value);
    }
  }
  const infos = new Map([...proto.input, ...proto.output, ...(proto.valueInfo ?? [])].map((info) => [info.name, info.type?.tensorType]));
  const types = typesOf(proto, infos);
  return {
    nodes: proto.node,
    initializers,
    inputs,
    outputs: proto.output.map(({ name }) => name),
    producer: (value) => producers.get(value),
    consumers: (value) => readers.get(value) ?? [],
    isFixed: (value) => !moving.has(value),
    shape: (value) => {
      const tensor = initializers.get(value);
      if (tensor) return tensor.dims.map(numberOf);
      return infos.get(value)?.shape?.dim.map(({ dimValue, dimParam }) => (dimParam || dimValue == null ? -1 : numberOf(dimValue)));
    },
    type: (value) => types.get(value) ?? 0,
  };
}

const RANDOM = new Set(['RandomNormal', 'RandomUniform', 'RandomNormalLike', 'RandomUniformLike', 'Multinomial', 'Bernoulli']);

/** Every value that a node reads, those that bodies of loops and branches take from outside too. */
export function readsOf(node: NodeProto): readonly string[] {
  const bodies = (node.attribute ?? []).flatMap(({ g, graphs }) => [...(g ? [g] : []), ...(graphs ?? [])]);
  return [...node.input.filter(Boolean), ...bodies.flatMap(capturesOf)];
}

function capturesOf(body: GraphProto): string[] {
  const own = new Set([...body.input.map(({ name }) => name), ...body.initializer.map(({ name }) => name)]);
  for (const node of body.node) for (const value of node.output) own.add(value);
  const reads = [...body.node.flatMap(readsOf), ...body.output.map(({ name }) => name)];
  return reads.filter((value) => !own.has(value));
}

/** The numbers of a value that stands in the file itself: an initializer or a Constant of floats, doubles, integers or booleans. */
export function numbersOf(graph: Graph, value: string): readonly number[] | undefined {
  const node = graph.producer(value);
  if (node?.opType === 'Identity') return numbersOf(graph, node.input[0]);
  if (node && node.opType !== 'Constant') return undefined;
  if (!node) {
    const tensor = graph.initializers.get(value);
    return tensor && tensorNumbers(tensor);
  }
  const [only] = node.attribute ?? [];
  if (only?.name === 'value_float') return [only.f!];
  if (only?.name === 'value_int') return [numberOf(only.i)];
  if (only?.name === 'value_ints') return only.ints!.map(numberOf);
  if (only?.name === 'value_floats') return only.floats!;
  return only?.t ? tensorNumbers(only.t) : undefined;
}

function tensorNumbers(tensor: TensorProto): readonly number[] | undefined {
  const { rawData, floatData, int32Data, int64Data, doubleData, dataType } = tensor;
  if (tensor.dataLocation === 1) return undefined;
  if (!rawData?.length) return [floatData, int32Data, int64Data?.map(numberOf), doubleData].find((list) => list && list.length > 0);
  const bytes = new Uint8Array(rawData).buffer;
  if (dataType === ONNX_TYPE.f32) return [...new Float32Array(bytes)];
  if (dataType === ONNX_TYPE.f64) return [...new Float64Array(bytes)];
  if (dataType === ONNX_TYPE.i64) return [...new BigInt64Array(bytes)].map(Number);
  if (dataType === ONNX_TYPE.i32) return [...new Int32Array(bytes)];
  if (dataType === ONNX_TYPE.bool) return [...new Uint8Array(bytes)];
  return dataType === ONNX_TYPE.f16 ? [...new Uint16Array(bytes)].map(half) : undefined;
}

function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent === 31
        ? fraction
          ? Number.NaN
          : Infinity
        : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}
