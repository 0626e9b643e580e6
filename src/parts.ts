// A loaded checkpoint, and what it makes of settings: shapes, guidance, sampler, which transformer is due, what is held.

import type { OpenedDevice } from './device.ts';
import type { GenerationDefaults, ModelIndex } from './dit/config.ts';
import type { Expert, Guidance } from './dit/denoise.ts';
import type { ProgramBytes } from './dit/executor.ts';
import { createSampler, type Sampler } from './dit/sampler.ts';
import type { Transformer } from './dit/transformer.ts';
import type { Settings } from './options.ts';
import type { Grid } from './sparse3d/plan.ts';
import type { Tokenizer } from './text/tokenizer.ts';
import type { VideoDecoder } from './vae/index.ts';

/** Parts of a loaded checkpoint. */
export interface Parts {
  readonly index: ModelIndex;
  readonly defaults: GenerationDefaults;
  readonly device: OpenedDevice;
  readonly tokenizer: Tokenizer;
  readonly transformer: Transformer;
  readonly transformer2?: Transformer;
  /** Timestep below which the second transformer takes over. */
  readonly boundary: number;
  readonly vae: VideoDecoder;
  readonly scheduler: Readonly<Record<string, unknown>>;
}

/** [channels, frames, height, width] of a run's latents. */
export function latentShape({ vae, transformer }: Parts, { height, width, numFrames }: Settings): [number, number, number, number] {
  return [transformer.config.inChannels, Math.floor((numFrames - 1) / vae.temporal) + 1, height / vae.spatial, width / vae.spatial];
}

/** The token grid of a run. */
export function gridOf(parts: Parts, settings: Settings): Grid {
  const [, frames, height, width] = latentShape(parts, settings);
  return parts.transformer.grid({ frames, height, width });
}

/** Guidance of a run, for each transformer. */
export function guidanceOf(parts: Parts, settings: Settings): Guidance {
  return {
    scale: settings.guidanceScale,
    ...(parts.transformer2 && { lowNoiseScale: settings.guidanceScale2 }),
    interval: settings.guidanceInterval,
  };
}

/**
 * A forward whose values take less leaves a GPU waiting for launches, so both guidance branches run as one batch of two. Larger forwards fill
 * it: a batch would only take twice the memory.
 */
const BATCHED_BYTES = 2 ** 28;

/** Whether both guidance branches of a step run as one batch. */
export function isBatched(parts: Parts, settings: Settings): boolean {
  const bytes = forwardBytes(parts, settings);
  return bytes !== undefined && bytes.values < BATCHED_BYTES;
}

/** What a forward takes on the device; undefined on the CPU. */
export const forwardBytes = (parts: Parts, settings: Settings): ProgramBytes | undefined =>
  parts.transformer.deviceBytes(latentShape(parts, settings), settings.maxSequenceLength);

/** The sampler of one run. */
export function samplerOf(parts: Parts, { numInferenceSteps: steps, flowShift }: Settings): Sampler {
  return createSampler(parts.scheduler, { steps, ...(flowShift !== undefined && { flowShift }) });
}

/** Larger weights make room for the decoder: the seconds to load them again are little beside a run of such a model. */
const HELD_BYTES = { cpu: 1e9, webgpu: 4e9 } as const;

/** Whether the transformer stays loaded while frames are decoded, for the next call: where it is small. */
export function isHeld({ device: { report }, transformer }: Parts): boolean {
  return (report.dtype === 'f16' ? 2 : 4) * transformer.parameters <= HELD_BYTES[report.name];
}

/** Above the boundary the first transformer works, below it the second; the one that is done gives its memory back. */
export function transformerAt({ transformer, transformer2, boundary }: Parts): (timestep: number) => Promise<Expert> {
  return async (timestep) => {
    if (!transformer2 || timestep >= boundary) return { transformer, lowNoise: false };
    await transformer.release();
    return { transformer: transformer2, lowNoise: true };
  };
}

/** Opens a GPU anew that was lost since the last run; what was loaded on it is loaded again. */
export async function revive({ device, transformer, transformer2 }: Parts): Promise<void> {
  if (device.lost() === undefined) return;
  if (!device.renew) throw new Error(lossOf(device));
  await transformer.release();
  await transformer2?.release();
  await device.renew();
}

/** Says what happened to the GPU, and what to do. */
export const lossOf = (device: OpenedDevice): string =>
  `the GPU was lost (${device.lost()}); ${device.renew ? 'call the pipeline again: it opens the GPU anew' : 'open the pipeline again'}`;
