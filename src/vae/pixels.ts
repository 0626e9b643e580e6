// Channels to pixels, as both decoders end.
import type { Tracer, Value } from '../dit/graph.ts';

/** Where the axes of a patch lie in the channels: (channel, row, column) or (channel, column, row). */
export type PatchOrder = 'rows' | 'columns';

/** [n, c * patch^2, h, w] -> [n, c, h * patch, w * patch]. */
export function pixelShuffle(g: Tracer, x: Value, patch: number, order: PatchOrder): Value {
  if (patch === 1) return x;
  const [frames, channels, height, width] = x.shape;
  const out = channels / patch ** 2;
  const [row, column] = order === 'rows' ? [2, 3] : [3, 2];
  const parts = g.transpose(g.reshape(x, [frames, out, patch, patch, height, width]), [0, 1, 4, row, 5, column]);
  return g.reshape(parts, [frames, out, height * patch, width * patch]);
}
