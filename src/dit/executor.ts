// Where Programs of a denoising transformer run: a backend whose handles they take and give, and what binds a Program to weights there.
import type { Backend } from '../backend/backend.ts';
import type { Grid } from '../sparse3d/plan.ts';
import type { DType, Tensor } from '../tensor.ts';
import type { Node, Program } from './graph.ts';
import type { Weights } from './weights.ts';

/** Computes one attention call of a Program: q, k, v [batch * heads, tokens, dim]. */
export type Seam = (q: Tensor, k: Tensor, v: Tensor, layer: number, grid: Grid) => Tensor;

/** A Program bound to weights and a device. */
export interface Executable {
  /** Enqueues one run. `inputs` by name, shapes as traced; returns the Program's outputs by name. */
  run(inputs: Readonly<Record<string, Tensor>>, attention?: Seam): Record<string, Tensor>;
  dispose(): Promise<void>;
}

/** A backend that computes nothing: what is called on it is compiled, which its `wait` waits for. Numbers of it are never read. */
export interface Ahead {
  readonly ops: Backend;
  /** A handle that holds nothing. */
  tensor(shape: readonly number[], dtype: DType): Tensor;
  /** Compiles what a Program launches, attention calls aside; no weights are loaded for it. */
  compile(program: Program): Promise<void>;
}

export interface Executor {
  /** Inputs and outputs of a run are f32 handles of it. */
  readonly ops: Backend;
  /** Binds a Program to weights. @throws Error when a weight is missing or has another shape (its name and both shapes). */
  compile(program: Program, weights: Weights): Promise<Executable>;
  /** Where calls are made beforehand, so that what they need is there in time; absent where nothing is compiled. */
  readonly ahead?: Ahead;
  /** Bytes of device memory that a Program will take; absent where it has no memory of its own. */
  bytes?(program: Program): ProgramBytes;
}

/** Bytes that a Program takes on a device. */
export interface ProgramBytes {
  readonly weights: number;
  /** What is kept between runs: constants, and what depends on the prompts of both guidance branches alone. */
  readonly kept: number;
  /** The most that values of a run take at once, whatever attention calls take for themselves left out. */
  readonly values: number;
}

/** Results of what depends on constant inputs alone are kept for this many different sets of them (guidance branches). */
export const KEPT_PRELUDES = 4;

/** The handle of an input. @throws TypeError when it is missing, RangeError for another shape. */
export function checkInput(node: Node, name: string, inputs: Readonly<Record<string, Tensor>>): Tensor {
  const tensor = inputs[name];
  if (!tensor) throw new TypeError(`input ${name} [${node.shape}] is missing; the program takes it at every run`);
  if (tensor.shape.join() !== node.shape.join())
    throw new RangeError(`input ${name} has shape [${tensor.shape}], but the program was traced for [${node.shape}]`);
  return tensor;
}
