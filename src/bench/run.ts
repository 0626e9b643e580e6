// A whole denoising run of a transformer on the GPU, dense and with a method, by the clock on the wall: the loop and the sampler of the
// pipeline, from noise to the last latents, without text encoder and decoder.
import { createAttention } from '../attention.ts';
import { denoise } from '../dit/denoise.ts';
import { createSampler } from '../dit/sampler.ts';
import { type Transformer, transformer } from '../dit/transformer.ts';
import type { Method } from '../method.ts';
import { dense } from '../methods.ts';
import type { Tensor } from '../tensor.ts';
import { subjectId } from './ids.ts';
import type { ResultLog } from './log.ts';
import type { Case } from './results.ts';
import { type Spread, spreadOf } from './spread.ts';
import { openSubject, type Setting, type Subject, type SubjectOptions } from './subject.ts';

export interface RunBenchOptions extends SubjectOptions {
  readonly method: Method;
  /** The method as it was asked for (default its name). */
  readonly label?: string;
  readonly log: ResultLog<RunCase>;
  /** Default 50. */
  readonly steps?: number;
  /** Forwards of a step: 2 with guidance (default), or 1. */
  readonly branches?: number;
  /** Both branches in one forward (default false). */
  readonly batched?: boolean;
  /** Measure a dense run first (default true). */
  readonly dense?: boolean;
  /** Called after each step. */
  readonly onStep?: (step: BenchedStep) => void;
  readonly signal?: AbortSignal;
}

/** A step that was done, counted from 1, of a run by its method's name; the first run, `warm-up`, is not measured. */
export interface BenchedStep {
  readonly run: string;
  readonly step: number;
  readonly steps: number;
  readonly seconds: number;
}

/** One run. */
export interface RunCase extends Case {
  readonly method: string;
  /** Of the whole run. */
  readonly milliseconds: Spread;
  readonly stepSeconds: readonly number[];
  /** Mean share of attention that was computed, 0..1. */
  readonly density: number;
  /** Whether the last latents are numbers; random weights may overflow. */
  readonly finite: boolean;
  readonly setting: Setting;
  readonly steps: number;
  readonly branches: number;
  readonly batched: boolean;
  /** Where latents come from. */
  readonly latents: 'sampler';
  readonly peakBytes: number;
}

// A run of so many steps has every phase of the published methods: all kernels are compiled before a run is timed.
const WARM_UP_STEPS = 5;

/**
 * Measures the whole runs that the log wants, one after the other in one process. Texts are random; weights too unless there is a model.
 * @throws as `openSubject` does, and the signal's reason when it is aborted.
 */
export async function benchRun(options: RunBenchOptions): Promise<void> {
  const { method, log, label = method.name, steps = 50, branches = 2, batched = false } = options;
  const subject = await openSubject(options);
  const { gpu, setting } = subject;
  try {
    await log.begin(setting.gpu.device || setting.gpu.description);
    const idOf = (name: string) => `${subjectId(setting)}/zoetrope ${name}/${steps} steps x ${branches}${batched ? ' in one batch' : ''}`;
    const own = [{ name: label, method }];
    const all = options.dense === false || method.name === 'dense' ? own : [{ name: 'dense', method: dense() }, ...own];
    const wanted = all.filter(({ name }) => log.wants(idOf(name)));
    if (wanted.length === 0) return;
    const dit = transformer(subject.config, subject.weights, subject.executor);
    const texts = Array.from({ length: branches }, (_, branch) => subject.text(1 + branch));
    const run = { ...options, steps, batched, subject, dit, texts };
    await whole({ ...run, name: 'warm-up', steps: WARM_UP_STEPS });
    for (const one of wanted) {
      const { seconds, ...rest } = await whole({ ...run, ...one });
      const about = { setting, steps, branches, batched, latents: 'sampler' as const, peakBytes: gpu.memory.peakBytes };
      await log.add([{ id: idOf(one.name), method: one.name, milliseconds: spreadOf([1000 * seconds]), ...rest, ...about }]);
    }
  } finally {
    await subject.dispose();
  }
}

interface Whole extends RunBenchOptions {
  readonly name: string;
  readonly steps: number;
  readonly subject: Subject;
  readonly dit: Transformer;
  /** Text embeddings by branch. */
  readonly texts: readonly Tensor[];
}

const GUIDANCE = 5;

async function whole({ name, method, steps, batched, subject, dit, texts, onStep, signal }: Whole) {
  const { executor, latents, scheduler } = subject;
  const [prompt, negative] = texts;
  const stepSeconds: number[] = [];
  let mean = 0;
  const start = performance.now();
  const last = await denoise({
    ops: executor.ops,
    transformerAt: async () => ({ transformer: dit, lowNoise: false }),
    sampler: createSampler(scheduler, { steps }),
    attention: createAttention(executor.ops, method),
    ...{ latents: latents.numbers, shape: latents.shape, prompt, negative, batched, signal },
    guidance: { scale: negative ? GUIDANCE : 1, interval: [0, 1] },
    onStep: ({ step, milliseconds, density }) => {
      const seconds = milliseconds / 1000;
      stepSeconds.push(seconds);
      mean += density / steps;
      onStep?.({ run: name, step: step + 1, steps, seconds });
    },
  });
  const seconds = (performance.now() - start) / 1000;
  return { seconds, stepSeconds, density: mean, finite: last.every(Number.isFinite) };
}
