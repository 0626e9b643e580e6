// How long a run will take and how much memory it needs, computed from shapes and published rates before anything starts.
import type { RuntimeName } from './backend/runtime.ts';
import type { WanConfig } from './dit/wan.ts';
import type { Method } from './method.ts';
import { flopShare } from './search/levels.ts';
import type { Grid } from './sparse3d/plan.ts';

/** FLOP per second and thread of dense work, measured on a server core with AVX-512 (onnxruntime-node) and on wasm SIMD (onnxruntime-web). */
const RATES: Record<RuntimeName, { readonly linear: number; readonly attention: number; readonly secondsPerMegapixel: number }> = {
  'onnxruntime-node': { linear: 107e9, attention: 100e9, secondsPerMegapixel: 0.2 },
  'onnxruntime-web': { linear: 28e9, attention: 22e9, secondsPerMegapixel: 1.1 },
  'onnxruntime-webgpu': { linear: 1e12, attention: 1e12, secondsPerMegapixel: 0.02 },
};

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

export interface Estimate {
  readonly seconds: number;
  /** Peak resident bytes. */
  readonly bytes: number;
  readonly tokens: number;
}

/** FLOP of one transformer forward, split in linear layers and self-attention (2 per multiply-add). */
export function forwardFlops(config: WanConfig, tokens: number, textTokens: number): { linear: number; attention: number } {
  const dim = config.heads * config.headDim;
  const self = 8 * tokens * dim * dim;
  const cross = 4 * tokens * dim * dim + 4 * tokens * textTokens * dim;
  const feedForward = 4 * tokens * dim * config.ffnDim;
  return { linear: config.layers * (self + cross + feedForward), attention: config.layers * 4 * tokens * tokens * dim };
}

/** Seconds and bytes of a run; a busy machine is slower than this. */
export function estimate(config: WanConfig, work: Workload, runtime: { readonly name: RuntimeName; readonly threads: number }): Estimate {
  const { linear, attention } = forwardFlops(config, work.tokens, work.textTokens);
  const rate = RATES[runtime.name];
  const perForward = (linear / rate.linear + (attention * work.density) / rate.attention) / runtime.threads;
  const decode = (work.megapixels * rate.secondsPerMegapixel * 2) / runtime.threads;
  const dim = config.heads * config.headDim;
  const activations = 4 * work.tokens * (8 * dim + 2 * config.ffnDim);
  const weights = 4 * work.weightElements;
  const denoising = weights + work.weightBytes / config.layers + activations;
  return {
    seconds: work.forwards * perForward + decode + 2,
    bytes: Math.max(denoising, work.decoderBytes + (work.held ? weights : 0)) + 300e6,
    tokens: work.tokens,
  };
}

/**
 * Mean FLOP-equivalent density a method promises over a run: 1 where its schedule is dense or its first search needs a log-sum-exp,
 * else what its levels read (cuts taken as shares of blocks).
 */
export function expectedDensity({ schedule, levels, score }: Method, steps: number, layers: number, grid: Grid): number {
  const sparse = flopShare(levels);
  let total = 0;
  for (let layer = 0; layer < layers; layer++) {
    let searched = !score.needsLse;
    for (let step = 0; step < steps; step++) {
      const isDense = schedule({ step, steps, layer, layers, branches: [0], grid }) === 'dense';
      total += isDense || !searched ? 1 : sparse;
      searched ||= !isDense;
    }
  }
  return total / (steps * layers);
}
