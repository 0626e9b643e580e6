// Reads attributes of nodes by name.
import { type AttributeProto, type NodeProto, numberOf } from './schema.ts';

export const attributeOf = (node: NodeProto, name: string): AttributeProto | undefined =>
  node.attribute?.find((attribute) => attribute.name === name);
export const intOf = (node: NodeProto, name: string, otherwise: number): number => {
  const found = attributeOf(node, name);
  return found ? numberOf(found.i) : otherwise;
};
export const textOf = (node: NodeProto, name: string): string => new TextDecoder().decode(attributeOf(node, name)?.s);
