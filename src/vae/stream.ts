// Streams a video decoder: frames flow through a chain of stages, a few at a time, and each stage remembers what a causal convolution looks
// back at. A large picture is decoded in strips, so that what is remembered stays small.
import { free } from '../backend/free.ts';
import type { Executable } from '../dit/executor.ts';
import type { Program } from '../dit/graph.ts';
import type { Weights } from '../dit/weights.ts';
import { elements, type Tensor } from '../tensor.ts';
import { compileStages } from './ahead.ts';
import { workingBytes } from './memory.ts';
import type { DecoderPlace } from './place.ts';

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
  /** Begins what `decode` of latents of this shape would else wait for; only the first time for a shape there is something to do. */
  prepare(shape: readonly number[]): Promise<void>;
  /** Bytes that `decode` needs for latents of this shape, weights included. */
  bytes(shape: readonly number[]): number;
  dispose(): Promise<void>;
}

/** A band of the picture: cells [start, end) of `size` along height (axis 2) or width (axis 3). */
export interface Strip {
  readonly axis: 2 | 3;
  readonly start: number;
  readonly end: number;
  readonly size: number;
}

/**
 * A part of a decoder with a memory of its own. Its Programs take `frames` [n, c, h, w] and `cache.*`, and give `frames` and the caches for
 * the next run. A cache is of frames before those at hand; what is missing in front, before the video, is zeros.
 */
export interface Stage {
  /** Frames of one run, at most. */
  readonly most: number;
  /** The first frame of the video is run alone, by a Program of its own. */
  readonly firstApart: boolean;
  trace(shape: readonly number[], first: boolean): Program;
}

/** A decoder as a chain of stages: the first takes latents [n, channels, height, width], the last gives colours [n, 3, h, w] in [0, 1]. */
export interface StagedDecoder extends LatentFormat {
  /** Parts of the picture that are decoded one after the other, each for the whole video: caches are as large as a strip. */
  strips(height: number, width: number): readonly Strip[];
  /** Stages that decode one strip; they take the latents of the whole picture. */
  stages(height: number, width: number, strip: Strip): readonly Stage[];
  /** Frames at the start of the video that are computed but not part of it. */
  readonly trim: number;
}

/** What all stages of a run share. */
interface Context {
  readonly weights: Weights;
  readonly place: DecoderPlace;
  readonly signal?: AbortSignal;
}

/** Binds a decoder to weights. */
export function streamedDecoder(decoder: StagedDecoder, weights: Weights, place: DecoderPlace): VideoDecoder {
  const { spatial, temporal, channels, mean, std } = decoder;
  const prepared = new Set<string>();
  return {
    spatial,
    temporal,
    channels,
    ...(mean && { mean }),
    ...(std && { std }),
    decode: (latents, shape, { signal } = {}) => decode(decoder, { weights, place, ...(signal && { signal }) }, latents, shape),
    async prepare(shape) {
      if (!prepared.has(`${shape}`)) await compileStages(decoder, place, shape);
      prepared.add(`${shape}`);
    },
    bytes: (shape) => bytes(decoder, weights, shape),
    dispose: () => weights.close(),
  };
}

function bytes(decoder: StagedDecoder, weights: Weights, [channels, frames, height, width]: readonly number[]): number {
  const strips = decoder.strips(height, width);
  const working = Math.max(...strips.map((strip) => workingBytes(decoder.stages(height, width, strip), [frames, channels, height, width])));
  const read = [...weights.tensors.values()].filter(({ name }) => !ENCODER.test(name));
  const stored = read.reduce((sum, { shape }) => sum + 4 * elements(shape), 0);
  // The first strips of all frames wait for the last one.
  const video = strips.length > 1 ? 12 * frames * decoder.temporal * height * width * decoder.spatial ** 2 : 0;
  return working + LOADED * stored + video;
}

/** Resident bytes for each byte of f32 weights, with what loading leaves behind, measured on Linux. */
const LOADED = 2.5;
/** Weights that a decoder never reads. */
const ENCODER = /^(encoder|quant_conv)\./;

async function* decode(
  decoder: StagedDecoder,
  context: Context,
  latents: Float32Array,
  shape: readonly number[],
): AsyncGenerator<DecodedFrames> {
  const [channels, frames, height, width] = shape;
  if (shape.length !== 4 || channels !== decoder.channels || elements(shape) !== latents.length)
    throw new RangeError(
      `latents of shape [${shape}] (${latents.length} numbers) cannot be decoded; this decoder takes [${decoder.channels}, frames, height, width]`,
    );
  const whole = framesOf(latents, shape, decoder);
  const strips = decoder.strips(height, width);
  if (strips.length > 1) return yield* assembled(decoder, context, whole, [frames, channels, height, width], strips);
  yield* colours(decoder, context, whole, [frames, channels, height, width], strips[0]);
}

/** Frames of a strip, a few at a time, as the last stage gives them. */
async function* colours(
  decoder: StagedDecoder,
  context: Context,
  latents: Float32Array,
  shape: readonly number[],
  strip: Strip,
): AsyncGenerator<DecodedFrames> {
  const { place } = context;
  let pieces: AsyncIterable<Tensor> = once(place.upload(latents.slice(), shape));
  for (const stage of decoder.stages(shape[2], shape[3], strip)) pieces = flow(stage, pieces, context);
  let { trim } = decoder;
  for await (const piece of pieces) {
    const [count, , height, width] = piece.shape;
    const data = await place.take(piece);
    yield { data: data.subarray(trim * 3 * height * width), frames: count - trim, height, width };
    trim = 0;
  }
}

async function* once(piece: Tensor): AsyncGenerator<Tensor> {
  yield piece;
}

/** The frames of a video in strips: they are kept until the last strip completes them. */
async function* assembled(
  decoder: StagedDecoder,
  context: Context,
  latents: Float32Array,
  shape: readonly number[],
  strips: readonly Strip[],
): AsyncGenerator<DecodedFrames> {
  const [height, width] = shape.slice(2).map((size) => size * decoder.spatial);
  const video = new Map<number, Float32Array>();
  for (const strip of strips) {
    let at = 0;
    for await (const { data, frames } of colours(decoder, context, latents, shape, strip)) {
      const size = data.length / frames;
      for (let frame = 0; frame < frames; frame++, at++) {
        const picture = video.get(at) ?? new Float32Array(3 * height * width);
        video.set(at, picture);
        paste(picture, [height, width], data.subarray(frame * size, (frame + 1) * size), strip, decoder.spatial);
        if (strip.end < strip.size) continue;
        video.delete(at);
        yield { data: picture, frames: 1, height, width };
      }
      free(data);
    }
  }
}

/** Copies the part of a frame that a strip covers, [3, h, w], to its place in the picture. */
function paste(picture: Float32Array, [height, width]: readonly number[], part: Float32Array, strip: Strip, spatial: number): void {
  const [start, end] = [strip.start * spatial, strip.end * spatial];
  const run = strip.axis === 3 ? end - start : (end - start) * width;
  const stride = strip.axis === 3 ? width : height * width;
  const offset = strip.axis === 3 ? start : start * width;
  for (let from = 0, to = offset; from < part.length; from += run, to += stride) picture.set(part.subarray(from, from + run), to);
}

/** Runs a stage over all pieces; its caches live as long. Handles are freed as soon as their last run has ended: a GPU's memory is not collected. */
async function* flow(stage: Stage, pieces: AsyncIterable<Tensor>, { weights, place, signal }: Context): AsyncGenerator<Tensor> {
  const caches = new Map<string, Tensor>();
  let waiting: Tensor[] = [];
  let loaded: { key: string; program: Program; executable: Executable } | undefined;
  let first = true;
  try {
    for await (const piece of pieces) {
      waiting = cutRows(piece, split(stage, piece.shape[0], first), place);
      for (let part = waiting[0]; part; part = waiting[0]) {
        signal?.throwIfAborted();
        const key = `${part.shape} ${first && stage.firstApart}`;
        if (loaded?.key !== key) {
          // Pieces of a kind follow each other, so the weights are held once.
          await loaded?.executable.dispose();
          const program = stage.trace(part.shape, first);
          loaded = { key, program, executable: await place.compile(program, weights) };
        }
        const result = await step(loaded, part, caches, place);
        place.release(part);
        waiting.shift();
        first = false;
        yield result;
      }
    }
  } finally {
    for (const tensor of [...waiting, ...caches.values()]) place.release(tensor);
    await place.idle();
    await loaded?.executable.dispose();
  }
}

function split({ most, firstApart }: Stage, frames: number, first: boolean): number[] {
  return first && firstApart ? [1, ...evenChunks(frames - 1, most)] : evenChunks(frames, most);
}

/** Parts of so many frames each, which take a piece's place. */
function cutRows(piece: Tensor, sizes: readonly number[], place: DecoderPlace): Tensor[] {
  if (sizes.length === 1) return [piece];
  let end = 0;
  const parts = sizes.map((size) => {
    end += size;
    return place.rows(piece, end - size, end);
  });
  place.release(piece);
  return parts;
}

/** One run of a stage. */
async function step(
  { program, executable }: { readonly program: Program; readonly executable: Executable },
  part: Tensor,
  caches: Map<string, Tensor>,
  place: DecoderPlace,
): Promise<Tensor> {
  const inputs: Record<string, Tensor> = { frames: part };
  for (const { operation, shape: wanted } of program.nodes)
    if (operation.op === 'input' && operation.name.startsWith('cache.'))
      inputs[operation.name] = await withZerosInFront(caches.get(operation.name), wanted, place);
  const { frames, ...next } = executable.run(inputs);
  for (const [name, tensor] of Object.entries(next)) {
    if (inputs[name]) place.release(inputs[name]);
    // What came in is freed by the caller, so a cache of just that is a copy.
    caches.set(name, tensor === part ? place.rows(tensor, 0, part.shape[0]) : tensor);
  }
  await place.settled(frames);
  return frames;
}

async function withZerosInFront(cache: Tensor | undefined, shape: readonly number[], place: DecoderPlace): Promise<Tensor> {
  if (cache?.shape.join() === shape.join()) return cache;
  const known = cache ? await place.take(cache) : [];
  const numbers = new Float32Array(elements(shape));
  numbers.set(known, numbers.length - known.length);
  return place.upload(numbers, shape);
}

/** Latents [channels, frames, height, width] as [frames, channels, height, width], with the statistics undone. */
function framesOf(latents: Float32Array, [channels, frames, height, width]: readonly number[], { mean, std }: LatentFormat): Float32Array {
  const plane = height * width;
  const z = new Float32Array(latents.length);
  for (let channel = 0; channel < channels; channel++) {
    const [scale, shift] = [std?.[channel] ?? 1, mean?.[channel] ?? 0];
    for (let frame = 0; frame < frames; frame++) {
      const from = (channel * frames + frame) * plane;
      const to = (frame * channels + channel) * plane;
      for (let i = 0; i < plane; i++) z[to + i] = latents[from + i] * scale + shift;
    }
  }
  return z;
}

/** Cuts `frames` in the fewest parts of at most `limit`, as even as possible. */
export function evenChunks(frames: number, limit: number): number[] {
  const parts = Math.ceil(frames / limit);
  return Array.from({ length: parts }, (_, part) => Math.floor(frames / parts) + (part < frames % parts ? 1 : 0));
}
