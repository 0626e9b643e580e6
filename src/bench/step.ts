// One denoising step of a transformer on the GPU, by phase of a method and by kind of work.
import { type BoundAttention, createAttention } from '../attention.ts';
import type { GpuDevice } from '../backend/webgpu/device.ts';
import { timestepEmbedding, wanTransformer } from '../dit/wan.ts';
import type { Method } from '../method.ts';
import { keptOrder } from '../method-order.ts';
import { subjectId } from './ids.ts';
import { byKind, type KindTime, sum } from './kinds.ts';
import type { ResultLog } from './log.ts';
import type { Case } from './results.ts';
import { median, type Spread, spreadOf } from './spread.ts';
import { openSubject, type Setting, type Subject, type SubjectOptions } from './subject.ts';

export interface StepOptions extends SubjectOptions {
  readonly method: Method;
  /** The method as it was asked for (default its name). */
  readonly label?: string;
  readonly log: ResultLog<StepCase>;
  /** Timed forwards of a phase (default 5). */
  readonly runs?: number;
  /** Seconds of work before anything is timed: an idle GPU starts slowly (default 1). */
  readonly warmUpSeconds?: number;
  /** Called before each phase. */
  readonly onPhase?: (phase: Phase) => void;
  readonly signal?: AbortSignal;
}

/** A step of a run of 50 that stands for a phase. */
export interface Phase {
  readonly name: 'dense' | 'first search' | 'reuse' | 'later search';
  /** Counts from 0. */
  readonly step: number;
}

/** One forward in a phase. */
export interface PhaseTimes extends Phase {
  /** From the first launch to the end of the last. */
  readonly milliseconds: Spread;
  /** Median of the time the host took to enqueue. */
  readonly hostMilliseconds: number;
  /** Mean share of attention that was computed, 0..1. */
  readonly density: number;
  /** By timestamps of one more run, launch by launch; absent where the GPU has none. */
  readonly gpuMilliseconds?: number;
  readonly kinds?: readonly KindTime[];
}

/** A phase of a method on a setting. */
export interface StepCase extends Case, PhaseTimes {
  readonly milliseconds: Spread;
  readonly method: string;
  readonly setting: Setting;
  readonly loadingSeconds: number;
  /** GPU memory of the loaded weights, and the most that was taken so far. */
  readonly loadedBytes: number;
  readonly peakBytes: number;
}

const STEPS = 50;
const RUNS = 5;

/**
 * Measures one forward, batch 1, in each phase that `method` has and the log wants. Inputs are random.
 * @throws as `openSubject` does, and the signal's reason when it is aborted.
 */
export async function benchStep(options: StepOptions): Promise<void> {
  const { method, log, label = method.name } = options;
  const subject = await openSubject(options);
  const { gpu, setting } = subject;
  try {
    await log.begin(setting.gpu.device || setting.gpu.description);
    const idOf = ({ name }: Phase) => `${subjectId(setting)}/zoetrope ${label}/${name}`;
    const wanted = phasesOf(method, subject).filter((phase) => log.wants(idOf(phase)));
    if (wanted.length === 0) return;
    const loading = performance.now();
    const step = await openStep(subject, method);
    const loaded = { loadingSeconds: (performance.now() - loading) / 1000, loadedBytes: gpu.memory.bytes };
    await warmUp(step, options);
    for (const phase of wanted) {
      options.onPhase?.(phase);
      const times = await measure(step, phase, options);
      await log.add([{ id: idOf(phase), method: label, ...times, setting, ...loaded, peakBytes: gpu.memory.peakBytes }]);
    }
  } finally {
    await subject.dispose();
  }
}

/** The first step of each phase in a run. */
export function phasesOf({ schedule }: Method, { grid, config: { layers } }: Pick<Subject, 'grid' | 'config'>): Phase[] {
  const due = Array.from({ length: STEPS }, (_, step) => schedule({ step, steps: STEPS, layer: layers - 1, layers, branches: [0], grid }));
  const search = due.indexOf('search');
  const phases = [
    { name: 'dense', step: due.indexOf('dense') },
    { name: 'first search', step: search },
    { name: 'reuse', step: due.indexOf('reuse') },
    { name: 'later search', step: search < 0 ? -1 : due.indexOf('search', search + 1) },
  ] as const;
  return phases.filter(({ step }) => step >= 0);
}

/** A forward that can be repeated at any step. */
interface Step {
  readonly gpu: GpuDevice;
  readonly attention: BoundAttention;
  /** Enqueues one forward. */
  run(step: number): void;
}

async function openStep({ gpu, executor, config, weights, shape, grid, latents, text }: Subject, method: Method): Promise<Step> {
  const { ops } = executor;
  const { layers } = config;
  const layout = keptOrder(method)({ step: 0, steps: STEPS, layers, branches: [0], grid });
  const executable = await executor.compile(wanTransformer(config, shape(1), layout), weights);
  await gpu.idle();
  const inputs = {
    hidden_states: ops.upload(latents.numbers, [1, ...latents.shape]),
    time: ops.upload(timestepEmbedding([500], config.freqDim), [1, 1, config.freqDim]),
    encoder_hidden_states: text(1),
  };
  // A step that comes again would be a new run, so the attention is told a count that rises, and the schedule alone the step that is due.
  let due = 0;
  let count = 0;
  const attention = createAttention(ops, { ...method, schedule: (site) => method.schedule({ ...site, step: due, steps: STEPS }) });
  return {
    gpu,
    attention,
    run(step) {
      due = step;
      const site = { step: count++, steps: STEPS, layers, branches: [0], ...(layout && { layout }) };
      ops.scope(() => {
        executable.run(inputs, (q, k, v, layer, grid) => attention.attention(q, k, v, { ...site, layer, grid }));
      });
    },
  };
}

/** Dense forwards until so many seconds have passed; one at least. */
async function warmUp({ gpu, run }: Step, { warmUpSeconds = 1, signal }: StepOptions): Promise<void> {
  const start = performance.now();
  do {
    signal?.throwIfAborted();
    run(0);
    await gpu.idle();
  } while (performance.now() - start < 1000 * warmUpSeconds);
}

async function measure(step: Step, phase: Phase, { runs = RUNS, signal }: StepOptions): Promise<PhaseTimes> {
  const { gpu, attention } = step;
  // The first search of a run has nothing to go by; what was remembered is forgotten before each.
  const prepare = async () => {
    signal?.throwIfAborted();
    if (phase.name === 'first search') attention.reset();
    await attention.take();
  };
  const times: { whole: number; host: number }[] = [];
  // One more, not counted: it compiles what is missing.
  for (let run = 0; run <= runs; run++) {
    await prepare();
    const start = performance.now();
    step.run(phase.step);
    const host = performance.now() - start;
    await gpu.idle();
    if (run > 0) times.push({ whole: performance.now() - start, host });
  }
  const { density } = await attention.take();
  await prepare();
  const kinds = gpu.adapter.features.has('timestamp-query') ? byKind(await gpu.profile(() => step.run(phase.step))) : undefined;
  return {
    ...phase,
    milliseconds: spreadOf(times.map(({ whole }) => whole)),
    hostMilliseconds: median(times.map(({ host }) => host)),
    density,
    ...(kinds && { gpuMilliseconds: sum(kinds, 'milliseconds'), kinds }),
  };
}
