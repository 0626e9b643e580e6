// Opens a VAE decoder by what it is: AutoencoderKLWan, AutoencoderTinyWan, or a single TAEHV file.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CpuDevice } from '../backend/cpu.ts';
import { readJson } from '../dit/config.ts';
import { openWeights, type Weights } from '../dit/weights.ts';
import { UnsupportedError } from '../errors.ts';
import { type StagedDecoder, streamedDecoder, type VideoDecoder } from './stream.ts';
import { detectTaehv, readTinyWanConfig, taehvDecoder } from './taehv.ts';
import { wanDecoder } from './wan.ts';
import { readWanVaeConfig } from './wan-config.ts';

export type { DecodedFrames, VideoDecoder } from './stream.ts';

/**
 * Opens the decoder at a path: a diffusers `vae` folder, or a .safetensors file of TAEHV.
 * @throws UnsupportedError for another class or layer list, naming it; Error when weights are missing.
 */
export async function loadVae(path: string, device: CpuDevice): Promise<VideoDecoder> {
  const weights = await openWeights(path);
  try {
    return streamedDecoder(await recognise(path, weights), weights, device);
  } catch (error) {
    await weights.close();
    throw error;
  }
}

async function recognise(path: string, weights: Weights): Promise<StagedDecoder> {
  if ((await stat(path)).isFile()) return taehvDecoder(detectTaehv(weights), weights);
  const json = await readJson(join(path, 'config.json'));
  if (json._class_name === 'AutoencoderKLWan') return wanDecoder(readWanVaeConfig(json));
  if (json._class_name === 'AutoencoderTinyWan') return taehvDecoder(readTinyWanConfig(json, weights), weights);
  throw new UnsupportedError(
    `VAE class ${json._class_name} in ${path} is not supported; AutoencoderKLWan, AutoencoderTinyWan and TAEHV files are`,
  );
}
