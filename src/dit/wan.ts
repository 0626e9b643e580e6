// WanTransformer3DModel (Wan 2.1 and 2.2 text-to-video): configuration and forward pass over the vocabulary of graph.ts.
import { type Grid, type Layout, PAD, tokensOf } from '../sparse3d/plan.ts';
import { type Program, type Tracer, trace, type Value } from './graph.ts';

/** Fields of `config.json` that shape the model; defaults are those of the published class. */
export interface WanConfig {
  /** Frames, rows and columns of latents per token. */
  readonly patch: readonly [number, number, number];
  readonly heads: number;
  readonly headDim: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly textDim: number;
  readonly freqDim: number;
  readonly ffnDim: number;
  readonly layers: number;
  readonly crossAttentionNorm: boolean;
  readonly epsilon: number;
  readonly maxPositions: number;
}

/** Shape of one forward: latents [batch, channels, frames, height, width] and text rows; `perToken` takes a timestep for each token. */
export interface WanShape {
  readonly batch: number;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly textTokens: number;
  readonly perToken?: boolean;
}

/** The token grid of latents of this size; a remainder that the patch does not cover is dropped, as in the reference. */
export function wanGrid({ patch }: WanConfig, { frames, height, width }: Pick<WanShape, 'frames' | 'height' | 'width'>): Grid {
  return { frames: Math.floor(frames / patch[0]), height: Math.floor(height / patch[1]), width: Math.floor(width / patch[2]), text: 0 };
}

/**
 * Traces one forward. Inputs: `hidden_states` [batch, channels, frames, height, width]; `time` [batch, freqDim] (or [batch, tokens, freqDim] with
 * `perToken`), the sinusoid of the timestep (see `timestepEmbedding`); `encoder_hidden_states` [batch, textTokens, textDim], constant over steps.
 * Output `sample`: velocity, shaped like the latents with `outChannels`. With a layout, tokens are in its order from the first layer to the
 * last: attention calls get and give blocked tensors.
 */
export function wanTransformer(config: WanConfig, shape: WanShape, layout?: Layout): Program {
  const grid = wanGrid(config, shape);
  return trace((g) => {
    const latents = g.input('hidden_states', [shape.batch, config.inChannels, shape.frames, shape.height, shape.width]);
    const tokens = tokensOf(grid);
    const ordered = (x: Value): Value => (layout ? g.gather(x, layout) : x);
    const time = g.input('time', shape.perToken ? [shape.batch, tokens, config.freqDim] : [shape.batch, 1, config.freqDim]);
    const text = g.input('encoder_hidden_states', [shape.batch, shape.textTokens, config.textDim], { constant: true });
    const dense = layers(g);
    const { timeEmbedding, modulation } = embedTime(g, config, shape.perToken ? ordered(time) : time);
    const context = dense(
      g.activate(dense(text, 'condition_embedder.text_embedder.linear_1', width(config)), 'gelu_tanh'),
      'condition_embedder.text_embedder.linear_2',
      width(config),
    );
    const rope = ropeTables(config, grid, layout).map((table) =>
      g.constant(table, [layout?.order.length ?? tokens, config.headDim / 2]),
    ) as [Value, Value];
    const mask = layout && maskOf(g, layout);
    let x = embedPatches(g, config, ordered(patchify(g, config, grid, latents)));
    for (let layer = 0; layer < config.layers; layer++)
      x = block(g, config, { x, context, modulation, rope, mask, grid, prefix: `blocks.${layer}` });
    const patches = head(g, config, x, timeEmbedding);
    return { sample: unpatchify(g, config, grid, shape, layout ? g.scatter(patches, layout) : patches) };
  });
}

const width = (config: WanConfig): number => config.heads * config.headDim;

/** Linear layers by their stored name. */
function layers(g: Tracer): (x: Value, name: string, out: number) => Value {
  return (x, name, out) => g.linear(x, g.weight(`${name}.weight`, [out, x.shape[x.shape.length - 1]]), g.weight(`${name}.bias`, [out]));
}

/** Time embedding [batch, 1 | tokens, dim] for the head, and its projection to six modulation vectors [batch, 1 | tokens, 6, dim] for the blocks. */
function embedTime(g: Tracer, config: WanConfig, time: Value): { timeEmbedding: Value; modulation: Value } {
  const dense = layers(g);
  const dim = width(config);
  const timeEmbedding = dense(
    g.activate(dense(time, 'condition_embedder.time_embedder.linear_1', dim), 'silu'),
    'condition_embedder.time_embedder.linear_2',
    dim,
  );
  const projected = dense(g.activate(timeEmbedding, 'silu'), 'condition_embedder.time_proj', 6 * dim);
  return { timeEmbedding, modulation: g.reshape(projected, [...projected.shape.slice(0, -1), 6, dim]) };
}

/** 1 for each slot that holds a token, 0 for the others [slots, 1]; undefined where there are none. */
function maskOf(g: Tracer, { order }: Layout): Value | undefined {
  if (!order.includes(PAD)) return undefined;
  return g.constant(
    Float32Array.from(order, (token) => (token === PAD ? 0 : 1)),
    [order.length, 1],
  );
}

/** Latents -> patch vectors [batch, tokens, channels * pt * ph * pw]. They have the channel slowest; the head's have it fastest. */
function patchify(g: Tracer, config: WanConfig, grid: Grid, latents: Value): Value {
  const [pt, ph, pw] = config.patch;
  const [batch, channels] = latents.shape;
  let x = latents;
  for (const [axis, size] of [grid.frames * pt, grid.height * ph, grid.width * pw].entries()) {
    if (x.shape[axis + 2] !== size) x = g.slice(x, axis + 2, 0, size);
  }
  x = g.reshape(x, [batch, channels, grid.frames, pt, grid.height, ph, grid.width, pw]);
  x = g.transpose(x, [0, 2, 4, 6, 1, 3, 5, 7]);
  return g.reshape(x, [batch, tokensOf(grid), channels * pt * ph * pw]);
}

/** Patch vectors -> tokens [batch, tokens, dim]. */
function embedPatches(g: Tracer, config: WanConfig, x: Value): Value {
  const dim = width(config);
  const [channels, [pt, ph, pw]] = [config.inChannels, config.patch];
  const weight = g.reshape(g.weight('patch_embedding.weight', [dim, channels, pt, ph, pw]), [dim, channels * pt * ph * pw]);
  return g.linear(x, weight, g.weight('patch_embedding.bias', [dim]));
}

interface BlockInputs {
  readonly x: Value;
  readonly context: Value;
  readonly modulation: Value;
  readonly rope: readonly [Value, Value];
  /** Zero where a slot holds no token. */
  readonly mask?: Value;
  readonly grid: Grid;
  readonly prefix: string;
}

/** Self-attention, cross-attention and feed-forward, the first and last modulated by the timestep. */
function block(g: Tracer, config: WanConfig, { x, context, modulation, prefix, ...seam }: BlockInputs): Value {
  const dense = layers(g);
  const dim = width(config);
  const table = g.add(g.weight(`${prefix}.scale_shift_table`, [1, 6, dim]), modulation);
  const [shift1, scale1, gate1, shift2, scale2, gate2] = Array.from({ length: 6 }, (_, i) => vector(g, table, i));
  const attended = selfAttention(g, config, modulate(g, g.norm(x, 'layer', config.epsilon), shift1, scale1), seam, `${prefix}.attn1`);
  let y = g.add(x, g.mul(attended, gate1));
  const normed = config.crossAttentionNorm
    ? g.norm(y, 'layer', config.epsilon, g.weight(`${prefix}.norm2.weight`, [dim]), g.weight(`${prefix}.norm2.bias`, [dim]))
    : y;
  y = g.add(y, crossAttention(g, config, normed, context, `${prefix}.attn2`));
  const hidden = g.activate(
    dense(modulate(g, g.norm(y, 'layer', config.epsilon), shift2, scale2), `${prefix}.ffn.net.0.proj`, config.ffnDim),
    'gelu_tanh',
  );
  return g.add(y, g.mul(dense(hidden, `${prefix}.ffn.net.2`, dim), gate2));
}

/** Vector i of a modulation table [batch, 1 | tokens, n, dim] as [batch, 1 | tokens, dim]. */
function vector(g: Tracer, table: Value, i: number): Value {
  const [batch, tokens, , dim] = table.shape;
  return g.reshape(g.slice(table, 2, i, i + 1), [batch, tokens, dim]);
}

function modulate(g: Tracer, x: Value, shift: Value, scale: Value): Value {
  return g.add(g.mul(x, g.add(scale, g.constant(1))), shift);
}

/** [batch, tokens, dim] -> [batch, heads, tokens, headDim]. */
function split(g: Tracer, config: WanConfig, x: Value): Value {
  const [batch, tokens] = x.shape;
  return g.transpose(g.reshape(x, [batch, tokens, config.heads, config.headDim]), [0, 2, 1, 3]);
}

/** [batch, heads, tokens, headDim] -> [batch, tokens, dim]. */
function join(g: Tracer, config: WanConfig, x: Value): Value {
  const [batch, , tokens] = x.shape;
  return g.reshape(g.transpose(x, [0, 2, 1, 3]), [batch, tokens, width(config)]);
}

/** Query, key and value; q and k are RMS-normed over the whole width before the split in heads. */
function project(g: Tracer, config: WanConfig, x: Value, context: Value, name: string): { q: Value; k: Value; v: Value } {
  const dense = layers(g);
  const dim = width(config);
  const normed = (y: Value, which: string): Value => g.norm(y, 'rms', config.epsilon, g.weight(`${name}.${which}.weight`, [dim]));
  return {
    q: split(g, config, normed(dense(x, `${name}.to_q`, dim), 'norm_q')),
    k: split(g, config, normed(dense(context, `${name}.to_k`, dim), 'norm_k')),
    v: split(g, config, dense(context, `${name}.to_v`, dim)),
  };
}

type Seam = Pick<BlockInputs, 'rope' | 'mask' | 'grid'>;

/** Rows without a token are zero in q and k by their rope tables, and in v by the mask, as methods expect of blocked tensors. */
function selfAttention(g: Tracer, config: WanConfig, x: Value, { rope: [cos, sin], mask, grid }: Seam, name: string): Value {
  const { q, k, v } = project(g, config, x, x, name);
  const [batch, heads, tokens, dim] = q.shape;
  const flat = (y: Value): Value => g.reshape(y, [batch * heads, tokens, dim]);
  const out = g.attention(flat(g.rope(q, cos, sin)), flat(g.rope(k, cos, sin)), flat(mask ? g.mul(v, mask) : v), grid);
  return layers(g)(join(g, config, g.reshape(out, q.shape)), `${name}.to_out.0`, width(config));
}

/** Attention to all text rows, zero rows included: Wan masks nothing. */
function crossAttention(g: Tracer, config: WanConfig, x: Value, context: Value, name: string): Value {
  const { q, k, v } = project(g, config, x, context, name);
  return layers(g)(join(g, config, g.softmaxAttention(q, k, v, config.headDim ** -0.5)), `${name}.to_out.0`, width(config));
}

/** Tokens -> patch vectors [batch, tokens, pt * ph * pw * outChannels]; modulated by the time embedding itself, shift first. */
function head(g: Tracer, config: WanConfig, x: Value, timeEmbedding: Value): Value {
  const dim = width(config);
  const [batch, tokens] = timeEmbedding.shape;
  const table = g.add(g.weight('scale_shift_table', [1, 2, dim]), g.reshape(timeEmbedding, [batch, tokens, 1, dim]));
  const y = modulate(g, g.norm(x, 'layer', config.epsilon), vector(g, table, 0), vector(g, table, 1));
  return layers(g)(y, 'proj_out', config.outChannels * config.patch[0] * config.patch[1] * config.patch[2]);
}

function unpatchify(g: Tracer, config: WanConfig, grid: Grid, shape: WanShape, x: Value): Value {
  const [pt, ph, pw] = config.patch;
  const parts = g.reshape(x, [shape.batch, grid.frames, grid.height, grid.width, pt, ph, pw, config.outChannels]);
  const ordered = g.transpose(parts, [0, 7, 1, 4, 2, 5, 3, 6]);
  return g.reshape(ordered, [shape.batch, config.outChannels, grid.frames * pt, grid.height * ph, grid.width * pw]);
}

/**
 * Rotary tables cos, sin [tokens, headDim / 2]: time, height and width each with its own frequency ladder (theta 10000), computed in f64.
 * Of a head's pairs, 2 * floor(headDim / 6) channels each go to height and width, the rest to time. In the order of a layout, a slot without a
 * token has zeros.
 */
function ropeTables({ headDim }: WanConfig, grid: Grid, layout?: Layout): [Float32Array, Float32Array] {
  const side = 2 * Math.floor(headDim / 6);
  const axes = [headDim - 2 * side, side, side];
  const ladders = axes.map((size) => Float64Array.from({ length: size / 2 }, (_, j) => 10000 ** ((-2 * j) / size)));
  const order = layout?.order ?? Int32Array.from({ length: tokensOf(grid) }, (_, token) => token);
  const cos = new Float32Array((order.length * headDim) / 2);
  const sin = new Float32Array(cos.length);
  for (const [slot, token] of order.entries()) {
    if (token === PAD) continue;
    const place = Math.floor(token / grid.width);
    let at = (slot * headDim) / 2;
    for (const [axis, position] of [Math.floor(place / grid.height), place % grid.height, token % grid.width].entries()) {
      for (const frequency of ladders[axis]) {
        cos[at] = Math.cos(position * frequency);
        sin[at++] = Math.sin(position * frequency);
      }
    }
  }
  return [cos, sin];
}

/** Sinusoid [timesteps.length, freqDim] of timesteps (0..1000, fractions allowed), cosines first, in f32 like the reference. */
export function timestepEmbedding(timesteps: ArrayLike<number>, freqDim: number): Float32Array {
  const half = freqDim / 2;
  const out = new Float32Array(timesteps.length * freqDim);
  for (let i = 0; i < timesteps.length; i++) {
    for (let j = 0; j < half; j++) {
      const frequency = Math.fround(Math.exp(Math.fround((-Math.log(10000) * j) / half)));
      const angle = Math.fround(Math.fround(timesteps[i]) * frequency);
      out[i * freqDim + j] = Math.cos(angle);
      out[i * freqDim + half + j] = Math.sin(angle);
    }
  }
  return out;
}
