// What a contender's plans were in one run, made small: densities of layers and heads, and what a few plans recall. That run is not timed.
import { inspectRun } from '../../inspect/run.ts';
import type { TextToVideoPipeline } from '../../pipeline.ts';
import { type CasePlans, rounded } from './case.ts';
import type { ClipOptions } from './clip.ts';

/** Recall is measured at so many layers and so many steps, spread over the model and the run. */
const SAMPLE = { layers: 3, steps: 3 };

/** Runs a contender once more, and looks at it. @throws as the pipeline does. */
export async function plansOf(pipe: TextToVideoPipeline, layers: number, options: ClipOptions): Promise<CasePlans> {
  const { prompt, seed, settings, contender, signal } = options;
  const { method, cache } = contender;
  const steps = settings.numInferenceSteps;
  const inspection = await inspectRun(pipe, prompt, {
    ...{ method, signal, layers: spread(layers, SAMPLE.layers, 0), atSteps: spread(steps, SAMPLE.steps, 1) },
    settings: { ...settings, seed, ...(cache && { cache }) },
  });
  const { calls, heads } = inspection;
  const at = (step: number, layer: number) => calls.find((call) => call.step === step && call.layer === layer);
  const everyStep = Array.from({ length: steps }, (_, step) => step);
  const everyLayer = Array.from({ length: inspection.layers }, (_, layer) => layer);
  // A step that the cache skipped has no call, and computes nothing.
  const density = (step: number, layer: number, head: number): number => at(step, layer)?.density[head] ?? 0;
  const everyHead = Array.from({ length: heads }, (_, head) => head);
  return {
    densityByLayer: everyStep.map((step) => everyLayer.map((layer) => mean(everyHead.map((head) => density(step, layer, head))))),
    densityByHead: everyLayer.map((layer) => everyHead.map((head) => mean(everyStep.map((step) => density(step, layer, head))))),
    recall: inspection.plans
      .filter(({ isRead }) => isRead)
      .map((plan) => ({
        step: plan.step,
        layer: plan.layer,
        read: mean(plan.heads.map((h) => h.read)),
        full: mean(plan.heads.map((h) => h.full)),
      })),
  };
}

/** At most `count` of `length` places, evenly spread; `late` leaves out the first ones, which are dense steps of a run. */
function spread(length: number, count: number, late: 0 | 1): number[] {
  const places = Array.from({ length: count }, (_, at) => Math.round(((at + late) * (length - 1)) / (count - 1 + late)));
  return [...new Set(places)];
}

const mean = (values: readonly number[]): number => rounded(values.reduce((sum, value) => sum + value, 0) / values.length, 3);
