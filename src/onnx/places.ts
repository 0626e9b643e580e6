// Where the attention of a cut graph is computed, and how results of a session get there and back.
import type * as ort from 'onnxruntime-common';
import { createAttention, type StepStatistics } from '../attention.ts';
import { openCpu } from '../backend/cpu.ts';
import { cpuBackend } from '../backend/cpu-backend.ts';
import type { Runtime, RuntimeChoice } from '../backend/runtime.ts';
import type { Method, Site } from '../method.ts';

export interface Place {
  readonly runtime: Runtime;
  /** Softmax attention of results [..., tokens, dim]; what is given stays the caller's. */
  attend(q: ort.Tensor, k: ort.Tensor, v: ort.Tensor, site: Site): Promise<ort.Tensor>;
  take(): Promise<StepStatistics>;
  dispose(): Promise<void>;
}

export async function onCpu(method: Method, choice: RuntimeChoice | undefined): Promise<Place> {
  const device = await openCpu(choice);
  const { attention, take, reset } = createAttention(cpuBackend(device), method);
  return {
    runtime: device.runtime,
    async attend(q, k, v, site) {
      const out = attention(...operands(q, k, v, (tensor, shape) => device.upload(tensor.data as Float32Array, shape)), site);
      const numbers = await device.take(out);
      return new device.runtime.Tensor('float32', numbers as Float32Array, resultShape(q, v));
    },
    take,
    async dispose() {
      reset();
      await device.dispose();
    },
  };
}

type Three<T> = [T, T, T];

/** q, k, v as [batch * heads, tokens, dim]. @throws RangeError when they do not have the same batch and heads. */
function operands<T>(q: ort.Tensor, k: ort.Tensor, v: ort.Tensor, make: (tensor: ort.Tensor, shape: readonly number[]) => T): Three<T> {
  const [rows] = [q, k, v].map(({ dims }) => dims.slice(0, -2).join());
  for (const { dims } of [k, v])
    if (dims.slice(0, -2).join() !== rows)
      throw new RangeError(
        `queries [${q.dims}] and keys or values [${dims}] have not the same batch and heads; export the model with one key head for each query head`,
      );
  return [q, k, v].map((tensor) => make(tensor, folded(tensor.dims))) as Three<T>;
}

const folded = (dims: readonly number[]): readonly number[] => [
  dims.slice(0, -2).reduce((product, size) => product * size, 1),
  ...dims.slice(-2),
];
const resultShape = (q: ort.Tensor, v: ort.Tensor): number[] => [...q.dims.slice(0, -1), v.dims[v.dims.length - 1]];
