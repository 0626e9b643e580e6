// Writes ONNX models: a small builder over the protobuf wire format, enough for graphs whose weights lie in external data.
// Field numbers follow onnx.proto3 (ONNX 1.16, IR version 9).

/** ONNX element types used here (TensorProto.DataType). */
export const ONNX_TYPE = { f32: 1, u8: 2, i32: 6, i64: 7, bool: 9, f16: 10, f64: 11, bf16: 16 } as const;
export type OnnxType = keyof typeof ONNX_TYPE;

/** An attribute value; whole numbers become INT(S), others FLOAT(S): wrap with `float()` to force FLOAT. A graph is the body of a Loop. */
export type Attribute = number | string | readonly number[] | Float | OnnxGraph;
/** A number that must be written as FLOAT even when it is whole. */
export interface Float {
  readonly float: number;
}
export const float = (value: number): Float => ({ float: value });

/** Where the bytes of an external initializer are found: `location` is matched by the session's `externalData[].path`. */
export interface External {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

const utf8 = new TextEncoder();

/** Appends protobuf fields to a growing list of byte chunks. */
class Message {
  private readonly chunks: Uint8Array[] = [];
  private size = 0;

  private push(chunk: Uint8Array): this {
    this.chunks.push(chunk);
    this.size += chunk.length;
    return this;
  }
  private varint(value: bigint): this {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, value);
    do {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      bytes.push(rest ? low | 0x80 : low);
    } while (rest);
    return this.push(Uint8Array.from(bytes));
  }
  int(field: number, value: number): this {
    return this.varint(BigInt(field << 3)).varint(BigInt(value));
  }
  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.varint(BigInt((field << 3) | 5)).push(bytes);
  }
  bytes(field: number, value: Uint8Array): this {
    return this.varint(BigInt((field << 3) | 2))
      .varint(BigInt(value.length))
      .push(value);
  }
  text(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }
  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }
  finish(): Uint8Array {
    const all = new Uint8Array(this.size);
    let at = 0;
    for (const chunk of this.chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }
}

function attribute(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === 'string') return message.bytes(4, utf8.encode(value)).int(20, 3);
  if (typeof value === 'number') return Number.isInteger(value) ? message.int(3, value).int(20, 2) : message.float(2, value).int(20, 1);
  if (value instanceof OnnxGraph) return message.message(6, value.graph).int(20, 5);
  if ('float' in value) return message.float(2, value.float).int(20, 1);
  for (const item of value) message.int(8, item);
  return message.int(20, 7);
}

function valueInfo(name: string, type: OnnxType, shape: readonly (number | string)[]): Message {
  const dims = new Message();
  for (const size of shape) dims.message(1, typeof size === 'number' ? new Message().int(1, size) : new Message().text(2, size));
  const tensorType = new Message().int(1, ONNX_TYPE[type]).message(2, dims);
  return new Message().text(1, name).message(2, new Message().message(1, tensorType));
}

/** Builds one ONNX graph node by node; values are their names. Names are unique within the graph. */
export class OnnxGraph {
  /** The GraphProto so far. */
  readonly graph = new Message();

  constructor(
    private readonly opset = 20,
    private readonly names = { count: 0 },
  ) {
    this.graph.text(2, 'zoetrope');
  }
  /** A graph to be an attribute of this one; it sees this one's values, so their names differ. */
  body(): OnnxGraph {
    return new OnnxGraph(this.opset, this.names);
  }
  /** Declares a graph input; a string size is symbolic. */
  input(name: string, type: OnnxType, shape: readonly (number | string)[]): string {
    this.graph.message(11, valueInfo(name, type, shape));
    return name;
  }
  /** Declares a value as a graph output. */
  output(name: string, type: OnnxType, shape: readonly (number | string)[]): void {
    this.graph.message(12, valueInfo(name, type, shape));
  }
  /** Adds a node with one output and returns the output's name. `domain` is '' for ai.onnx, 'com.microsoft' for ONNX Runtime's own. */
  node(op: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, domain = '', output?: string): string {
    return this.nodes(op, inputs, [output ?? this.name(op)], attributes, domain)[0];
  }
  /** Adds a node with several named outputs. */
  nodes(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    domain = '',
  ): readonly string[] {
    const node = new Message();
    for (const input of inputs) node.text(1, input);
    for (const output of outputs) node.text(2, output);
    node.text(3, `${op}_${this.names.count++}`).text(4, op);
    for (const [name, value] of Object.entries(attributes)) node.message(5, attribute(name, value));
    if (domain) node.text(7, domain);
    this.graph.message(1, node);
    return outputs;
  }
  /** A fresh value name. */
  name(hint = 'value'): string {
    return `${hint}.${this.names.count++}`;
  }
  /** Inline constant. */
  constant(type: OnnxType, shape: readonly number[], data: ArrayBufferView, name = this.name('constant')): string {
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.graph.message(5, this.header(name, type, shape).bytes(9, raw));
    return name;
  }
  /** Inline int64 vector, the form in which ONNX takes shapes, axes and starts. */
  ints(values: readonly number[]): string {
    return this.constant('i64', [values.length], BigInt64Array.from(values.map(BigInt)));
  }
  /** Inline f32 scalar. */
  scalar(value: number): string {
    return this.constant('f32', [], Float32Array.of(value));
  }
  /** Initializer whose bytes are handed to the session as external data. */
  external(name: string, type: OnnxType, shape: readonly number[], where: External): string {
    const tensor = this.header(name, type, shape);
    for (const [key, value] of Object.entries(where)) tensor.message(13, new Message().text(1, key).text(2, String(value)));
    this.graph.message(5, tensor.int(14, 1));
    return name;
  }
  /** The finished ModelProto. */
  build(): Uint8Array {
    const opset = new Message().text(1, '').int(2, this.opset);
    const microsoft = new Message().text(1, 'com.microsoft').int(2, 1);
    return new Message().int(1, 9).text(2, 'zoetrope').message(7, this.graph).message(8, opset).message(8, microsoft).finish();
  }
  private header(name: string, type: OnnxType, shape: readonly number[]): Message {
    const tensor = new Message();
    for (const size of shape) tensor.int(1, size);
    return tensor.int(2, ONNX_TYPE[type]).text(8, name);
  }
}
