// The denoising transformer of a checkpoint folder: configuration, weights, and one Executable per shape.
import { UnsupportedError } from '../errors.ts';
import { join } from '../files.ts';
import { isRaster } from '../sparse3d/order.ts';
import type { Grid, Layout } from '../sparse3d/plan.ts';
import { elements, type Tensor } from '../tensor.ts';
import { boolean, type Config, count, number, numbers, readJson } from './config.ts';
import type { Executable, Executor, ProgramBytes, Seam } from './executor.ts';
import { timestepEmbedding, type WanConfig, type WanShape, wanGrid, wanTransformer } from './wan.ts';
import { openWeights, type Weights } from './weights.ts';

/** Inputs of one forward: handles of the executor's backend, f32. */
export interface ForwardInputs {
  /** [batch, channels, frames, height, width] */
  readonly latents: Tensor;
  /** One timestep (0..1000) per batch item, or one per token and batch item. */
  readonly timesteps: ArrayLike<number>;
  /** [batch, textTokens, textDim]; pass the same handle at every step, what depends on it alone is computed once. */
  readonly text: Tensor;
}

export interface Transformer {
  readonly config: WanConfig;
  /** Bytes of the stored weights. */
  readonly bytes: number;
  /** Number of stored weight elements. */
  readonly parameters: number;
  /** Bytes on the device that a forward of latents [channels, frames, height, width] takes; undefined where the device has no memory of its own. */
  deviceBytes(latents: readonly number[], textTokens: number): ProgramBytes | undefined;
  /** Token grid of latents of this size. */
  grid(latents: Pick<WanShape, 'frames' | 'height' | 'width'>): Grid;
  /** Loads what a shape needs, so that the first forward does not wait for them. */
  prepare(latents: readonly number[], textTokens: number, layout?: Layout): Promise<void>;
  /**
   * Enqueues one forward; resolves to the velocity's handle, shaped like the latents, which is the caller's to release. With a layout, tokens
   * are in its order from the first layer to the last, and the attention gets and gives blocked tensors; else they are in raster order.
   */
  forward(inputs: ForwardInputs, attention: Seam, layout?: Layout): Promise<Tensor>;
  /** Releases what was loaded for shapes; the next forward loads it again. */
  release(): Promise<void>;
  dispose(): Promise<void>;
}

/** Reads the fields of a WanTransformer3DModel config; missing ones take the published defaults. @throws UnsupportedError for image-to-video and other classes. */
export function wanConfig(json: Config): WanConfig {
  if (json._class_name !== undefined && json._class_name !== 'WanTransformer3DModel') {
    throw new UnsupportedError(`transformer class ${String(json._class_name)} is not supported; WanTransformer3DModel is`);
  }
  if (json.image_dim != null || json.added_kv_proj_dim != null) {
    throw new UnsupportedError(
      `this is an image-to-video transformer (image_dim ${String(json.image_dim)}); take a text-to-video checkpoint`,
    );
  }
  const [pt, ph, pw] = numbers(json, 'patch_size', [1, 2, 2], 3);
  if (![pt, ph, pw].every((size) => Number.isInteger(size) && size > 0))
    throw new RangeError(`patch_size of the transformer is [${[pt, ph, pw]}]; three whole numbers >= 1 were expected.`);
  const inChannels = count(json, 'in_channels', 16);
  return {
    patch: [pt, ph, pw],
    heads: count(json, 'num_attention_heads', 40),
    headDim: count(json, 'attention_head_dim', 128),
    inChannels,
    outChannels: count(json, 'out_channels', inChannels),
    textDim: count(json, 'text_dim', 4096),
    freqDim: count(json, 'freq_dim', 256),
    ffnDim: count(json, 'ffn_dim', 13824),
    layers: count(json, 'num_layers', 40),
    crossAttentionNorm: boolean(json, 'cross_attn_norm', true),
    epsilon: number(json, 'eps', 1e-6),
    maxPositions: count(json, 'rope_max_seq_len', 1024),
  };
}

/** Opens a transformer folder (config.json and safetensors); weights are read when a shape is prepared. */
export async function loadTransformer(folder: string, executor: Executor): Promise<Transformer> {
  const config = wanConfig(await readJson(join(folder, 'config.json')));
  const weights = await openWeights(folder);
  return transformer(config, weights, executor);
}

/** A transformer over opened weights. */
export function transformer(config: WanConfig, weights: Weights, executor: Executor): Transformer {
  const compiled = executables(config, weights, executor);
  const stored = [...weights.tensors.values()];
  return {
    config,
    bytes: stored.reduce((sum, tensor) => sum + tensor.bytes, 0),
    parameters: stored.reduce((sum, tensor) => sum + elements(tensor.shape), 0),
    deviceBytes: (latents, textTokens) => compiled.bytes(shapeOf([1, ...latents], textTokens)),
    grid: (latents) => wanGrid(config, latents),
    prepare: async (latents, textTokens, layout) => void (await compiled.of(shapeOf(latents, textTokens), layout)),
    async forward({ latents, timesteps, text }, attention, layout) {
      const perItem = timesteps.length / latents.shape[0];
      const run = await compiled.of(shapeOf(latents.shape, text.shape[1], perItem !== 1), layout);
      const { ops } = executor;
      return ops.scope(() => {
        const time = ops.upload(timestepEmbedding(timesteps, config.freqDim), [latents.shape[0], perItem, config.freqDim]);
        return run.run({ hidden_states: latents, time, encoder_hidden_states: text }, attention).sample;
      });
    },
    release: compiled.release,
    async dispose() {
      await compiled.release();
      await weights.close();
    },
  };
}

function shapeOf([batch, , frames, height, width]: readonly number[], textTokens: number, perToken = false): WanShape {
  return { batch, frames, height, width, textTokens, ...(perToken && { perToken }) };
}

/** One Executable for each shape and token order, compiled when it is first asked for. */
function executables(config: WanConfig, weights: Weights, executor: Executor) {
  const compiled = new Map<string, Promise<Executable>>();
  const sizes = new Map<string, ProgramBytes>();
  return {
    of(shape: WanShape, layout?: Layout): Promise<Executable> {
      const order = layout && !isRaster(layout) ? layout : undefined;
      const key = JSON.stringify([shape, order && numberOf(order)]);
      const known = compiled.get(key);
      if (known) return known;
      checkPositions(config, shape);
      const made = executor.compile(wanTransformer(config, shape, order), weights);
      compiled.set(key, made);
      // What could not be compiled is not kept: there is nothing to release, and another try may do better.
      made.catch(() => compiled.delete(key));
      return made;
    },
    bytes(shape: WanShape): ProgramBytes | undefined {
      const key = JSON.stringify(shape);
      if (executor.bytes && !sizes.has(key)) sizes.set(key, executor.bytes(wanTransformer(config, shape)));
      return sizes.get(key);
    },
    async release(): Promise<void> {
      const all = [...compiled.values()];
      compiled.clear();
      for (const one of all)
        await one.then(
          (executable) => executable.dispose(),
          () => undefined,
        );
    },
  };
}

const numbered = new WeakMap<Layout, number>();
let layouts = 0;

function numberOf(layout: Layout): number {
  const number = numbered.get(layout) ?? layouts++;
  numbered.set(layout, number);
  return number;
}

function checkPositions(config: WanConfig, shape: WanShape): void {
  const { frames, height, width } = wanGrid(config, shape);
  if (Math.max(frames, height, width) > config.maxPositions)
    throw new RangeError(
      `a token grid of ${frames}x${height}x${width} exceeds the ${config.maxPositions} positions of this model; choose a smaller size`,
    );
}
