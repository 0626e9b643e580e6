// Linear layers of a Program, with their epilogue.
import type { Dispatch, GpuTensor } from '../../backend/webgpu/device.ts';
import { elements } from '../../tensor.ts';
import type { Activation } from '../graph.ts';
import { packed } from './map.ts';
import { launchOfMatmul } from './matmul.ts';
import { type Builder, changesWith } from './steps.ts';
import type { View } from './view.ts';

/** What a linear layer of a Program is given. */
export interface LinearInputs {
  readonly x: View;
  readonly weight: View;
  readonly bias?: View;
  readonly activation?: Activation;
  /** The same for all tokens of a batch item. */
  readonly gate?: View;
  /** Shaped like the result. */
  readonly residual?: View;
}

/** One linear layer, computed in the weight's type and written in the residual's, or else in `dtype`. */
export function linear(builder: Builder, { activation, ...views }: LinearInputs, dtype = views.weight.dtype): View {
  const weight = packed(builder, views.weight);
  const [outputs, inputs] = weight.shape;
  const x = packed(builder, views.x, weight.dtype);
  const [bias, gate, residual] = [views.bias, views.gate, views.residual].map((view) => view && packed(builder, view));
  const reads = [x, weight, bias, gate, residual].flatMap((view) => (view ? [view.slot] : []));
  const shape = [...x.shape.slice(0, -1), outputs];
  const out = builder.slot(shape, residual?.dtype ?? dtype, changesWith(reads.map((slot) => builder.slots[slot])));
  const call = { rows: elements(shape) / outputs, inputs, outputs, dtype: weight.dtype as 'f32' | 'f16', activation };
  let repeated: { readonly launch: Omit<Dispatch, 'tensors'>; readonly slots: readonly number[] } | undefined;
  builder.step(reads, out.slot, (tensors, device) => {
    if (!repeated) {
      const launch = launchOfMatmul(device, builder.kernels.dit, {
        ...call,
        x: tensors[x.slot],
        weight: tensors[weight.slot],
        out: tensors[out.slot],
        ...(bias && { bias: tensors[bias.slot] }),
        ...(gate && { gate: tensors[gate.slot] }),
        ...(residual && { residual: tensors[residual.slot] }),
      });
      const slotOf = (tensor: GpuTensor) => [out.slot, ...reads].find((slot) => tensors[slot] === tensor)!;
      repeated = { launch: { ...launch, memory: {} }, slots: launch.tensors.map(slotOf) };
    }
    device.dispatch({ ...repeated.launch, tensors: repeated.slots.map((slot) => tensors[slot]) });
  });
  return out;
}
