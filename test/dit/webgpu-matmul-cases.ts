// Linear layers for tests: seeded numbers that f16 holds, every epilogue, and their twin in f64.
import type { GpuDevice, GpuTensor } from '../../src/backend/webgpu/device.ts';
import { loadKernels } from '../../src/backend/webgpu/wgsl.ts';
import type { Activation } from '../../src/dit/graph.ts';
import { ditKernels } from '../../src/dit/webgpu/kernels/index.ts';
import type { MatmulCall } from '../../src/dit/webgpu/matmul.ts';
import { numbers } from '../sparse3d/cases.ts';

const { matmul, matmulFew, matmulFinish, matmulMatrix } = ditKernels;
export const matmulKernels = await loadKernels({ matmul, matmulFew, matmulFinish, matmulMatrix });

export interface Case {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly bias?: boolean;
  readonly activation?: Activation;
  /** Rows of the gate. */
  readonly gates?: number;
  readonly residual?: 'other' | 'itself';
}

/** Every epilogue, each at a size of its own. */
export function epilogues(sizes: readonly (readonly [rows: number, inputs: number, outputs: number])[]): Case[] {
  const parts: readonly Omit<Case, 'rows' | 'inputs' | 'outputs'>[] = [
    {},
    { bias: true, activation: 'silu' },
    { bias: true, activation: 'gelu_tanh' },
    { activation: 'relu', residual: 'other' },
    { bias: true, activation: 'tanh', gates: 1 },
    { bias: true, gates: 2, residual: 'itself' },
    { bias: true, gates: 1, residual: 'other' },
  ];
  return parts.map((part, at) => {
    const [rows, inputs, outputs] = sizes[at % sizes.length];
    return { rows: part.gates === 2 ? rows + (rows % 2) : rows, inputs, outputs, ...part };
  });
}

const ACTIVATIONS: Readonly<Record<Activation, (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  relu: (x) => Math.max(x, 0),
  tanh: Math.tanh,
};

/** Runs a case with `run`, x and weight made by `upload`, and gives the largest difference to f64, as a part of the largest output. */
export async function errorOf(
  gpu: GpuDevice,
  one: Case,
  run: (call: Omit<MatmulCall, 'dtype'>) => void,
  upload: (x: Float32Array, shape: readonly number[]) => GpuTensor = gpu.upload,
): Promise<number> {
  const { rows, inputs, outputs, bias, activation, gates = 0, residual } = one;
  const made = (count: number, width: number, seed: number) => {
    const values = numbers(count * width, seed).map((x) => Math.round(x * 32) / 32);
    return { values, shape: [count, width] };
  };
  const parts = { x: made(rows, inputs, 1), weight: made(outputs, inputs, 2), bias: made(1, outputs, 3) };
  const more = { gate: made(Math.max(1, gates), outputs, 4), residual: made(rows, outputs, 5) };
  const handle = ({ values, shape }: ReturnType<typeof made>) => gpu.upload(values, shape);
  const out = residual === 'itself' ? handle(more.residual) : gpu.tensor([rows, outputs], 'f32');
  const { x, weight } = parts;
  run({
    ...{ rows, inputs, outputs, x: upload(x.values, x.shape), weight: upload(weight.values, weight.shape), out },
    ...(bias && { bias: handle(parts.bias) }),
    ...(activation && { activation }),
    ...(gates > 0 && { gate: handle(more.gate) }),
    ...(residual && { residual: residual === 'itself' ? out : handle(more.residual) }),
  });
  const actual = await gpu.read(out);
  let [largest, difference] = [0, 0];
  for (let row = 0; row < rows; row++)
    for (let output = 0; output < outputs; output++) {
      let y = bias ? parts.bias.values[output] : 0;
      for (let i = 0; i < inputs; i++) y += x.values[row * inputs + i] * weight.values[output * inputs + i];
      if (activation) y = ACTIVATIONS[activation](y);
      if (gates) y *= more.gate.values[Math.floor((row * gates) / rows) * outputs + output];
      if (residual) y += more.residual.values[row * outputs + output];
      largest = Math.max(largest, Math.abs(y));
      const off = Math.abs(y - actual[row * outputs + output]);
      difference = off <= difference ? difference : off; // NaN stays
    }
  return difference / largest;
}
