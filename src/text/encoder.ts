// Text encoders: UMT5EncoderModel (Wan) and T5EncoderModel (T5 v1.1) as a traced Program, one cut per block, so that an encoder larger
// than memory runs layer by layer. Rows of the embedding table are read from the file; the table is never loaded.
import type { CpuDevice } from '../backend/cpu.ts';
import { type Config, integer, number, readJson, string } from '../dit/config.ts';
import { type Program, type Tracer, trace, type Value } from '../dit/graph.ts';
import { compile } from '../dit/onnx/executor.ts';
import { openWeights, type Weights } from '../dit/weights.ts';
import { UnsupportedError } from '../errors.ts';
import { join } from '../files.ts';
import type { Tensor } from '../tensor.ts';

/** Shape of a T5-family encoder, from its config.json. */
export interface T5Config {
  /** UMT5 has a table of relative biases in every block, T5 one in block 0 for all of them. */
  readonly biasInEveryBlock: boolean;
  readonly vocabulary: number;
  readonly width: number;
  readonly heads: number;
  readonly headDim: number;
  readonly hidden: number;
  readonly layers: number;
  readonly buckets: number;
  readonly maxDistance: number;
  readonly epsilon: number;
}

/** A text encoder bound to its weights. */
export interface TextEncoder {
  readonly config: T5Config;
  /**
   * Last hidden state [ids.length, width] of one text. With `mask` (1 = token, 0 = padding) padded keys are not attended to;
   * without it every id takes part, as LTX-Video and CogVideoX want it.
   */
  encode(ids: readonly number[], mask?: readonly number[]): Promise<Float32Array>;
  dispose(): Promise<void>;
}

const MASKED = -3.4028234663852886e38;

/**
 * Reads config.json of a text encoder.
 * @throws UnsupportedError for a class other than UMT5EncoderModel and T5EncoderModel, or a feed-forward other than gated-gelu.
 */
export function readT5Config(json: Config): T5Config {
  const name = String(Array.isArray(json.architectures) ? json.architectures[0] : json.architectures);
  if (name !== 'UMT5EncoderModel' && name !== 'T5EncoderModel')
    throw new UnsupportedError(`text encoder class ${name} is not supported; UMT5EncoderModel and T5EncoderModel are`);
  const activation = string(json, 'feed_forward_proj');
  if (activation !== 'gated-gelu')
    throw new UnsupportedError(`feed_forward_proj "${activation}" of ${name} is not supported; gated-gelu is`);
  return {
    biasInEveryBlock: name === 'UMT5EncoderModel',
    vocabulary: integer(json, 'vocab_size'),
    width: integer(json, 'd_model'),
    heads: integer(json, 'num_heads'),
    headDim: integer(json, 'd_kv'),
    hidden: integer(json, 'd_ff'),
    layers: integer(json, 'num_layers'),
    buckets: integer(json, 'relative_attention_num_buckets', 32),
    maxDistance: integer(json, 'relative_attention_max_distance', 128),
    epsilon: number(json, 'layer_norm_epsilon', 1e-6),
  };
}

/** Bidirectional bucket of the distance key - query (T5, arXiv 1910.10683, section 2.1): exact up to a quarter of the buckets, then logarithmic in f32. */
export function relativeBucket(distance: number, { buckets, maxDistance }: Pick<T5Config, 'buckets' | 'maxDistance'>): number {
  const half = buckets / 2;
  const exact = half / 2;
  const away = Math.abs(distance);
  const side = distance > 0 ? half : 0;
  if (away < exact) return side + away;
  // Boundaries such as 16, 32 and 64 are exact only when each step is rounded to f32, as the trained models had it.
  const { fround } = Math;
  const ratio = fround(fround(Math.log(fround(away / exact))) / Math.log(maxDistance / exact));
  return side + Math.min(half - 1, exact + Math.trunc(fround(ratio * (half - exact))));
}

/** Biases by distance for one table [buckets, heads]: [heads, 2 * length], entry `distance + length - 1`, the last one unused. */
export function distanceBiases(table: Float32Array, length: number, config: T5Config): Float32Array {
  const { heads } = config;
  const biases = new Float32Array(heads * 2 * length);
  for (let distance = 1 - length; distance < length; distance++) {
    const bucket = relativeBucket(distance, config);
    for (let head = 0; head < heads; head++) biases[head * 2 * length + distance + length - 1] = table[bucket * heads + head];
  }
  return biases;
}

const biasName = (layer: number): string => `encoder.block.${layer}.layer.0.SelfAttention.relative_attention_bias.weight`;
const biasLayers = ({ biasInEveryBlock, layers }: T5Config): number[] =>
  Array.from({ length: biasInEveryBlock ? layers : 1 }, (_, layer) => layer);

/**
 * The encoder for one text of `length` ids. Inputs: `embeddings` [1, length, width], `mask` [1, 1, 1, length] (added to the scores),
 * `bias.N` [heads, 2 * length] from `distanceBiases`. Output: `hidden` [1, length, width].
 */
export function t5Encoder(config: T5Config, length: number): Program {
  return trace((tracer) => {
    let x = tracer.input('embeddings', [1, length, config.width]);
    const mask = tracer.input('mask', [1, 1, 1, length]);
    let bias: Value | undefined;
    for (let layer = 0; layer < config.layers; layer++) {
      if (layer === 0 || config.biasInEveryBlock)
        bias = tracer.add(spread(tracer, tracer.input(`bias.${layer}`, [config.heads, 2 * length]), length), mask);
      x = tracer.cut(block(tracer, x, layer, bias!, config));
    }
    const scale = tracer.weight('encoder.final_layer_norm.weight', [config.width]);
    return { hidden: tracer.norm(x, 'rms', config.epsilon, scale) };
  });
}

/** Biases by distance [heads, 2L] -> by query and key [1, heads, L, L]: rows of 2L written one after the other and read again as rows of 2L - 1 slide by one. */
function spread(tracer: Tracer, biases: Value, length: number): Value {
  const [heads, period] = biases.shape;
  const rows = tracer.add(tracer.reshape(biases, [heads, 1, period]), tracer.constant(new Float32Array(length), [1, length, 1]));
  const flat = tracer.reshape(rows, [heads, length * period]);
  const slid = tracer.reshape(tracer.slice(flat, 1, length - 1, length - 1 + length * (period - 1)), [heads, length, period - 1]);
  return tracer.reshape(tracer.slice(slid, 2, 0, length), [1, heads, length, length]);
}

function block(tracer: Tracer, x: Value, layer: number, bias: Value, config: T5Config): Value {
  const { width, heads, headDim, hidden, epsilon } = config;
  const length = x.shape[1];
  const prefix = `encoder.block.${layer}.layer`;
  const attention = `${prefix}.0.SelfAttention`;
  const normalised = tracer.norm(x, 'rms', epsilon, tracer.weight(`${prefix}.0.layer_norm.weight`, [width]));
  const project = (name: string): Value => {
    const y = tracer.linear(normalised, tracer.weight(`${attention}.${name}.weight`, [heads * headDim, width]));
    return tracer.transpose(tracer.reshape(y, [1, length, heads, headDim]), [0, 2, 1, 3]);
  };
  // The T5 family has no 1 / sqrt(dim): the scale is part of the trained weights.
  const attended = tracer.softmaxAttention(project('q'), project('k'), project('v'), 1, bias);
  const joined = tracer.reshape(tracer.transpose(attended, [0, 2, 1, 3]), [1, length, heads * headDim]);
  const y = tracer.add(x, tracer.linear(joined, tracer.weight(`${attention}.o.weight`, [width, heads * headDim])));
  const n = tracer.norm(y, 'rms', epsilon, tracer.weight(`${prefix}.1.layer_norm.weight`, [width]));
  const dense = `${prefix}.1.DenseReluDense`;
  const gate = tracer.activate(tracer.linear(n, tracer.weight(`${dense}.wi_0.weight`, [hidden, width])), 'gelu_tanh');
  const gated = tracer.mul(gate, tracer.linear(n, tracer.weight(`${dense}.wi_1.weight`, [hidden, width])));
  return tracer.add(y, tracer.linear(gated, tracer.weight(`${dense}.wo.weight`, [width, hidden])));
}

/**
 * Opens the text encoder in a folder (config.json and safetensors files).
 * @throws UnsupportedError for another class, naming it; Error when a weight is missing or has another shape.
 */
export async function loadTextEncoder(folder: string, device: CpuDevice): Promise<TextEncoder> {
  const config = readT5Config(await readJson(join(folder, 'config.json')));
  const weights = await openWeights(folder);
  try {
    return textEncoder(config, weights, device);
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/** Binds an encoder to weights. @throws Error when one is missing or has another shape. */
export function textEncoder(config: T5Config, weights: Weights, device: CpuDevice): TextEncoder {
  const table = ['shared.weight', 'encoder.embed_tokens.weight'].find((name) => weights.has(name));
  if (!table)
    throw new Error(`${weights.source} holds neither shared.weight nor encoder.embed_tokens.weight; download the text encoder again`);
  weights.get(table, [config.vocabulary, config.width]);
  for (const { operation, shape } of t5Encoder(config, 1).nodes) if (operation.op === 'weight') weights.get(operation.name, shape);
  for (const layer of biasLayers(config)) weights.get(biasName(layer), [config.buckets, config.heads]);
  return {
    config,
    async encode(ids, mask = ids.map(() => 1)) {
      checkIds(ids, mask, config);
      const inputs: Record<string, Tensor> = await biasInputs(weights, ids.length, config, device);
      inputs.embeddings = device.upload(await weights.rows(table, ids), [1, ids.length, config.width]);
      inputs.mask = device.upload(
        Float32Array.from(mask, (bit) => (bit ? 0 : MASKED)),
        [1, 1, 1, ids.length],
      );
      // Each text has its own length, so nothing is worth keeping: blocks are loaded, run and released in turn.
      const executable = await compile(t5Encoder(config, ids.length), weights, device, { resident: false });
      try {
        return (await device.read(executable.run(inputs).hidden)) as Float32Array;
      } finally {
        await executable.dispose();
      }
    },
    dispose: () => weights.close(),
  };
}

async function biasInputs(weights: Weights, length: number, config: T5Config, device: CpuDevice): Promise<Record<string, Tensor>> {
  const inputs: Record<string, Tensor> = {};
  for (const layer of biasLayers(config)) {
    const biases = distanceBiases(await weights.floats(biasName(layer)), length, config);
    inputs[`bias.${layer}`] = device.upload(biases, [config.heads, 2 * length]);
  }
  return inputs;
}

function checkIds(ids: readonly number[], mask: readonly number[], { vocabulary }: T5Config): void {
  if (ids.length === 0) throw new RangeError('a text needs at least one token; even the empty prompt has its end token');
  if (mask.length !== ids.length) throw new RangeError(`the mask has ${mask.length} entries for ${ids.length} ids; give one per id`);
  const stray = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (stray !== undefined)
    throw new RangeError(`token id ${stray} is outside the vocabulary of ${vocabulary}; use the tokenizer of the same model`);
}

/**
 * Prompt embeddings as Wan's transformer takes them: [maxSequenceLength, width], rows past the text zero. Padding never takes part in a
 * masked encoder, so only the `ids` of the text itself (end token included, at most maxSequenceLength) are computed.
 */
export async function encodePrompt(encoder: TextEncoder, ids: readonly number[], maxSequenceLength: number): Promise<Float32Array> {
  if (ids.length > maxSequenceLength)
    throw new RangeError(
      `the prompt has ${ids.length} tokens, more than maxSequenceLength ${maxSequenceLength}; truncate it when tokenizing`,
    );
  const embeddings = new Float32Array(maxSequenceLength * encoder.config.width);
  embeddings.set(await encoder.encode(ids));
  return embeddings;
}
