// Element types of a graph's values: those that the file states, and for the rest what each operation makes.
import { ONNX_TYPE } from '../backend/onnx.ts';
import { attributeOf, intOf } from './attributes.ts';
import type { GraphProto, NodeProto, TensorType } from './schema.ts';

type Types = ReadonlyMap<string, number>;

/** TensorProto.DataType of each value; 0 where it is not known. */
export function typesOf(proto: GraphProto, stated: ReadonlyMap<string, TensorType | null | undefined>): Types {
  const types = new Map(proto.initializer.map(({ name, dataType }) => [name, dataType]));
  for (const { name } of proto.input) types.set(name, types.get(name) ?? stated.get(name)?.elemType ?? 0);
  for (const node of proto.node)
    for (const [index, value] of node.output.entries()) types.set(value, stated.get(value)?.elemType || typeOf(node, types, index));
  return types;
}

const { f32, u8, i32, i64, bool } = ONNX_TYPE;
const all = (types: readonly number[], ...ops: string[]) => ops.map((op) => [op, types] as const);

/** Operations whose results, one after the other, have these types whatever they read. */
const FIXED: ReadonlyMap<string, readonly number[]> = new Map([
  ...all([bool], 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'And', 'Or', 'Xor', 'Not', 'IsNaN', 'IsInf'),
  ...all([i64], 'Shape', 'Size', 'NonZero', 'ArgMax', 'ArgMin'),
  ...all([i32], 'MatMulInteger', 'ConvInteger'),
  ...all([u8, f32, u8], 'DynamicQuantizeLinear'),
  // Their results are what their bodies say.
  ...all([], 'If', 'Loop', 'Scan'),
]);

/** Operations whose result has the type of another input than the first. */
const LIKE: Readonly<Record<string, number>> = {
  ...{ Where: 1, CastLike: 1, DequantizeLinear: 1, QuantizeLinear: 2, OneHot: 2, MatMulIntegerToFloat: 2, QLinearMatMul: 7 },
};

function typeOf(node: NodeProto, types: Types, index: number): number {
  const { opType, input, domain } = node;
  // A function of the file itself may make anything.
  if (domain && domain !== 'com.microsoft') return 0;
  const fixed = FIXED.get(opType);
  if (fixed) return fixed[index] ?? 0;
  if (opType === 'Cast') return intOf(node, 'to', 0);
  if (opType === 'Constant' || opType === 'ConstantOfShape') return constantType(node);
  if (opType === 'TopK' && index === 1) return i64;
  const type = types.get(input[LIKE[opType] ?? 0]);
  return type ?? (opType === 'QuantizeLinear' ? intOf(node, 'output_dtype', 0) || u8 : 0);
}

function constantType(node: NodeProto): number {
  const isInteger = attributeOf(node, 'value_int') ?? attributeOf(node, 'value_ints');
  return isInteger ? i64 : (attributeOf(node, 'value')?.t?.dataType ?? f32);
}
