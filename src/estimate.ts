// How long a run will take and how much memory it needs, computed from shapes and published rates before anything starts.
import type { RuntimeName } from './backend/runtime.ts';
import type { AdapterReport } from './backend/webgpu/adapter.ts';
import type { ProgramBytes } from './dit/executor.ts';
import type { WanConfig } from './dit/wan.ts';
import { attendVariantsFor } from './sparse3d/gpu-attend.ts';

interface Rates {
  readonly linear: number;
  readonly attention: number;
}

/**
 * FLOP per second and thread on a server core without AVX-512, values per second and thread of what is neither linear nor attention (norms, rope,
 * activations: bound by memory, and much of a small model), and seconds of two threads to decode a megapixel: bench/results/demo-*.json.
 */
const RATES: Record<RuntimeName, Rates & { readonly values: number; readonly secondsPerMegapixel: number }> = {
  'onnxruntime-node': { linear: 68e9, attention: 85e9, values: 13e6, secondsPerMegapixel: 0.5 },
  'onnxruntime-web': { linear: 22e9, attention: 19e9, values: 4.2e6, secondsPerMegapixel: 2 },
  'onnxruntime-webgpu': { linear: 1e12, attention: 1e12, values: 1e9, secondsPerMegapixel: 0.05 },
};

/** FLOP per second of one GPU, an NVIDIA H100, with subgroup matrices (of f16) and without; what is neither is counted with linear layers. */
const GPU_RATES = {
  matrix: { linear: 200e12, attention: 205e12 },
  f16: { linear: 28e12, attention: 30e12 },
  f32: { linear: 26e12, attention: 27e12 },
};
const MEASURED_GPU = 'h100';

export interface Workload {
  readonly tokens: number;
  readonly textTokens: number;
  readonly forwards: number;
  /** Mean FLOP-equivalent density of attention expected, 0..1. */
  readonly density: number;
  readonly megapixels: number;
  readonly weightBytes: number;
  readonly weightElements: number;
  /** Bytes of the decoder at work, and whether the transformer's weights are held meanwhile. */
  readonly decoderBytes: number;
  readonly held: boolean;
}

/** What a run has to run on. */
export interface Machine {
  readonly runtime: { readonly name: RuntimeName; readonly threads: number };
  /** The transformer's GPU, if it has one: how it stores numbers there, what a forward takes, and how many run as a batch. */
  readonly gpu?: { readonly adapter: AdapterReport; readonly dtype: 'f32' | 'f16'; readonly bytes: ProgramBytes; readonly batch: number };
}

/** What a run is expected to take. */
export interface Estimate {
  /** Of the whole run, with every step computed. */
  readonly seconds: number;
  /** How many steps a step cache may skip at most, which is not known before; absent without one. */
  readonly skippableSteps?: number;
  /** Why the seconds may be far off: a sentence without its full stop. Absent where this kind of machine was measured. */
  readonly rough?: string;
  /** Peak resident bytes. */
  readonly bytes: number;
  /** Peak bytes of GPU memory, where a GPU is used. */
  readonly gpuBytes?: number;
  /** Tokens of a self-attention call. */
  readonly tokens: number;
}

/** FLOP of one transformer forward, split in linear layers and self-attention (2 per multiply-add). */
function forwardFlops(config: WanConfig, tokens: number, textTokens: number): { linear: number; attention: number } {
  const dim = config.heads * config.headDim;
  const self = 8 * tokens * dim * dim;
  const cross = 4 * tokens * dim * dim + 4 * tokens * textTokens * dim;
  const feedForward = 4 * tokens * dim * config.ffnDim;
  return { linear: config.layers * (self + cross + feedForward), attention: config.layers * 4 * tokens * tokens * dim };
}

/** Seconds and bytes of a run; a busy machine is slower than this. The rates on a GPU are those of one, and `rough` says so on any other. */
export function estimate(config: WanConfig, work: Workload, { runtime, gpu }: Machine): Estimate {
  const host = RATES[runtime.name];
  const rates = gpu ? gpuRates(config, gpu) : host;
  const { linear, attention } = forwardFlops(config, work.tokens, work.textTokens);
  const products = linear / rates.linear + (attention * work.density) / rates.attention;
  const values = work.tokens * config.heads * config.headDim * config.layers;
  const perForward = gpu ? products : (products + values / host.values) / runtime.threads;
  const decode = (work.megapixels * host.secondsPerMegapixel * 2) / runtime.threads;
  return {
    seconds: work.forwards * perForward + decode + 1,
    ...(gpu &&
      !gpu.adapter.device.includes(MEASURED_GPU) && {
        rough: `they are those of an NVIDIA ${MEASURED_GPU.toUpperCase()}, and this GPU was not measured`,
      }),
    ...(gpu ? memoryWithGpu(config, work, gpu) : { bytes: hostBytes(config, work) }),
    tokens: work.tokens,
  };
}

function gpuRates({ headDim }: WanConfig, { adapter, dtype }: NonNullable<Machine['gpu']>): Rates {
  const variant = attendVariantsFor({ dtype }).find((one) => one.lacking(adapter, { dtype, dim: headDim }) === undefined);
  return GPU_RATES[variant?.name.startsWith('matrix') ? 'matrix' : dtype];
}

/** Beside what is counted: the runtime, and what does not grow with a model. */
const REST_BYTES = 300e6;
/** Results of sessions wait for the garbage collector, which comes late to what lies outside its heap: as many [tokens, dim], and at most. */
const WAITING = { tensors: 120, bytes: 3e9 };

function hostBytes(config: WanConfig, work: Workload): number {
  const dim = config.heads * config.headDim;
  const activations = 4 * work.tokens * (8 * dim + 2 * config.ffnDim);
  const waiting = Math.min(4 * work.tokens * dim * WAITING.tensors, WAITING.bytes);
  const weights = 4 * work.weightElements;
  const denoising = weights + work.weightBytes / config.layers + activations + waiting;
  return Math.max(denoising, work.decoderBytes + (work.held ? weights : 0)) + REST_BYTES;
}

/** Bytes of pieces of weights on their way to a GPU. */
const STAGED_BYTES = 300e6;

function memoryWithGpu(
  { heads, headDim, layers }: WanConfig,
  { tokens, density, decoderBytes, held }: Workload,
  { dtype, bytes: { weights, kept, values }, batch }: NonNullable<Machine['gpu']>,
): Pick<Estimate, 'bytes' | 'gpuBytes'> {
  // A method's blocked copies of q, k, v and the output, and for each layer and branch a log-sum-exp and a plan over blocks of 64 tokens.
  const copies = 4 * tokens * heads * headDim * (dtype === 'f16' ? 2 : 4);
  const memories = 2 * layers * heads * 4 * (tokens + density * (tokens / 64) ** 2);
  const denoising = weights + kept + batch * values + (density < 1 ? copies + memories : 0);
  return { gpuBytes: Math.max(denoising, decoderBytes + (held ? denoising : 0)), bytes: STAGED_BYTES + REST_BYTES };
}
