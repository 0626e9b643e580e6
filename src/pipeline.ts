// Text to video: a checkpoint folder becomes a function from a prompt to frames.
import type { Backend } from './backend/backend.ts';
import type { RuntimeName } from './backend/runtime.ts';
import { type DeviceOptions, type DeviceReport, openDevice } from './device.ts';
import { type GenerationDefaults, type ModelIndex, number, readDefaults, readJson, readModelIndex } from './dit/config.ts';
import { isGuided } from './dit/denoise.ts';
import { skippable } from './dit/step-cache.ts';
import { loadTransformer } from './dit/transformer.ts';
import { UnsupportedError } from './errors.ts';
import { type Estimate, estimate, type Machine } from './estimate.ts';
import { join, pathOf } from './files.ts';
import { type GeneratedVideo, generatedVideo, type RunOptions } from './generate.ts';
import { inNode } from './in-node.ts';
import type { Attention, Method } from './method.ts';
import { expectedDensity } from './method-density.ts';
import { dense } from './methods.ts';
import { checkOptions, type GenerateOptions, type Granularity, type Settings } from './options.ts';
import { forwardBytes, gridOf, guidanceOf, isBatched, isHeld, latentShape, type Parts } from './parts.ts';
import { tokensOf } from './sparse3d/plan.ts';
import type { AttentionStatistics } from './statistics.ts';
import { loadTokenizer } from './text/tokenizer.ts';
import { loadVae } from './vae/index.ts';
import { readVocabulary, type Vocabulary } from './vocabulary.ts';

/** How a checkpoint is opened. */
export interface PipelineOptions extends DeviceOptions {
  /** A VAE to use instead of the checkpoint's: a folder, or a TAEHV .safetensors file; on this machine's disk or at an http address. */
  readonly vae?: string;
}

/** A loaded checkpoint, called as `pipe(prompt, options)`. */
export interface TextToVideoPipeline {
  /** Checks the options at once; the work starts when the frames are iterated. */
  (prompt: string, options?: GenerateOptions): GeneratedVideo;
  /** The checkpoint: a folder, or its address. */
  readonly folder: string;
  /** What a run is made with where its options say nothing. */
  readonly defaults: GenerationDefaults;
  /** What a small model was trained on; absent for models of real video. */
  readonly vocabulary?: Vocabulary;
  /** Where the transformer runs, how it stores numbers, and why there. */
  readonly device: DeviceReport;
  /** The ONNX Runtime of the text encoder, and on the CPU of transformer and decoder. */
  readonly runtime: {
    /** Its package. */
    readonly name: RuntimeName;
    /** The version of that. */
    readonly version: string;
    /** What to do to get the faster one; absent when this is the faster one. */
    readonly hint?: string;
  };
  /** What the transformer's device computes with, for attention functions of one's own; another one after a GPU was lost. */
  readonly ops: Backend;
  /** How self-attention is computed where a call does not say; see `accelerate`. */
  attention: Method | Attention;
  /** What attention did in the run whose denoising was last done, call by call; see `GeneratedVideo.attentionStats` for one among several. */
  readonly attentionStats?: AttentionStatistics;
  /** Seconds and bytes that a call with these options will take. */
  estimate(options?: GenerateOptions): Estimate;
  /** Waits for what was enqueued and frees weights, sessions and the device; use nothing of it afterwards. */
  dispose(): Promise<void>;
}

/** Opens pipelines. */
export const TextToVideoPipeline = {
  /**
   * Opens a checkpoint in the diffusers folder layout; without a folder, the embedded model. Headers and configs are read and checked here
   * (the text encoder's when a run needs it), weights when they are first needed. The folder may be an http address: files are read from that
   * server, in parts where it takes range requests. On a web page it always is one, and may be relative to the page.
   * @throws UnsupportedError, with the reason, for webgpu where there is no GPU, for f16 where there is none, and for models of other kinds.
   */
  async fromPretrained(folder?: string, options: PipelineOptions = {}): Promise<TextToVideoPipeline> {
    return pipeline(await openParts(await readModelIndex(await checkpoint(folder)), options));
  },
};

async function checkpoint(folder: string | undefined): Promise<string> {
  if (folder !== undefined) return pathOf(folder);
  if (!inNode)
    throw new UnsupportedError('a web page has no embedded model; give the address of a model folder, as of a served samples/wan-mini');
  return (await import('./embedded-model.ts')).embeddedModel();
}

interface Disposable {
  dispose(): Promise<void>;
}

/** Opens what a run needs; when one part is refused, those opened before it are closed again. */
async function openParts(index: ModelIndex, options: PipelineOptions): Promise<Parts> {
  const part = (name: string): string => join(index.folder, name);
  const opened: Disposable[] = [];
  const keep = <T extends Disposable>(one: T): T => {
    opened.unshift(one);
    return one;
  };
  try {
    const ratio = index.config.boundary_ratio == null ? 0 : number(index.config, 'boundary_ratio');
    const device = keep(await openDevice(options));
    const transformer = keep(await loadTransformer(part('transformer'), device.executor));
    const parts: Parts = {
      index,
      defaults: readDefaults(index),
      device,
      tokenizer: await loadTokenizer(part('tokenizer')),
      transformer,
      ...(index.parts.transformer_2 && { transformer2: keep(await loadTransformer(part('transformer_2'), device.executor)) }),
      boundary: ratio * 1000,
      vae: keep(await loadVae(options.vae === undefined ? part('vae') : pathOf(options.vae), device.decoding)),
      scheduler: await readJson(join(part('scheduler'), 'scheduler_config.json')),
    };
    const [made, decoded] = [transformer.config.outChannels, parts.vae.channels];
    if (made !== decoded) {
      const where = options.vae ?? part('vae');
      throw new RangeError(
        `the VAE ${where} decodes ${decoded} latent channels, and the transformer makes ${made}; give the one of its family`,
      );
    }
    return parts;
  } catch (error) {
    for (const one of opened) await one.dispose();
    throw error;
  }
}

function pipeline(parts: Parts): TextToVideoPipeline {
  const { device, defaults, index, vae } = parts;
  const { host } = device;
  const { name, version, hint } = host.runtime;
  const granularity = granularityOf(parts);
  const vocabulary = readVocabulary(defaults.vocabulary);
  let latest: AttentionStatistics | undefined;
  const call = (prompt: string, options: GenerateOptions = {}): GeneratedVideo => {
    const settings = checkOptions(prompt, options, defaults, granularity);
    return generatedVideo(parts, settings, {
      ...options,
      attention: options.attention ?? pipe.attention,
      onStatistics: (done) => {
        latest = done;
      },
    });
  };
  const getters = withGetters(call, { ops: () => device.executor.ops, attentionStats: () => latest });
  const pipe: TextToVideoPipeline = Object.assign(getters, {
    folder: index.folder,
    defaults,
    device: device.report,
    runtime: { name, version, ...(hint && { hint }) },
    ...(vocabulary && { vocabulary }),
    attention: dense() as Method | Attention,
    estimate: (options: GenerateOptions = {}) =>
      estimateRun(parts, checkOptions('', options, defaults, granularity), { ...options, attention: options.attention ?? pipe.attention }),
    async dispose() {
      await host.idle();
      await parts.transformer.dispose();
      await parts.transformer2?.dispose();
      await vae.dispose();
      await device.dispose();
    },
  });
  return pipe;
}

/** What changes: a GPU that is opened anew has other operations. */
function withGetters<Call extends object>(
  call: Call,
  getters: { readonly ops: () => Backend; readonly attentionStats: () => AttentionStatistics | undefined },
): Call & Pick<TextToVideoPipeline, 'ops' | 'attentionStats'> {
  for (const [name, get] of Object.entries(getters)) Object.defineProperty(call, name, { get });
  return call as Call & Pick<TextToVideoPipeline, 'ops' | 'attentionStats'>;
}

function granularityOf({ vae, transformer }: Parts): Granularity {
  const [, ph, pw] = transformer.config.patch;
  return { height: vae.spatial * ph, width: vae.spatial * pw, frames: vae.temporal };
}

function estimateRun(parts: Parts, settings: Settings, { attention, cache }: RunOptions): Estimate {
  const guidance = guidanceOf(parts, settings);
  const grid = gridOf(parts, settings);
  const { numInferenceSteps: steps, height, width, numFrames } = settings;
  const guided = Array.from({ length: steps }, (_, step) => isGuided(guidance, step, steps)).filter(Boolean).length;
  const { config, bytes, parameters } = parts.transformer;
  const made = estimate(
    config,
    {
      tokens: tokensOf(grid),
      textTokens: settings.maxSequenceLength,
      forwards: steps + guided,
      density: typeof attention === 'function' ? 1 : expectedDensity(attention, steps, config.layers, grid),
      megapixels: (height * width * numFrames) / 1e6,
      weightBytes: bytes,
      weightElements: parameters,
      decoderBytes: parts.vae.bytes(latentShape(parts, settings)),
      held: isHeld(parts),
    },
    machineOf(parts, settings, guided > 0),
  );
  return cache ? { ...made, skippableSteps: skippable(cache, steps) } : made;
}

function machineOf(parts: Parts, settings: Settings, guided: boolean): Machine {
  const { gpu, host, report } = parts.device;
  const bytes = forwardBytes(parts, settings);
  const batch = guided && isBatched(parts, settings) ? 2 : 1;
  return { runtime: host.runtime, ...(gpu && bytes && { gpu: { adapter: gpu, dtype: report.dtype, bytes, batch } }) };
}

export type { GeneratedVideo, RunReport } from './generate.ts';
export type { StepReport } from './options.ts';
export type { Vocabulary } from './vocabulary.ts';
