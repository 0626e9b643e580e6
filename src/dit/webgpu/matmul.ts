// The ways to compute a linear layer on a GPU, best first.
import type { Dispatch, GpuDevice } from '../../backend/webgpu/device.ts';
import { unroll } from '../../backend/webgpu/unroll.ts';
import { type Capabilities, chooseVariant, type Kernel } from '../../backend/webgpu/wgsl.ts';
import { type MatmulCall, type MatmulKernels, type MatmulShape, type MatmulVariant, matmulLaunch } from './matmul-call.ts';
import { matrixVariant } from './matmul-matrix.ts';

export type { MatmulCall, MatmulShape, MatmulVariant } from './matmul-call.ts';

const FEW = 16;

const fewVariant: MatmulVariant = {
  name: 'few',
  lacking: (capabilities, shape) =>
    shape.rows > FEW ? `it takes at most ${FEW} rows, not ${shape.rows}` : lackingStorage(capabilities, shape),
  launch(device, kernels, call) {
    const { header, ...launch } = matmulLaunch(device, call, { cells: `vec4<${call.dtype}>`, wide: 4, lanes: 1 });
    const counts = { ROWS: 2 ** Math.ceil(Math.log2(call.rows)) };
    return {
      ...launch,
      kernel: unrolled(device, kernels, kernels.matmulFew, counts),
      header: { ...header, constants: { ...header.constants, ...counts } },
      workgroups: [Math.ceil(call.outputs / 4)],
    };
  },
};

// Below so many tiles of 128 x 128, tiles of 64 x 64 are used.
const TILES = 64;

const portableVariant: MatmulVariant = {
  name: 'portable',
  lacking: lackingStorage,
  launch(device, kernels, call) {
    const { header, ...launch } = matmulLaunch(device, call, { cells: `vec4<${call.dtype}>`, wide: 4, lanes: 1 });
    const tilesOf = (size: number): [number, number] => [Math.ceil(call.outputs / size), Math.ceil(call.rows / size)];
    const [across, down] = tilesOf(128);
    const side = across * down < TILES ? 4 : 8;
    const counts = { SIDE: side, LOADS: side / 2 };
    return {
      ...launch,
      kernel: unrolled(device, kernels, kernels.matmul, counts),
      header: { ...header, constants: { ...header.constants, ...counts } },
      workgroups: tilesOf(16 * side),
    };
  },
};

/** A kernel with its loops unrolled. A software adapter compiles loops faster, and has no registers to lose. */
function unrolled(device: GpuDevice, kernels: MatmulKernels, { name, body }: Kernel, counts: Readonly<Record<string, number>>): Kernel {
  return device.cached(kernels, JSON.stringify([name, counts]), () => ({
    name,
    body: device.adapter.software ? body : unroll(body, counts),
    shared: [kernels.matmulFinish],
  }));
}

/** For few rows, then subgroup matrices, then any WebGPU. */
export const matmulVariants: readonly MatmulVariant[] = [fewVariant, matrixVariant, portableVariant];

/** The launch of a linear layer by the best variant, or the wanted one. @throws UnsupportedError when it cannot run here. */
export function launchOfMatmul(device: GpuDevice, kernels: MatmulKernels, call: MatmulCall, wanted?: string): Dispatch {
  return chooseVariant<MatmulShape, MatmulVariant>(matmulVariants, device.adapter, call, wanted).variant.launch(device, kernels, call);
}

/** Computes one linear layer with the best variant, or the wanted one. @throws UnsupportedError when it cannot run here. */
export function matmulOnGpu(device: GpuDevice, kernels: MatmulKernels, call: MatmulCall, wanted?: string): void {
  device.dispatch(launchOfMatmul(device, kernels, call, wanted));
}

function lackingStorage({ features }: Capabilities, { inputs, dtype }: MatmulShape): string | undefined {
  if (inputs % 4 !== 0) return `it takes a multiple of 4 inputs, not ${inputs}`;
  if (dtype === 'f16' && !features.has('shader-f16')) return 'this GPU has no f16 (feature shader-f16)';
  return undefined;
}
