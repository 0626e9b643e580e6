// AutoencoderKLWan (Wan 2.1 and 2.2), decoder only. Frames lie in the batch axis and a causal 3D convolution is a sum of 2D ones, which are
// ONNX Runtime's fast path. Norms look along channels alone, so all but the middle can work on a strip of the picture with a margin.
import { type Tracer, trace, type Value } from '../dit/graph.ts';
import { workingBytes } from './memory.ts';
import { pixelShuffle } from './pixels.ts';
import type { Stage, StagedDecoder, Strip } from './stream.ts';
import type { WanVaeConfig } from './wan-config.ts';

/** Working memory that strips are cut for: a GPU's is not the host's, and there the margins of many strips take time that memory does not. */
export const STRIP_BYTES = { cpu: 1.25e9, webgpu: 2.5e9 } as const;
/** Two frames share products, see `overTime`. */
const PAIR = 2;

/** The decoder as a chain of stages: the small middle, which sees the whole picture, then one for each block, which see a strip. */
export function wanDecoder(config: WanVaeConfig, stripBytes: number = STRIP_BYTES.cpu): StagedDecoder {
  const stages = (strip: Strip): Stage[] => {
    const window = windowOf(config, strip);
    return layersOf(config, strip, window).map((layer) => ({
      most: PAIR,
      firstApart: true,
      trace: (shape, first) =>
        trace((g) => {
          const caches: Record<string, Value> = {};
          const frames = layer({ g, first, caches, axis: strip.axis, open: window.open }, g.input('frames', shape));
          return { frames, ...caches };
        }),
    }));
  };
  return {
    spatial: config.spatial,
    temporal: 2 ** config.temporal.filter(Boolean).length,
    channels: config.channels,
    mean: config.mean,
    std: config.std,
    trim: 0,
    stages: (_height, _width, strip) => stages(strip),
    strips(height, width) {
      const size = Math.max(height, width);
      const { cells: margin } = margins(config);
      // Thinner strips would be margins for the most part.
      const most = Math.max(1, Math.floor((2 * (size - 2 * margin)) / margin));
      for (let count = 1; ; count++) {
        const strips = cut(width >= height ? 3 : 2, size, count);
        // The second strip has a margin on both sides.
        if (count === most || workingBytes(stages(strips[Math.min(1, count - 1)]), [PAIR, config.channels, height, width]) <= stripBytes)
          return strips;
      }
    },
  };
}

function cut(axis: 2 | 3, size: number, count: number): Strip[] {
  const border = (index: number): number => Math.round((size * index) / count);
  return Array.from({ length: count }, (_, index) => ({ axis, start: border(index), end: border(index + 1), size }));
}

/** Cells that a strip needs beyond its ends, at first those that the convolutions behind use up, and what is left of them in pixels. */
export function margins({ multipliers, blocks, patch }: WanVaeConfig): { readonly cells: number; readonly left: number } {
  for (let cells = 1; ; cells++) {
    let left = cells;
    for (let index = 0; index < multipliers.length; index++) {
      left -= 2 * (blocks + 1);
      if (index < multipliers.length - 1) left = 2 * left - 1;
    }
    if (left >= 1) return { cells, left: (left - 1) * patch };
  }
}

/** A strip with its margins: cells [start, end), where the picture goes on beyond them, and pixels of the result that lie before the strip. */
interface Window {
  readonly start: number;
  readonly end: number;
  readonly open: readonly [boolean, boolean];
  readonly before: number;
}

function windowOf(config: WanVaeConfig, strip: Strip): Window {
  const { cells, left } = margins(config);
  const open = [strip.start > cells, strip.end + cells < strip.size] as const;
  return {
    start: open[0] ? strip.start - cells : 0,
    end: open[1] ? strip.end + cells : strip.size,
    open,
    before: open[0] ? left : strip.start * config.spatial,
  };
}

/** What the layers of one Program share. */
interface Layers {
  readonly g: Tracer;
  /** This piece opens the video: it is one frame with nothing before it. */
  readonly first: boolean;
  /** What the next piece has to know. */
  readonly caches: Record<string, Value>;
  /** The axis along which x is a strip, and whether the picture goes on before its start and after its end. */
  readonly axis: 2 | 3;
  readonly open: readonly [boolean, boolean];
}

type Layer = (layers: Layers, x: Value) => Value;

const resnetOf =
  (name: string, out: number): Layer =>
  (layers, x) =>
    resnet(layers, x, name, out);

/** The decoder's layers in order; each is a stage. Those of a block with a shortcut around it stay together. */
function layersOf(config: WanVaeConfig, { axis, start, end }: Strip, window: Window): Layer[] {
  const { base, multipliers, blocks, residual, spatial } = config;
  const last = multipliers.length - 1;
  const widths = [multipliers[last], ...multipliers.toReversed()].map((multiplier) => base * multiplier);
  const ups = multipliers.flatMap((_, index): Layer[] => {
    const name = `decoder.up_blocks.${index}`;
    const out = widths[index + 1];
    const doubled = index < last && config.temporal[index];
    const parts = Array.from({ length: blocks + 1 }, (_, block) => resnetOf(`${name}.resnets.${block}`, out));
    if (index === last) return parts;
    const upsampler = residual ? `${name}.upsampler` : `${name}.upsamplers.0`;
    parts.push((layers, x) => upsample(layers, x, upsampler, residual ? out : out / 2, doubled));
    return residual ? [around(parts, out, doubled ? 2 : 1)] : parts;
  });
  return [
    (layers, x) => layers.g.slice(middle({ ...layers, open: [false, false] }, x, config, widths[0]), axis, window.start, window.end),
    ...ups,
    (layers, x) => layers.g.slice(head(layers, x, config), axis, window.before, window.before + (end - start) * spatial),
  ];
}

function middle(layers: Layers, latents: Value, { channels }: WanVaeConfig, width: number): Value {
  let x = pointwise(layers, latents, 'post_quant_conv', channels, [1, 1, 1]);
  x = causal(layers, x, 'decoder.conv_in', width);
  x = resnet(layers, x, 'decoder.mid_block.resnets.0', width);
  x = attention(layers, x, 'decoder.mid_block.attentions.0');
  return resnet(layers, x, 'decoder.mid_block.resnets.1', width);
}

function head(layers: Layers, x: Value, { outChannels, patch }: WanVaeConfig): Value {
  const { g } = layers;
  const y = causalNarrow(layers, g.activate(norm(layers, x, 'decoder.norm_out', 3), 'silu'), 'decoder.conv_out', outChannels);
  const colours = pixelShuffle(g, y, patch, 'columns');
  return g.clip(g.add(g.mul(colours, g.constant(0.5)), g.constant(0.5)), 0, 1);
}

/** An up block with a shortcut around it. */
const around =
  (parts: readonly Layer[], out: number, time: number): Layer =>
  (layers, x) => {
    const y = parts.reduce((value, part) => part(layers, value), x);
    return layers.g.add(y, within(layers, repeated(layers, x, out, time), y));
  };

/** 2D convolution by a kernel of `size`: zeros around the picture, and where it goes on the result is smaller than x. */
function convolve({ g, axis, open }: Layers, x: Value, weight: Value, bias?: Value): Value {
  const padding = (weight.shape[2] - 1) / 2;
  const pads = new Array(4).fill(padding);
  if (open[0]) pads[axis - 2] = 0;
  if (open[1]) pads[axis] = 0;
  return g.conv(x, weight, bias, { pads });
}

/** x as far as y reaches. */
function within({ g, axis, open }: Layers, x: Value, y: Value): Value {
  const surplus = x.shape[axis] - y.shape[axis];
  if (surplus === 0) return x;
  const start = open[0] ? surplus / (open[1] ? 2 : 1) : 0;
  return g.slice(x, axis, start, start + y.shape[axis]);
}

const causal = (layers: Layers, x: Value, name: string, out: number): Value => overTime(layers, x, name, out, 3);

/**
 * Causal convolution of one or two frames, kernel 3 in time and `size` in space, weight [out, in, 3, size, size]: a sum of 2D convolutions.
 * Two frames take four of them instead of six (Winograd's F(2, 3), arXiv 1509.09308, section 4.1). Leaves the last two frames for the next piece.
 */
function overTime(layers: Layers, x: Value, name: string, out: number, size: number): Value {
  const { g, first, caches } = layers;
  const [frames, channels] = x.shape;
  const stored = g.weight(`${name}.weight`, [out, channels, 3, size, size]);
  const [oldest, older, now] = [0, 1, 2].map((tap) => g.reshape(g.slice(stored, 2, tap, tap + 1), [out, channels, size, size]));
  const bias = g.weight(`${name}.bias`, [out]);
  const key = `cache.${name}`;
  if (first) {
    caches[key] = g.concat([g.mul(x, g.constant(0)), x], 0);
    return convolve(layers, x, now, bias);
  }
  const before = g.input(key, [2, ...x.shape.slice(1)]);
  const [a, b] = [g.slice(before, 0, 0, 1), g.slice(before, 0, 1, 2)];
  caches[key] = frames === 1 ? g.concat([b, x], 0) : x;
  if (frames === 1) return g.add(g.add(convolve(layers, x, now, bias), convolve(layers, b, older)), convolve(layers, a, oldest));
  const [c, d] = [g.slice(x, 0, 0, 1), g.slice(x, 0, 1, 2)];
  const half = g.constant(0.5);
  const ends = g.add(oldest, now);
  const start = convolve(layers, g.sub(a, c), oldest, bias);
  const end = convolve(layers, g.sub(d, b), now, bias);
  const sum = convolve(layers, g.add(b, c), g.mul(g.add(ends, older), half));
  const difference = convolve(layers, g.sub(c, b), g.mul(g.sub(ends, older), half));
  return g.concat([g.add(start, g.add(sum, difference)), g.add(end, g.sub(sum, difference))], 0);
}

/** The same to few channels: each frame gives its share of the three frames it counts in, and shares are remembered, which are far smaller than x. */
function causalNarrow(layers: Layers, x: Value, name: string, out: number): Value {
  const { g, first, caches } = layers;
  const [frames, channels] = x.shape;
  const stored = g.weight(`${name}.weight`, [out, channels, 3, 3, 3]);
  const weight = g.reshape(g.transpose(stored, [2, 0, 1, 3, 4]), [3 * out, channels, 3, 3]);
  const shares = convolve(layers, x, weight);
  const bias = g.reshape(g.weight(`${name}.bias`, [out]), [out, 1, 1]);
  const key = `cache.${name}`;
  caches[key] = shares;
  if (first) return g.add(g.slice(shares, 1, 2 * out, 3 * out), bias);
  const all = g.concat([g.input(key, [2, ...shares.shape.slice(1)]), shares], 0);
  caches[key] = g.slice(all, 0, frames, frames + 2);
  const [oldest, older, now] = [0, 1, 2].map((tap) => g.slice(g.slice(all, 0, tap, tap + frames), 1, tap * out, (tap + 1) * out));
  return g.add(g.add(g.add(now, bias), older), oldest);
}

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
  const shortcut = within(layers, x, y);
  return g.add(y, x.shape[1] === out ? shortcut : pointwise(layers, shortcut, `${name}.conv_shortcut`, out, [1, 1, 1]));
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
  return convolve(layers, y, weight, g.weight(`${name}.resample.1.bias`, [out]));
}

/** Each frame becomes two, by a convolution in time; the first frame of the video passes as it is, and is not in the history of the others. */
function doubleFrames(layers: Layers, x: Value, name: string): Value {
  if (layers.first) return x;
  const [frames, channels, height, width] = x.shape;
  return layers.g.reshape(overTime(layers, x, name, 2 * channels, 1), [2 * frames, channels, height, width]);
}

/** The shortcut of a residual up block: channels repeated and spread over `time` frames and 2 x 2 pixels; the first frame of a video stays single. */
function repeated({ g, first }: Layers, x: Value, out: number, time: number): Value {
  const [frames, channels, height, width] = x.shape;
  const wide = g.repeat(x, 1, (out * time * 4) / channels);
  const parts = g.transpose(g.reshape(wide, [frames, out, time, 2, 2, height, width]), [0, 2, 1, 5, 3, 6, 4]);
  const spread = g.reshape(parts, [frames * time, out, 2 * height, 2 * width]);
  return first ? g.slice(spread, 0, time - 1, time) : spread;
}
