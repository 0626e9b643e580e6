// Attention calls of a real run: q, k and v as the model makes them, handed over step by step, so that no more than one step is ever kept.
import { denoiseOnly } from '../denoise-only.ts';
import { BRANCH } from '../dit/denoise.ts';
import type { Attention, Site } from '../method.ts';
import type { GenerateOptions } from '../options.ts';
import type { TextToVideoPipeline } from '../pipeline.ts';
import type { Tensor } from '../tensor.ts';

/** One attention call of the conditional branch; q, k, v [heads, tokens, dim] in raster order on the pipeline's device. */
export interface Recorded {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly site: Site;
}

export interface Recording {
  readonly prompt: string;
  readonly options: Omit<GenerateOptions, 'attention' | 'onStep' | 'signal'>;
  /** Layers to record, counted from 0. */
  readonly layers: readonly number[];
  /** Called after each step, whose calls are freed when it is done. */
  readonly onStep: (calls: readonly Recorded[]) => Promise<void>;
  readonly signal?: AbortSignal;
}

/**
 * Runs the pipeline with full attention and records it; nothing is decoded.
 * @throws RangeError for a layer that the model lacks, and the signal's reason when it is aborted.
 */
export async function recordRun(pipe: TextToVideoPipeline, { prompt, options, layers, onStep, signal }: Recording): Promise<void> {
  let calls: Recorded[] = [];
  const drop = () => {
    for (const { q, k, v } of calls) for (const x of [q, k, v]) pipe.ops.release(x);
    calls = [];
  };
  try {
    await denoiseOnly(pipe, prompt, {
      ...options,
      attention: recorder(pipe, layers, (call) => calls.push(call)),
      signal,
      onStep: async () => {
        await onStep(calls);
        drop();
      },
    });
  } finally {
    drop();
  }
}

/** Full attention that keeps a copy of what it is given at some layers: a model frees its own. */
function recorder({ ops }: TextToVideoPipeline, layers: readonly number[], keep: (call: Recorded) => void): Attention {
  return (q, k, v, site) => {
    const missing = layers.find((layer) => layer >= site.layers);
    if (missing !== undefined) throw new RangeError(`there is no layer ${missing}: the model has ${site.layers}, counted from 0`);
    const item = site.branches.indexOf(BRANCH.conditional);
    if (item >= 0 && layers.includes(site.layer)) {
      const own = (x: Tensor) => ops.keep(ops.split(x, site.branches.length)[item]);
      keep({ q: own(q), k: own(k), v: own(v), site: { ...site, branches: [BRANCH.conditional] } });
    }
    return ops.attendAll(q, k, v, { lse: false }).out;
  };
}
