// Random weights and inputs of a Program.
import type { Program } from '../../src/dit/graph.ts';
import { memoryWeights, type TensorData, type Weights } from '../../src/dit/weights.ts';
import { elements, type Tensor } from '../../src/tensor.ts';
import { numbers } from '../sparse3d/cases.ts';

/** Numbers of a Program's inputs, by name. */
export type Inputs = Readonly<Record<string, Float32Array>>;

/** Random numbers for every weight of a program. */
export function randomWeights({ nodes }: Program): Weights {
  const tensors: Record<string, TensorData> = {};
  for (const { operation, shape, id } of nodes)
    if (operation.op === 'weight') tensors[operation.name] = { dtype: 'F32', shape, data: numbers(elements(shape), 100 + id) };
  return memoryWeights(tensors);
}

/** Random numbers for every input. */
export function randomInputs({ nodes }: Program): Inputs {
  return Object.fromEntries(
    nodes.flatMap(({ operation, shape, id }) => (operation.op === 'input' ? [[operation.name, numbers(elements(shape), id + 1)]] : [])),
  );
}

/** The inputs as handles. */
export function uploaded({ nodes }: Program, inputs: Inputs, upload: (data: Float32Array, shape: readonly number[]) => Tensor) {
  const entries = nodes.flatMap(({ operation, shape }) =>
    operation.op === 'input' ? [[operation.name, upload(inputs[operation.name], shape)] as const] : [],
  );
  return Object.fromEntries(entries);
}
