// What a bench measures: a transformer with its weights on an opened GPU, and inputs of a shape, random but the same each time.
import { join } from 'node:path';
import type { AdapterReport } from '../backend/webgpu/adapter.ts';
import { type GpuDevice, openWebgpu } from '../backend/webgpu/device.ts';
import { type Config, count, readDefaults, readJson, readModelIndex } from '../dit/config.ts';
import type { Executor } from '../dit/executor.ts';
import { wanConfig } from '../dit/transformer.ts';
import { type WanConfig, type WanShape, wanGrid, wanTransformer } from '../dit/wan.ts';
import { gpuExecutor } from '../dit/webgpu/executor.ts';
import { openWeights, type Weights } from '../dit/weights.ts';
import { gaussianNoise } from '../noise.ts';
import { checkFrames, checkSize } from '../options.ts';
import { type Grid, tokensOf } from '../sparse3d/plan.ts';
import { elements, type Tensor } from '../tensor.ts';
import { WAN_13B } from './ids.ts';
import { randomWeights } from './random.ts';

/** What to measure; sizes in pixels. */
export interface SubjectOptions {
  /** A checkpoint in the diffusers folder layout; without one the shape of Wan 2.1 T2V-1.3B with random weights. */
  readonly model?: string;
  /** Default 832 x 480, 81 frames. */
  readonly width?: number;
  readonly height?: number;
  readonly numFrames?: number;
  /** Only the first so many layers. */
  readonly layers?: number;
  /** Default f16 where the GPU has it, else f32. */
  readonly dtype?: 'f32' | 'f16';
  /** false: no validation and no bounds checks (default true, as in a run). */
  readonly checked?: boolean;
}

/** What was measured, as a report states it. */
export interface Setting {
  readonly model: string;
  readonly gpu: Pick<AdapterReport, 'device' | 'vendor' | 'architecture' | 'description' | 'software'>;
  readonly dtype: 'f32' | 'f16';
  readonly checked: boolean;
  readonly width: number;
  readonly height: number;
  readonly numFrames: number;
  readonly layers: number;
  readonly tokens: number;
  readonly textTokens: number;
}

/** A transformer ready to be measured. `dispose` frees the GPU. */
export interface Subject {
  readonly setting: Setting;
  readonly gpu: GpuDevice;
  readonly executor: Executor;
  readonly config: WanConfig;
  readonly weights: Weights;
  /** Of the model's scheduler. */
  readonly scheduler: Config;
  readonly grid: Grid;
  /** Shape of one forward of `batch` items. */
  shape(batch: number): WanShape;
  /** Noise of unit variance, [channels, frames, height, width]. */
  readonly latents: { readonly numbers: Float32Array; readonly shape: readonly [number, number, number, number] };
  /** Random text embeddings [1, textTokens, textDim] on the GPU, another for each seed. */
  text(seed: number): Tensor;
  dispose(): Promise<void>;
}

/** A model's files, or what stands for them. */
interface Model {
  readonly name: string;
  readonly config: WanConfig;
  readonly scheduler: Config;
  /** Pixels and frames for each of a latent's. */
  readonly spatial: number;
  readonly temporal: number;
  readonly textTokens: number;
  /** The weights of one forward of this shape. */
  weights(shape: WanShape): Promise<Weights>;
}

/**
 * Opens a GPU and the transformer. @throws UnsupportedError without a GPU, or for f16 where it has none; RangeError for a size that the model
 * cannot make.
 */
export async function openSubject(options: SubjectOptions): Promise<Subject> {
  const model = options.model === undefined ? wan13B() : await stored(options.model);
  const config = { ...model.config, layers: layersOf(model, options.layers) };
  const { width = 832, height = 480, numFrames = 81, checked = true } = options;
  const [, ph, pw] = config.patch;
  checkSize('height', height, model.spatial * ph);
  checkSize('width', width, model.spatial * pw);
  checkFrames(numFrames, model.temporal);
  const { textTokens } = model;
  const latent = { frames: (numFrames - 1) / model.temporal + 1, height: height / model.spatial, width: width / model.spatial };
  const shape = (batch: number): WanShape => ({ batch, ...latent, textTokens });
  const grid = wanGrid(config, latent);
  const gpu = await openWebgpu({ checked });
  try {
    const dtype = options.dtype ?? (gpu.adapter.features.has('shader-f16') ? 'f16' : 'f32');
    const executor = await gpuExecutor(gpu, { dtype });
    const weights = await model.weights(shape(1));
    const { device, vendor, architecture, description, software } = gpu.adapter;
    const latentShape = [config.inChannels, latent.frames, latent.height, latent.width] as const;
    return {
      setting: {
        ...{ model: model.name, gpu: { device, vendor, architecture, description, software }, dtype, checked, width, height, numFrames },
        ...{ layers: config.layers, tokens: tokensOf(grid), textTokens },
      },
      ...{ gpu, executor, config, weights, grid, shape, scheduler: model.scheduler },
      latents: { numbers: gaussianNoise(0, elements(latentShape)), shape: latentShape },
      text: (seed) => executor.ops.upload(gaussianNoise(seed, textTokens * config.textDim), [1, textTokens, config.textDim]),
      async dispose() {
        await weights.close();
        gpu.dispose();
      },
    };
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

function layersOf({ name, config }: Model, layers = config.layers): number {
  if (layers > config.layers) throw new RangeError(`layers is ${layers}, but ${name} has ${config.layers}; give at most that`);
  return layers;
}

/** Wan 2.1 T2V-1.3B without its files. */
function wan13B(): Model {
  const config = wanConfig({ num_attention_heads: 12, attention_head_dim: 128, ffn_dim: 8960, num_layers: 30 });
  return {
    name: WAN_13B,
    config,
    scheduler: {
      _class_name: 'UniPCMultistepScheduler',
      flow_shift: 3,
      prediction_type: 'flow_prediction',
      solver_order: 2,
      use_flow_sigmas: true,
    },
    ...{ spatial: 8, temporal: 4, textTokens: 512 },
    weights: async (shape) => randomWeights(wanTransformer(config, shape)),
  };
}

/** A checkpoint's transformer, and what its other parts say of sizes. */
async function stored(folder: string): Promise<Model> {
  const index = await readModelIndex(folder);
  const vae = await readJson(join(folder, 'vae', 'config.json'));
  return {
    name: folder,
    config: wanConfig(await readJson(join(folder, 'transformer', 'config.json'))),
    scheduler: await readJson(join(folder, 'scheduler', 'scheduler_config.json')),
    spatial: count(vae, 'scale_factor_spatial', 8),
    temporal: count(vae, 'scale_factor_temporal', 4),
    textTokens: readDefaults(index).maxSequenceLength,
    weights: () => openWeights(join(folder, 'transformer')),
  };
}
