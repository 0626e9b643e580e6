// What a run on a GPU would wait for in its first steps, begun before: weights, and every kernel that its steps and its decoder launch.
import { type BoundAttention, createAttention } from './attention.ts';
import { BRANCH, denoise } from './dit/denoise.ts';
import type { Ahead } from './dit/executor.ts';
import type { Transformer } from './dit/transformer.ts';
import type { Attention, Method } from './method.ts';
import type { Settings } from './options.ts';
import { gridOf, guidanceOf, isBatched, isHeld, latentShape, type Parts, samplerOf } from './parts.ts';
import { elements } from './tensor.ts';

/**
 * Denoises on a backend that computes nothing, so that all that a run launches is compiled side by side, while weights are loaded. On the CPU there is nothing to begin.
 * @throws Error when weights cannot be loaded.
 */
export async function prepareRun(parts: Parts, settings: Settings, method: Method | Attention): Promise<void> {
  const { ahead } = parts.device.executor;
  if (!ahead) return;
  const { transformer, loaded } = rehearsing(parts, settings, method, ahead);
  const shape = latentShape(parts, settings);
  const { textDim } = transformer.config;
  const text = () => ahead.tensor([1, settings.maxSequenceLength, textDim], 'f32');
  try {
    await denoise({
      ops: { ...ahead.ops, wait: async () => undefined, read: async () => new Float32Array(0) },
      sampler: samplerOf(parts, settings),
      transformerAt: async (timestep) => ({ transformer, lowNoise: parts.transformer2 !== undefined && timestep < parts.boundary }),
      attention: silent(ahead, method),
      ...{ shape, latents: new Float32Array(elements(shape)), prompt: text(), negative: text() },
      ...{ guidance: guidanceOf(parts, settings), batched: isBatched(parts, settings) },
    });
  } catch {
    // The run itself will come to it.
  }
  // Frames come later: nobody waits here, and what goes wrong is said there.
  parts.vae.prepare(shape).catch(() => undefined);
  await Promise.all([ahead.ops.wait(text()), ...loaded.values()]);
}

/** A transformer that only loads what its forwards need, and calls attention: layers that are due alike at all steps only once. */
function rehearsing(parts: Parts, settings: Settings, method: Method | Attention, { tensor }: Ahead) {
  const { config, grid, prepare } = parts.transformer;
  const loaded = new Map<string, Promise<void>>();
  const layers = differentLayers(parts, settings, method);
  // Weights that make room for others are not loaded beside the text encoder.
  const held = isHeld(parts);
  const transformer: Transformer = {
    ...parts.transformer,
    async forward({ latents, text }, seam, layout) {
      const [batch, , frames, height, width] = latents.shape;
      const key = `${latents.shape}`;
      if (held && !loaded.has(key)) loaded.set(key, prepare(latents.shape, text.shape[1], layout));
      // What goes wrong is thrown where it is waited for.
      loaded.get(key)?.catch(() => undefined);
      const tokens = grid({ frames, height, width });
      const rows = layout?.order.length ?? tokens.frames * tokens.height * tokens.width;
      const call = () => tensor([batch * config.heads, rows, config.headDim], parts.device.report.dtype);
      for (const layer of layers) seam(call(), call(), call(), layer, tokens);
      return tensor(latents.shape, 'f32');
    },
  };
  return { transformer, loaded };
}

/** A method's attention on handles without numbers; a bare function is not called. */
function silent({ ops }: Ahead, method: Method | Attention): BoundAttention {
  const none = { calls: 0, dense: 0, searches: 0, reuses: 0, density: 1 };
  const nothing = { density: async () => 1, take: async () => none, reset: () => undefined, order: () => undefined };
  return typeof method === 'function' ? { ...nothing, attention: (q) => q } : { ...createAttention(ops, method), take: nothing.take };
}

/** The first of all layers that are due alike at all steps. */
function differentLayers(parts: Parts, settings: Settings, method: Method | Attention): readonly number[] {
  const { layers } = parts.transformer.config;
  if (typeof method === 'function') return [];
  const { schedule } = method;
  const { numInferenceSteps: steps } = settings;
  const grid = gridOf(parts, settings);
  const kinds = new Map<string, number>();
  for (let layer = 0; layer < layers; layer++) {
    const sites = Array.from({ length: steps }, (_, step) => ({ step, steps, layer, layers, branches: [BRANCH.conditional], grid }));
    const key = sites.map((site) => `${schedule(site)} ${(schedule.planLayer?.(site) ?? layer) === layer}`).join();
    if (!kinds.has(key)) kinds.set(key, layer);
  }
  return [...kinds.values()];
}
