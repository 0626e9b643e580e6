// Plain softmax attention inside a Program: cross-attention through the kernels of sparse3d, biased scores (text encoders) through a small one.
import { attendOnGpu } from '../../sparse3d/gpu-attend.ts';
import { elements } from '../../tensor.ts';
import { packed } from './map.ts';
import { type Builder, changesWith, enableFor } from './steps.ts';
import { broadcastTo, type View } from './view.ts';

export interface AttentionInputs {
  /** [..., tokens, dim] */
  readonly q: View;
  /** [..., keys, dim] */
  readonly k: View;
  readonly v: View;
  readonly scale: number;
  /** Broadcast to the scores [batch, heads, tokens, keys]. */
  readonly bias?: View;
}

/** Softmax attention [..., tokens, dim of v]. */
export function softmaxAttention(builder: Builder, { scale, bias, ...views }: AttentionInputs): View {
  const q = packed(builder, views.q);
  const [k, v] = [packed(builder, views.k, q.dtype), packed(builder, views.v, q.dtype)];
  const [dim, valueDim] = [q.shape[q.shape.length - 1], v.shape[v.shape.length - 1]];
  const reads = [q, k, v, ...(bias ? [bias] : [])];
  const shape = [...q.shape.slice(0, -1), valueDim];
  const y = builder.slot(shape, q.dtype, changesWith(reads.map(({ slot }) => builder.slots[slot])));
  const usual = !bias && dim === valueDim && dim % 8 === 0 && dim <= 256 && Math.abs(scale * Math.sqrt(dim) - 1) < 1e-6;
  if (usual) plain(builder, [q, k, v], y);
  else small(builder, { q, k, v, scale, bias }, y);
  return y;
}

/** Attention at the usual scale and without a bias. */
function plain(builder: Builder, [q, k, v]: readonly View[], y: View): void {
  const [rows, dim] = q.shape.slice(-2);
  const heads = elements(q.shape.slice(0, -2));
  const all = { q: rows, k: k.shape[k.shape.length - 2] };
  const shape = { heads, dim, dtype: q.dtype, rows: all, block: { q: 1, k: 1 }, blocks: all };
  builder.step(
    [q, k, v].map(({ slot }) => slot),
    y.slot,
    (tensors, device) => {
      const lse = device.tensor([heads, rows], 'f32');
      const bound = { q: tensors[q.slot], k: tensors[k.slot], v: tensors[v.slot], out: tensors[y.slot], lse };
      attendOnGpu(device, builder.kernels.sparse3d, { ...shape, ...bound, levels: [{ pool: 1, base: 0 }] });
      device.release(lse);
    },
  );
}

function small(builder: Builder, { q, k, v, scale, bias }: AttentionInputs, y: View): void {
  const [rows, dim] = q.shape.slice(-2);
  const keys = k.shape[k.shape.length - 2];
  const [heads = 1] = q.shape.slice(-3, -2);
  const valueDim = v.shape[v.shape.length - 1];
  const queries = elements(q.shape) / dim;
  const lead = new Array<number>(Math.max(0, 4 - q.shape.length)).fill(1);
  const wide = bias && broadcastTo(bias, [...lead, ...q.shape.slice(0, -1), keys]);
  const places = wide ? [wide.offset, ...wide.strides] : [0, 0, 0, 0, 0];
  const uniform = new Uint32Array([rows, keys, heads, 0, ...places, queries, 0, 0]);
  new Float32Array(uniform.buffer)[3] = scale;
  const biasDtype = bias?.dtype ?? q.dtype;
  builder.launch(y.slot, [
    {
      kernel: builder.kernels.dit.softmaxAttention,
      header: {
        enable: enableFor(q.dtype, biasDtype),
        alias: { Scalar: q.dtype, Bias: biasDtype },
        constants: { DIM: dim, VALUE_DIM: valueDim, PARTS: Math.ceil(valueDim / 64), BIASED: bias !== undefined },
      },
      slots: [q, k, v, bias ?? q, y].map(({ slot }) => slot),
      uniform,
      workgroups: [Math.min(queries, 65_535), Math.ceil(queries / 65_535)],
    },
  ]);
}
