// What a GPU kernel of a linear layer is given: the call, its uniform and its bindings, the same for every variant.
import { type Dispatch, type GpuDevice, type GpuTensor, gpuTensor } from '../../backend/webgpu/device.ts';
import type { Header, Variant } from '../../backend/webgpu/wgsl.ts';
import { type DType, elements } from '../../tensor.ts';
import type { Activation } from '../graph.ts';
import type { DitKernels } from './kernels/index.ts';

/** What decides whether a variant can serve a call. */
export interface MatmulShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly dtype: 'f16' | 'f32';
}

/**
 * One linear layer: out = residual + gate * activation(x weight^T + bias), with x [rows, inputs], weight [outputs, inputs] and out
 * [rows, outputs]. x and weight have the dtype of the call, the others f32 or f16, each as it is; sums are f32.
 */
export interface MatmulCall extends MatmulShape {
  readonly x: GpuTensor;
  readonly weight: GpuTensor;
  /** [outputs]. */
  readonly bias?: GpuTensor;
  readonly activation?: Activation;
  /** [outputs], for all rows, or [batch, outputs], for rows / batch rows each that follow each other. */
  readonly gate?: GpuTensor;
  /** [rows, outputs]; may be `out` itself. */
  readonly residual?: GpuTensor;
  readonly out: GpuTensor;
}

/** The kernels of every variant. */
export type MatmulKernels = Pick<DitKernels, 'matmul' | 'matmulFew' | 'matmulMatrix' | 'matmulFinish'>;

/** One way to compute a linear layer. */
export interface MatmulVariant extends Variant<MatmulShape> {
  launch(device: GpuDevice, kernels: MatmulKernels, call: MatmulCall): Dispatch;
}

const ACTIVATIONS: readonly Activation[] = ['silu', 'gelu_tanh', 'relu', 'tanh'];

/** A launch of a kernel that reads `wide` numbers of x and weight at a time, bound as `cells`, and writes `lanes` of out. */
export function matmulLaunch(
  device: GpuDevice,
  call: MatmulCall,
  { cells, wide, lanes }: { readonly cells: string; readonly wide: number; readonly lanes: 1 | 4 },
): Pick<Dispatch, 'tensors' | 'uniform'> & { readonly header: Header } {
  const { rows, inputs, outputs, x, weight, bias, activation, gate, residual, out } = call;
  const batch = gate ? elements(gate.shape) / outputs : 1;
  if (!Number.isInteger(rows / batch))
    throw new RangeError(
      `a gate of shape [${gate?.shape}] does not fit ${rows} rows of ${outputs}: it has a row for a whole number of them`,
    );
  const cell = (tensor: GpuTensor = weight): string => (lanes === 1 ? tensor.dtype : `vec4<${tensor.dtype}>`);
  const itself = residual?.lent.buffer === out.lent.buffer;
  const others = [bias, gate, itself ? undefined : residual];
  const dtypes: readonly DType[] = [weight, out, ...others].map((tensor) => tensor?.dtype ?? 'f32');
  const [BiasCell, GateCell, ResidualCell] = others.map(cell);
  return {
    header: {
      enable: dtypes.includes('f16') ? ['f16'] : [],
      alias: { Cells: cells, Sums: lanes === 1 ? 'f32' : 'vec4f', BiasCell, GateCell, ResidualCell, OutCell: cell(out) },
      constants: {
        ...{ BIAS: bias !== undefined, GATE: gate !== undefined, RESIDUAL: itself ? 2 : residual ? 1 : 0 },
        ACTIVATION: activation ? 1 + ACTIVATIONS.indexOf(activation) : 0,
        HALF: out.dtype === 'f16',
      },
    },
    tensors: [x, weight, ...others.map((tensor) => tensor ?? weight), out].map((tensor) => gpuTensor(device, tensor)),
    uniform: Uint32Array.of(rows, outputs, inputs / wide, outputs / lanes, rows / batch),
  };
}
