// TAEHV (github.com/madebyollin/taehv): a small causal decoder of 2D convolutions that looks one frame back. It reads published single
// files (taew2_1, taew2_2) and the folder form of the embedded model (AutoencoderTinyWan), whose config.json lists its layers.
import { type Config, integer, numbers } from '../dit/config.ts';
import { type Tracer, trace, type Value } from '../dit/graph.ts';
import type { Weights } from '../dit/weights.ts';
import { UnsupportedError } from '../errors.ts';
import { pixelShuffle } from './pixels.ts';
import type { StagedDecoder } from './stream.ts';

const KINDS = ['Clamp', 'Conv2d', 'ReLU', 'MemBlock', 'Upsample', 'TGrow', 'PixelShuffle'] as const;
type Kind = (typeof KINDS)[number];

/** One layer; its number in the list is that in its keys, `decoder.<number>`. */
export interface TaehvLayer {
  readonly kind: Kind;
  /** Output channels of a Conv2d. */
  readonly out?: number;
  readonly bias?: boolean;
  /** Frames that a TGrow makes of one. */
  readonly stride?: number;
}

export interface TaehvConfig {
  readonly layers: readonly TaehvLayer[];
  readonly channels: number;
  /** Pixels that the last convolution gives per cell, along height and width. */
  readonly patch: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/** Layers of the published decoders for latents with 4 frames and 8 x 8 pixels a cell. */
const PUBLISHED: readonly Kind[] = [
  ...(['Clamp', 'Conv2d', 'ReLU'] as const),
  ...[1, 2, 3].flatMap(() => ['MemBlock', 'MemBlock', 'MemBlock', 'Upsample', 'TGrow', 'Conv2d'] as const),
  ...(['ReLU', 'Conv2d'] as const),
];
const PUBLISHED_STRIDES = [1, 2, 2];

/**
 * Recognises the decoder in a single TAEHV file by its keys.
 * @throws UnsupportedError for another layer list, such as the `_super` files have.
 */
export function detectTaehv(weights: Weights): TaehvConfig {
  const found = new Map<number, Set<string>>();
  for (const name of weights.tensors.keys()) {
    const [part, index, ...rest] = name.split('.');
    if (part === 'decoder') found.set(Number(index), (found.get(Number(index)) ?? new Set()).add(rest.join('.')));
  }
  const fits = PUBLISHED.every((kind, index) => kindOf(found.get(index)) === (WEIGHTED.has(kind) ? kind : undefined));
  if (!fits || [...found.keys()].some((index) => !(index < PUBLISHED.length)))
    throw new UnsupportedError(
      `${weights.source} is not a TAEHV decoder of the layers of taew2_1 or taew2_2 (the *_super files have others); use one of these two`,
    );
  return withShapes(weights, PUBLISHED, PUBLISHED_STRIDES);
}

const WEIGHTED: ReadonlySet<Kind> = new Set(['Conv2d', 'MemBlock', 'TGrow'] as const);

function kindOf(keys: ReadonlySet<string> | undefined): Kind | undefined {
  if (keys?.has('weight')) return 'Conv2d';
  if (keys?.has('conv.weight')) return 'TGrow';
  return keys?.has('conv.0.weight') ? 'MemBlock' : undefined;
}

/**
 * Reads config.json of an AutoencoderTinyWan.
 * @throws UnsupportedError for a layer that is not TAEHV's.
 */
export function readTinyWanConfig(json: Config, weights: Weights): TaehvConfig {
  const kinds = Array.isArray(json.layers) ? json.layers : [];
  const stray = kinds.find((kind) => !KINDS.includes(kind));
  if (kinds.length === 0 || stray !== undefined)
    throw new UnsupportedError(
      `layers of AutoencoderTinyWan must be a list of ${KINDS.join(', ')}; got ${JSON.stringify(stray ?? json.layers)}`,
    );
  const config = withShapes(weights, kinds as Kind[], numbers(json, 'decoder_time'));
  const { channels } = config;
  const patch = integer(json, 'patch_size', 1);
  if (patch !== config.patch)
    throw new RangeError(
      `patch_size is ${patch}, but the last convolution of ${weights.source} makes ${config.patch} x ${config.patch} pixels`,
    );
  return { ...config, mean: numbers(json, 'latents_mean', undefined, channels), std: numbers(json, 'latents_std', undefined, channels) };
}

/** Completes a list of layers with the sizes of their weights. */
function withShapes(weights: Weights, kinds: readonly Kind[], strides: readonly number[]): TaehvConfig {
  let grown = 0;
  const layers = kinds.map((kind, index): TaehvLayer => {
    if (kind === 'Conv2d')
      return { kind, out: weights.get(`decoder.${index}.weight`).shape[0], bias: weights.has(`decoder.${index}.bias`) };
    return kind === 'TGrow' ? { kind, stride: strides[grown++] } : { kind };
  });
  if (grown !== strides.length)
    throw new RangeError(`the decoder has ${grown} TGrow layers, but ${strides.length} time factors [${strides}]`);
  const first = kinds.indexOf('Conv2d');
  const colours = layers[kinds.lastIndexOf('Conv2d')].out!;
  const patch = Math.sqrt(colours / 3);
  if (!Number.isInteger(patch)) throw new UnsupportedError(`a decoder that ends in ${colours} channels does not make RGB frames`);
  return { layers, patch, channels: weights.get(`decoder.${first}.weight`).shape[1] };
}

/** The widest activation of one run stays near this size: a CPU reads it back from a cache close to its cores, a GPU wants enough to fill it. */
export const RUN_BYTES = { cpu: 64 * 2 ** 20, webgpu: 256 * 2 ** 20 } as const;
const MOST_FRAMES = 4;

/** The decoder as one stage that takes up to four latent frames: its caches are small. */
export function taehvDecoder(config: TaehvConfig, weights: Weights, runBytes: number = RUN_BYTES.cpu): StagedDecoder {
  const { layers, patch, channels } = config;
  const upsampled = 2 ** layers.filter(({ kind }) => kind === 'Upsample').length;
  const temporal = layers.reduce((product, { stride = 1 }) => product * stride, 1);
  const widest = Math.max(...layers.slice(layers.findLastIndex(({ kind }) => kind === 'MemBlock')).map(({ out = 0 }) => out));
  const bytesPerCell = 4 * widest * temporal * upsampled ** 2;
  return {
    spatial: upsampled * patch,
    temporal,
    channels,
    ...(config.mean && { mean: config.mean }),
    ...(config.std && { std: config.std }),
    trim: temporal - 1,
    strips: (_height, width) => [{ axis: 3, start: 0, end: width, size: width }],
    stages: (height, width) => [
      {
        most: Math.max(1, Math.min(MOST_FRAMES, Math.floor(runBytes / (bytesPerCell * height * width)))),
        firstApart: false,
        trace: (shape) => trace((tracer) => decode(tracer, config, weights, shape)),
      },
    ],
  };
}

function decode(g: Tracer, { layers, patch }: TaehvConfig, weights: Weights, shape: readonly number[]): Record<string, Value> {
  const caches: Record<string, Value> = {};
  let x = g.input('frames', shape);
  for (const [index, layer] of layers.entries()) {
    const name = `decoder.${index}`;
    if (layer.kind === 'Clamp') x = g.mul(g.activate(g.mul(x, g.constant(1 / 3)), 'tanh'), g.constant(3));
    if (layer.kind === 'ReLU') x = g.activate(x, 'relu');
    if (layer.kind === 'Conv2d') x = conv3(g, x, name, layer.out!, layer.bias);
    if (layer.kind === 'MemBlock') x = memBlock(g, x, name, caches);
    // Copies of a pixel grow to the same frames: growing first does the work once.
    if (layer.kind === 'Upsample' && layers[index + 1]?.kind !== 'TGrow') x = g.upsample(x, [1, 1, 2, 2]);
    if (layer.kind === 'TGrow') {
      x = grow(g, x, name, layer.stride!, weights);
      if (layers[index - 1]?.kind === 'Upsample') x = g.upsample(x, [1, 1, 2, 2]);
    }
  }
  return { frames: g.clip(pixelShuffle(g, x, patch, 'rows'), 0, 1), ...caches };
}

function conv3(g: Tracer, x: Value, name: string, out: number, bias = true): Value {
  const weight = g.weight(`${name}.weight`, [out, x.shape[1], 3, 3]);
  return g.conv(x, weight, bias ? g.weight(`${name}.bias`, [out]) : undefined, { pads: [1, 1, 1, 1] });
}

/** Three convolutions of each frame beside the one before it, and a skip. Leaves the last frame for the next chunk. */
function memBlock(g: Tracer, x: Value, name: string, caches: Record<string, Value>): Value {
  const [frames, channels] = x.shape;
  const key = `cache.${name}`;
  const before = g.input(key, [1, ...x.shape.slice(1)]);
  const past = frames === 1 ? before : g.concat([before, g.slice(x, 0, 0, frames - 1)], 0);
  caches[key] = g.slice(x, 0, frames - 1, frames);
  let y = g.activate(conv3(g, g.concat([x, past], 1), `${name}.conv.0`, channels), 'relu');
  y = g.activate(conv3(g, y, `${name}.conv.2`, channels), 'relu');
  return g.activate(g.add(conv3(g, y, `${name}.conv.4`, channels), x), 'relu');
}

/** Each frame becomes `stride` frames by a 1 x 1 convolution; of a weight made for more frames the last rows count. */
function grow(g: Tracer, x: Value, name: string, stride: number, weights: Weights): Value {
  const [frames, channels, height, width] = x.shape;
  const rows = weights.get(`${name}.conv.weight`).shape[0];
  let weight = g.weight(`${name}.conv.weight`, [rows, channels, 1, 1]);
  if (rows > channels * stride) weight = g.slice(weight, 0, rows - channels * stride, rows);
  return g.reshape(g.conv(x, weight, undefined), [frames * stride, channels, height, width]);
}
