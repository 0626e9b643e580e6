// Streams a video decoder: a few latent frames at a time through Programs whose causal caches are inputs and outputs, so that memory does
// not grow with the length of the video.
import type { CpuDevice } from '../backend/cpu.ts';
import type { Program } from '../dit/graph.ts';
import { compile, type Executable } from '../dit/onnx/executor.ts';
import type { Weights } from '../dit/weights.ts';
import { elements, type Tensor } from '../tensor.ts';

/** Frames of a decoded video: data [frames, 3, height, width] in [0, 1]. */
export interface DecodedFrames {
  readonly data: Float32Array;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
}

/** How latents and video relate. */
interface LatentFormat {
  /** Pixels per latent cell, along height and width. */
  readonly spatial: number;
  /** Frames per latent frame; F latent frames become temporal * (F - 1) + 1 frames. */
  readonly temporal: number;
  /** Latent channels. */
  readonly channels: number;
  /** Statistics that `decode` undoes, per channel: z = latents * std + mean. Absent when latents are decoded as they are. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** A VAE decoder bound to its weights. */
export interface VideoDecoder extends LatentFormat {
  /** Decodes denoised latents [channels, frames, height, width] to frames in order, a few at a time. */
  decode(latents: Float32Array, shape: readonly number[], options?: { readonly signal?: AbortSignal }): AsyncIterable<DecodedFrames>;
  dispose(): Promise<void>;
}

/** One piece of a video: `frames` latent frames of height x width; `first` opens the video. */
export interface Chunk {
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly first: boolean;
}

/**
 * A decoder in pieces. Its Programs take `latents` [frames, channels, height, width] and `cache.*` (zeros before the first chunk), and give
 * `frames` [n, 3, h, w] in [0, 1] and the caches for the next chunk; a cache that a chunk leaves out keeps its value.
 */
export interface ChunkedDecoder extends LatentFormat {
  /** Numbers of latent frames in each chunk of a video. */
  chunks(frames: number, height: number, width: number): readonly number[];
  trace(chunk: Chunk): Program;
  /** The first chunk has a Program of its own. */
  readonly firstApart: boolean;
  /** Frames at the start of the video that are computed but not part of it. */
  readonly trim: number;
}

/** Binds a chunked decoder to weights. */
export function streamedDecoder(decoder: ChunkedDecoder, weights: Weights, device: CpuDevice): VideoDecoder {
  const { spatial, temporal, channels, mean, std } = decoder;
  return {
    spatial,
    temporal,
    channels,
    ...(mean && { mean }),
    ...(std && { std }),
    decode: (latents, shape, options = {}) => decode(decoder, weights, device, latents, shape, options.signal),
    dispose: () => weights.close(),
  };
}

async function* decode(
  decoder: ChunkedDecoder,
  weights: Weights,
  device: CpuDevice,
  latents: Float32Array,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<DecodedFrames> {
  const [channels, frames, height, width] = shape;
  if (shape.length !== 4 || channels !== decoder.channels || elements(shape) !== latents.length)
    throw new RangeError(
      `latents of shape [${shape}] (${latents.length} numbers) cannot be decoded; this decoder takes [${decoder.channels}, frames, height, width]`,
    );
  const caches = new Map<string, Tensor>();
  let loaded: { key: string; program: Program; executable: Executable } | undefined;
  let start = 0;
  try {
    for (const count of decoder.chunks(frames, height, width)) {
      signal?.throwIfAborted();
      const first = start === 0;
      const key = `${count} ${first && decoder.firstApart}`;
      if (loaded?.key !== key) {
        // Chunks of a kind follow each other, so the weights are held once.
        await loaded?.executable.dispose();
        const program = decoder.trace({ frames: count, height, width, first });
        loaded = { key, program, executable: await compile(program, weights, device, { arena: false }) };
      }
      const inputs: Record<string, Tensor> = Object.fromEntries(cacheInputs(loaded.program, caches, device));
      inputs.latents = device.upload(framesOf(latents, shape, start, count, decoder), [count, channels, height, width]);
      const { frames: output, ...next } = loaded.executable.run(inputs);
      for (const [name, tensor] of Object.entries(next)) caches.set(name, tensor);
      yield trimmed((await device.read(output)) as Float32Array, output.shape, first ? decoder.trim : 0);
      start += count;
    }
  } finally {
    await loaded?.executable.dispose();
  }
}

function trimmed(data: Float32Array, [frames, planes, height, width]: readonly number[], trim: number): DecodedFrames {
  return { data: data.subarray(trim * planes * height * width), frames: frames - trim, height, width };
}

function* cacheInputs(program: Program, caches: Map<string, Tensor>, device: CpuDevice): Generator<[string, Tensor]> {
  for (const { operation, shape } of program.nodes)
    if (operation.op === 'input' && operation.name.startsWith('cache.'))
      yield [operation.name, caches.get(operation.name) ?? device.upload(new Float32Array(elements(shape)), shape)];
}

/** Latent frames start..start+count as [count, channels, height, width], with the statistics undone. */
function framesOf(
  latents: Float32Array,
  [channels, frames, height, width]: readonly number[],
  start: number,
  count: number,
  { mean, std }: ChunkedDecoder,
): Float32Array {
  const plane = height * width;
  const z = new Float32Array(count * channels * plane);
  for (let frame = 0; frame < count; frame++)
    for (let channel = 0; channel < channels; channel++) {
      const from = (channel * frames + start + frame) * plane;
      const to = (frame * channels + channel) * plane;
      const [scale, shift] = [std?.[channel] ?? 1, mean?.[channel] ?? 0];
      for (let i = 0; i < plane; i++) z[to + i] = latents[from + i] * scale + shift;
    }
  return z;
}

/** Cuts `frames` in the fewest parts of at most `limit`, as even as possible. */
export function evenChunks(frames: number, limit: number): number[] {
  const parts = Math.ceil(frames / limit);
  return Array.from({ length: parts }, (_, part) => Math.floor(frames / parts) + (part < frames % parts ? 1 : 0));
}
