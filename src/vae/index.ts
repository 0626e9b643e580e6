// Opens a VAE decoder by what it is: AutoencoderKLWan, AutoencoderTinyWan, or a single TAEHV file.
import { readJson } from '../dit/config.ts';
import type { Program } from '../dit/graph.ts';
import { openWeights, type Weights } from '../dit/weights.ts';
import { UnsupportedError } from '../errors.ts';
import { join, kindOf } from '../files.ts';
import type { DecoderPlace } from './place.ts';
import { type StagedDecoder, streamedDecoder, type VideoDecoder } from './stream.ts';
import { detectTaehv, RUN_BYTES, readTinyWanConfig, taehvDecoder } from './taehv.ts';
import { STRIP_BYTES, wanDecoder } from './wan.ts';
import { readWanVaeConfig } from './wan-config.ts';

export type { DecodedFrames, VideoDecoder } from './stream.ts';

/**
 * Opens the decoder at a path: a diffusers `vae` folder, or a .safetensors file of TAEHV.
 * @throws UnsupportedError for another class or layer list, naming it; Error when a weight is missing or has another shape.
 */
export async function loadVae(path: string, place: DecoderPlace): Promise<VideoDecoder> {
  const weights = await openWeights(path);
  try {
    const decoder = await recognise(path, weights, place.name);
    for (const { nodes } of decoderPrograms(decoder))
      for (const { operation, shape } of nodes) if (operation.op === 'weight') weights.get(operation.name, shape);
    return streamedDecoder(decoder, weights, place);
  } catch (error) {
    await weights.close();
    throw error;
  }
}

async function recognise(path: string, weights: Weights, place: DecoderPlace['name']): Promise<StagedDecoder> {
  if ((await kindOf(path)) === 'file') return taehvDecoder(detectTaehv(weights), weights, RUN_BYTES[place]);
  const json = await readJson(join(path, 'config.json'));
  if (json._class_name === 'AutoencoderKLWan') return wanDecoder(readWanVaeConfig(json), STRIP_BYTES[place]);
  if (json._class_name === 'AutoencoderTinyWan') return taehvDecoder(readTinyWanConfig(json, weights), weights, RUN_BYTES[place]);
  throw new UnsupportedError(
    `VAE class ${json._class_name} in ${path} is not supported; AutoencoderKLWan, AutoencoderTinyWan and TAEHV files are`,
  );
}

/** The Programs of all stages for a few frames of a small picture: they read every weight that there is to read. */
export function decoderPrograms(decoder: StagedDecoder): Program[] {
  const [height, width] = [4, 4];
  let shape: readonly number[] = [1, decoder.channels, height, width];
  return decoder.stages(height, width, { axis: 3, start: 0, end: width, size: width }).map(({ most, trace }) => {
    const program = trace([Math.min(most, shape[0]), ...shape.slice(1)], false);
    shape = program.nodes[program.outputs.frames].shape;
    return program;
  });
}
