// Element types that a graph's file does not state.
import { expect, test } from 'vitest';
import { graphOf } from '../../src/onnx/graph.ts';
import type { NodeProto } from '../../src/onnx/schema.ts';

const [F32, U8, I32, I64, BOOL, F16] = [1, 2, 6, 7, 9, 10];

function typesOf(...nodes: (Pick<NodeProto, 'opType' | 'input' | 'output'> & Partial<NodeProto>)[]) {
  const input = [
    { name: 'x', type: { tensorType: { elemType: F32 } } },
    { name: 'h', type: { tensorType: { elemType: F16 } } },
  ];
  const graph = graphOf({ name: 'g', node: nodes.map((node) => ({ name: '', domain: '', ...node })), initializer: [], input, output: [] });
  return nodes.flatMap(({ output }) => output.map(graph.type));
}

test('a result has the type of the first input, unless its operation says otherwise', () => {
  expect(typesOf({ opType: 'Mul', input: ['h', 'h'], output: ['a'] })).toEqual([F16]);
  expect(typesOf({ opType: 'Greater', input: ['x', 'x'], output: ['a'] })).toEqual([BOOL]);
  expect(typesOf({ opType: 'Shape', input: ['h'], output: ['a'] }, { opType: 'Where', input: ['c', 'h', 'h'], output: ['b'] })).toEqual([
    I64,
    F16,
  ]);
  expect(typesOf({ opType: 'TopK', input: ['h', 'k'], output: ['values', 'places'] })).toEqual([F16, I64]);
  expect(
    typesOf(
      { opType: 'DynamicQuantizeLinear', input: ['x'], output: ['y', 'scale', 'zero'] },
      { opType: 'MatMulInteger', input: ['y', 'w'], output: ['sums'] },
    ),
  ).toEqual([U8, F32, U8, I32]);
});

test('a result of a body or of a function of the file is not guessed', () => {
  expect(typesOf({ opType: 'If', input: ['x'], output: ['a'] })).toEqual([0]);
  expect(typesOf({ opType: 'Gate', domain: 'pkg.own', input: ['x'], output: ['a'] })).toEqual([0]);
});
