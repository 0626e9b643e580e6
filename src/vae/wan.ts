// AutoencoderKLWan (Wan 2.1 and 2.2), decoder only. Frames lie in the batch axis and a causal 3D convolution is a 2D one over the channels
// of three neighbouring frames: the same sums, but on ONNX Runtime's fast 2D path.
import { boolean, type Config, integer, number, numbers } from '../dit/config.ts';
import { type Tracer, trace, type Value } from '../dit/graph.ts';
import { UnsupportedError } from '../errors.ts';
import type { Chunk, ChunkedDecoder } from './stream.ts';

/** Fields of config.json that shape the decoder. */
export interface WanVaeConfig {
  readonly base: number;
  readonly channels: number;
  readonly multipliers: readonly number[];
  readonly blocks: number;
  /** For each up block but the last: does it double the frames? */
  readonly temporal: readonly boolean[];
  /** Wan 2.2: up blocks with a shortcut around them. */
  readonly residual: boolean;
  readonly outChannels: number;
  readonly patch: number;
  readonly spatial: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

const MEAN = [
  -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
];
const STD = [2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916];

/**
 * Reads config.json of an AutoencoderKLWan; missing fields are those of Wan 2.1.
 * @throws UnsupportedError for attention inside the scales, which no published checkpoint has.
 */
export function readWanVaeConfig(json: Config): WanVaeConfig {
  const scales = numbers(json, 'attn_scales', []);
  if (scales.length > 0) throw new UnsupportedError(`attn_scales [${scales}] of AutoencoderKLWan is not supported; it must be empty`);
  const multipliers = numbers(json, 'dim_mult', [1, 2, 4, 4]);
  const channels = integer(json, 'z_dim', 16);
  const down = json.temperal_downsample ?? [false, true, true];
  if (!Array.isArray(down) || down.length !== multipliers.length - 1)
    throw new RangeError(
      `temperal_downsample needs ${multipliers.length - 1} entries for dim_mult [${multipliers}], got ${JSON.stringify(down)}`,
    );
  const patch = integer(json, 'patch_size', 1);
  return {
    base: number(json, 'decoder_base_dim', number(json, 'base_dim', 96)),
    channels,
    multipliers,
    blocks: integer(json, 'num_res_blocks', 2),
    temporal: down.map(Boolean).reverse(),
    residual: boolean(json, 'is_residual', false),
    outChannels: integer(json, 'out_channels', 3),
    patch,
    spatial: 2 ** (multipliers.length - 1) * patch,
    mean: numbers(json, 'latents_mean', MEAN, channels),
    std: numbers(json, 'latents_std', STD, channels),
  };
}

/** The decoder in pieces: the first latent frame alone, because it is never doubled in time, then one at a time. */
export function wanDecoder(config: WanVaeConfig): ChunkedDecoder {
  return {
    spatial: config.spatial,
    temporal: 2 ** config.temporal.filter(Boolean).length,
    channels: config.channels,
    mean: config.mean,
    std: config.std,
    trim: 0,
    firstApart: true,
    chunks: (frames) => new Array(frames).fill(1),
    trace: (chunk) => trace((tracer) => decode(tracer, config, chunk)),
  };
}

/** What the layers of one Program share: the tracer, the caches they leave behind, and whether this chunk opens the video. */
interface Layers {
  readonly g: Tracer;
  readonly first: boolean;
  readonly caches: Record<string, Value>;
}

function decode(g: Tracer, config: WanVaeConfig, { frames, height, width, first }: Chunk): Record<string, Value> {
  const layers: Layers = { g, first, caches: {} };
  const { base, channels, multipliers, blocks, residual } = config;
  const last = multipliers.length - 1;
  const widths = [multipliers[last], ...multipliers.toReversed()].map((multiplier) => base * multiplier);
  let x = g.input('latents', [frames, channels, height, width]);
  x = pointwise(layers, x, 'post_quant_conv', channels, [1, 1, 1]);
  x = causal(layers, x, 'decoder.conv_in', widths[0]);
  x = resnet(layers, x, 'decoder.mid_block.resnets.0', widths[0]);
  x = attention(layers, x, 'decoder.mid_block.attentions.0');
  x = resnet(layers, x, 'decoder.mid_block.resnets.1', widths[0]);
  for (let index = 0; index <= last; index++) {
    const name = `decoder.up_blocks.${index}`;
    const out = widths[index + 1];
    const doubled = index < last && config.temporal[index];
    const entered = x;
    for (let block = 0; block <= blocks; block++) x = resnet(layers, x, `${name}.resnets.${block}`, out);
    if (index === last) continue;
    x = upsample(layers, x, residual ? `${name}.upsampler` : `${name}.upsamplers.0`, residual ? out : out / 2, doubled);
    if (residual) x = g.add(x, repeated(layers, entered, out, doubled ? 2 : 1));
  }
  x = g.activate(norm(layers, x, 'decoder.norm_out', 3), 'silu');
  x = unpatchify(g, causal(layers, x, 'decoder.conv_out', config.outChannels), config.patch);
  const video = g.clip(g.add(g.mul(x, g.constant(0.5)), g.constant(0.5)), 0, 1);
  return { frames: video, ...layers.caches };
}

/** x with the frames of `cache.<name>` (as many as a kernel of 3 looks back) in front; leaves the last two frames for the next chunk. */
function remembered({ g, caches }: Layers, x: Value, name: string): Value {
  const key = `cache.${name}`;
  const all = g.concat([g.input(key, [2, ...x.shape.slice(1)]), x], 0);
  caches[key] = g.slice(all, 0, x.shape[0], x.shape[0] + 2);
  return all;
}

/** Causal convolution, kernel 3 in time and `size` in space: weight [out, in, 3, size, size] over [frames + 2, in, h, w] -> [frames, out, h, w]. */
function overTime(g: Tracer, all: Value, name: string, out: number, size: number): Value {
  const frames = all.shape[0] - 2;
  const channels = all.shape[1];
  const neighbours = g.concat(
    [0, 1, 2].map((offset) => g.slice(all, 0, offset, offset + frames)),
    1,
  );
  const stored = g.weight(`${name}.weight`, [out, channels, 3, size, size]);
  const weight = g.reshape(g.transpose(stored, [0, 2, 1, 3, 4]), [out, 3 * channels, size, size]);
  return g.conv(neighbours, weight, g.weight(`${name}.bias`, [out]), { pads: new Array(4).fill((size - 1) / 2) });
}

const causal = (layers: Layers, x: Value, name: string, out: number): Value =>
  overTime(layers.g, remembered(layers, x, name), name, out, 3);

/** 1 x 1 convolution whose weight is stored with `ones` behind [out, in]. */
function pointwise({ g }: Layers, x: Value, name: string, out: number, ones: readonly number[]): Value {
  const weight = g.reshape(g.weight(`${name}.weight`, [out, x.shape[1], ...ones]), [out, x.shape[1], 1, 1]);
  return g.conv(x, weight, g.weight(`${name}.bias`, [out]));
}

/** x / |x| over channels, times sqrt(channels) and gamma, which is stored as [channels, 1, ...] with `ones` ones. */
function norm({ g }: Layers, x: Value, name: string, ones: number): Value {
  const channels = x.shape[1];
  const gamma = g.reshape(g.weight(`${name}.gamma`, [channels, ...new Array(ones).fill(1)]), [channels, 1, 1]);
  return g.mul(g.mul(g.normalize(x, 1), g.constant(Math.sqrt(channels))), gamma);
}

function resnet(layers: Layers, x: Value, name: string, out: number): Value {
  const { g } = layers;
  let y = causal(layers, g.activate(norm(layers, x, `${name}.norm1`, 3), 'silu'), `${name}.conv1`, out);
  y = causal(layers, g.activate(norm(layers, y, `${name}.norm2`, 3), 'silu'), `${name}.conv2`, out);
  return g.add(y, x.shape[1] === out ? x : pointwise(layers, x, `${name}.conv_shortcut`, out, [1, 1, 1]));
}

/** Self-attention over the pixels of each frame, one head. */
function attention(layers: Layers, x: Value, name: string): Value {
  const { g } = layers;
  const [frames, channels, height, width] = x.shape;
  const qkv = pointwise(layers, norm(layers, x, `${name}.norm`, 2), `${name}.to_qkv`, 3 * channels, [1, 1]);
  const [q, k, v] = [0, 1, 2].map((part) => {
    const own = g.slice(qkv, 1, part * channels, (part + 1) * channels);
    return g.transpose(g.reshape(own, [frames, 1, channels, height * width]), [0, 1, 3, 2]);
  });
  const attended = g.transpose(g.softmaxAttention(q, k, v, channels ** -0.5), [0, 1, 3, 2]);
  return g.add(x, pointwise(layers, g.reshape(attended, x.shape), `${name}.proj`, channels, [1, 1]));
}

/** Doubles height and width, and with `doubled` the frames: [frames, c, h, w] -> [frames or 2 * frames, out, 2h, 2w]. */
function upsample(layers: Layers, x: Value, name: string, out: number, doubled: boolean): Value {
  const { g } = layers;
  const y = g.upsample(doubled ? doubleFrames(layers, x, `${name}.time_conv`) : x, [1, 1, 2, 2]);
  const weight = g.weight(`${name}.resample.1.weight`, [out, x.shape[1], 3, 3]);
  return g.conv(y, weight, g.weight(`${name}.resample.1.bias`, [out]), { pads: [1, 1, 1, 1] });
}

/** Each frame becomes two, by a convolution in time; the first frame of the video passes as it is, and is not in the history of the others. */
function doubleFrames(layers: Layers, x: Value, name: string): Value {
  const { g, first } = layers;
  const [frames, channels, height, width] = x.shape;
  if (first && frames === 1) return x;
  const rest = first ? g.slice(x, 0, 1, frames) : x;
  const pairs = overTime(g, remembered(layers, rest, name), name, 2 * channels, 1);
  const doubled = g.reshape(pairs, [2 * rest.shape[0], channels, height, width]);
  return first ? g.concat([g.slice(x, 0, 0, 1), doubled], 0) : doubled;
}

/** The shortcut of a residual up block: channels repeated and spread over `time` frames and 2 x 2 pixels; the first frame of a video stays single. */
function repeated({ g, first }: Layers, x: Value, out: number, time: number): Value {
  const [frames, channels, height, width] = x.shape;
  const wide = g.repeat(x, 1, (out * time * 4) / channels);
  const parts = g.transpose(g.reshape(wide, [frames, out, time, 2, 2, height, width]), [0, 2, 1, 5, 3, 6, 4]);
  const spread = g.reshape(parts, [frames * time, out, 2 * height, 2 * width]);
  return first && time > 1 ? g.slice(spread, 0, time - 1, frames * time) : spread;
}

/** Channels -> pixels: [n, c * patch^2, h, w] -> [n, c, h * patch, w * patch], stored as (c, column, row). */
function unpatchify(g: Tracer, x: Value, patch: number): Value {
  if (patch === 1) return x;
  const [frames, channels, height, width] = x.shape;
  const out = channels / patch ** 2;
  const parts = g.transpose(g.reshape(x, [frames, out, patch, patch, height, width]), [0, 1, 4, 3, 5, 2]);
  return g.reshape(parts, [frames, out, height * patch, width * patch]);
}
