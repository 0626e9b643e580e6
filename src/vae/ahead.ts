// The kernels of a decoder, compiled before there are latents.
import type { DecoderPlace } from './place.ts';
import type { StagedDecoder } from './stream.ts';

/** Compiles the kernels of the first strip: those of the others are the same but where a picture ends. */
export async function compileStages(
  decoder: StagedDecoder,
  place: DecoderPlace,
  [channels, frames, height, width]: readonly number[],
): Promise<void> {
  if (!place.compileKernels) return;
  let shape: readonly number[] = [frames, channels, height, width];
  const compiled: Promise<void>[] = [];
  for (const { most, firstApart, trace } of decoder.stages(height, width, decoder.strips(height, width)[0])) {
    const program = trace([Math.min(most, shape[0]), ...shape.slice(1)], false);
    if (firstApart) compiled.push(place.compileKernels(trace([1, ...shape.slice(1)], true)));
    compiled.push(place.compileKernels(program));
    shape = program.nodes[program.outputs.frames].shape;
  }
  await Promise.all(compiled);
}
