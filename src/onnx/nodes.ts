// Writes nodes and constants to be put into a graph that was read.
import { ONNX_TYPE } from '../backend/onnx.ts';
import type { AttributeProto, NodeProto, TensorProto } from './schema.ts';

type Value = number | string | readonly number[];

/** Nodes in the order in which they compute, with the constants that they read. */
export interface Writer {
  readonly nodes: NodeProto[];
  readonly constants: TensorProto[];
  /** Adds a node and returns its result's name, a fresh one unless `output` is given. */
  node(op: string, inputs: readonly string[], attributes?: Readonly<Record<string, Value>>, output?: string, domain?: string): string;
  /** A vector of int64, or an f32 scalar. */
  ints(values: readonly number[]): string;
  scalar(value: number): string;
}

/** Names of what is written start with `prefix`, which no name of the graph does. */
export function writer(prefix: string): Writer {
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  const constant = (dataType: number, dims: readonly number[], data: ArrayBufferView): string => {
    const name = `${prefix}.c${constants.length}`;
    constants.push({ name, dataType, dims, rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
    return name;
  };
  return {
    nodes,
    constants,
    node(opType, input, attributes = {}, output = `${prefix}.${nodes.length}`, domain = '') {
      nodes.push({
        input,
        output: [output],
        name: `${prefix}.${opType}.${nodes.length}`,
        opType,
        domain,
        attribute: Object.entries(attributes).map(attribute),
      });
      return output;
    },
    ints: (values) => constant(ONNX_TYPE.i64, [values.length], BigInt64Array.from(values.map(BigInt))),
    scalar: (value) => constant(ONNX_TYPE.f32, [], Float32Array.of(value)),
  };
}

/** Numbers are whole ones here. */
function attribute([name, value]: [string, Value]): AttributeProto {
  if (typeof value === 'string') return { name, type: 3, s: new TextEncoder().encode(value) };
  return typeof value === 'number' ? { name, type: 2, i: value } : { name, type: 7, ints: value };
}
