// Finds values that are computed twice in the same way, as exporters do for what several layers read.
import type { Graph } from './graph.ts';
import { type AttributeProto, type NodeProto, numberOf, type TensorProto } from './schema.ts';

/** For each value the first one that is equal to it; a value alone stands for itself. */
export function firstOfEqual(graph: Graph): (value: string) => string {
  const first = new Map<string, string>();
  const firstOf = (value: string): string => first.get(value) ?? value;
  const known = new Map<string, NodeProto>();
  for (const node of graph.nodes) {
    const key = keyOf(node, firstOf);
    const before = key === undefined ? undefined : known.get(key);
    if (before) for (const [index, value] of node.output.entries()) first.set(value, before.output[index]);
    else if (key !== undefined) known.set(key, node);
  }
  return firstOf;
}

/** What a node computes as a text; undefined for what is not compared: random numbers, bodies, large constants. */
function keyOf(node: NodeProto, firstOf: (value: string) => string): string | undefined {
  const attributes = (node.attribute ?? []).map(textOf);
  if (node.opType.startsWith('Random') || attributes.includes(undefined)) return undefined;
  return JSON.stringify([node.domain, node.opType, node.output.length, node.input.map(firstOf), attributes.sort()]);
}

function textOf({ name, f, i, s, t, ints, floats, g, graphs }: AttributeProto): string | undefined {
  const tensor = t ? tensorText(t) : '';
  if (g || graphs?.length || tensor === undefined) return undefined;
  return JSON.stringify([name, f, numberOf(i), [...(s ?? [])], tensor, (ints ?? []).map(numberOf), floats ?? []]);
}

function tensorText({ dims, dataType, rawData, floatData, int32Data, int64Data, dataLocation }: TensorProto): string | undefined {
  if (dataLocation === 1 || (rawData?.length ?? 0) > 256) return undefined;
  return JSON.stringify([dims.map(numberOf), dataType, [...(rawData ?? [])], floatData, int32Data, (int64Data ?? []).map(numberOf)]);
}
