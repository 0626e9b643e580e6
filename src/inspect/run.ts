// What a method did in a run, looked at from inside: density of every layer and head at every step, and of chosen ones the whole plan with
// its recall of the exact attention.
import { checkMethod, checkObject, checkOptions, checkPipeline, shown } from '../checks.ts';
import type { Layouts, Method, Phase, Site } from '../method.ts';
import type { GenerateOptions, Settings } from '../options.ts';
import type { RunReport, TextToVideoPipeline } from '../pipeline.ts';
import type { Recall } from '../quality/recall.ts';
import type { Grid } from '../sparse3d/plan.ts';
import { planRows } from '../sparse3d/reference.ts';
import type { Frame } from '../video/frame.ts';
import { type PlanNumbers, type WatchedCall, watch } from './watch.ts';

/** What to run, and where to look. */
export interface InspectOptions {
  /** The method that is looked at. */
  readonly method: Method;
  /** Layers whose plans are looked at, counted from 0; the first, the middle and the last by default, or all. */
  readonly layers?: readonly number[] | 'all';
  /** Steps whose plans are looked at, counted from 0; the last by default, or all. */
  readonly atSteps?: readonly number[] | 'all';
  /** Size, steps, seed and what else a run takes. */
  readonly settings?: Omit<GenerateOptions, 'attention' | 'onStep' | 'signal'>;
  /** What was done, with the step's density by the calls that were seen. */
  readonly onStep?: (step: InspectedStep) => void;
  /** Ends the run, which then throws its reason. */
  readonly signal?: AbortSignal;
}

/** A denoising step that is done. */
export interface InspectedStep {
  /** From 0. */
  readonly step: number;
  /** Steps of the run. */
  readonly steps: number;
  /** What the step took, looking included. */
  readonly milliseconds: number;
  /** Mean FLOP-equivalent share of full attention over its calls, 0..1. */
  readonly density: number;
}

/** One attention call of the conditional branch. */
export interface InspectedCall {
  /** Denoising step, from 0. */
  readonly step: number;
  /** Layer, from 0. */
  readonly layer: number;
  /** What was due. */
  readonly phase: Phase;
  /** FLOP-equivalent share of full attention that was computed, by head. */
  readonly density: readonly number[];
}

/** A head of a plan, and the shares of the exact softmax mass that it holds. */
export interface InspectedHead extends Recall {
  /** FLOP-equivalent share of full attention that the plan computes, 0..1. */
  readonly density: number;
}

/** A plan that was looked at. */
export interface InspectedPlan extends InspectedCall {
  /** Token orders of queries and keys. */
  readonly layout: Layouts;
  /** Pool factors of the levels, finest first. */
  readonly pools: readonly number[];
  /** u8 [heads, qBlocks, kBlocks]: 0 where a key block is not read, else 1 + the number of its level. */
  readonly levels: Uint8Array;
  /** False where the step computed full attention and kept the plan for the next one. */
  readonly isRead: boolean;
  /** What the plan costs and recalls, by head. */
  readonly heads: readonly InspectedHead[];
}

/** A run that was looked at. */
export interface Inspection {
  /** What the video is of. */
  readonly prompt: string;
  /** Name of the method. */
  readonly method: string;
  /** Size, steps, seed and guidance of the run. */
  readonly settings: Settings;
  /** The video in tokens. */
  readonly grid: Grid;
  /** Self-attention layers of the model. */
  readonly layers: number;
  /** Heads of a layer. */
  readonly heads: number;
  /** Every layer at every step. */
  readonly calls: readonly InspectedCall[];
  /** The plans that were looked at, by step and layer. */
  readonly plans: readonly InspectedPlan[];
  /** One decoded frame for each latent frame of the grid. */
  readonly frames: readonly Frame[];
  /** What the run reported, with the mean density of the calls that were seen. */
  readonly report: RunReport;
}

/**
 * Runs the pipeline with a method to the last frame and looks at its plans: a run takes longer than it would, by full attention where it is
 * looked at, and makes the same video.
 * @throws TypeError for what is no pipeline or no method, RangeError for a step or layer that there is not, and as the pipeline does.
 */
export async function inspectRun(pipe: TextToVideoPipeline, prompt: string, options: InspectOptions): Promise<Inspection> {
  checkPipeline(pipe);
  checkOptions('inspectRun', options, ['method'], ['method', 'layers', 'atSteps', 'settings', 'onStep', 'signal']);
  const { method, settings, signal, onStep } = options;
  checkMethod(method);
  checkChosen('layers', options.layers);
  checkChosen('atSteps', options.atSteps);
  const calls: InspectedCall[] = [];
  const plans: InspectedPlan[] = [];
  const densities: number[] = [];
  let site: Site | undefined;
  let heads = 0;
  const watched = watch(pipe.ops, method, (at) => {
    if (!site) checkLayers(options.layers, at.layers);
    site = at;
    return isChosen(options, at);
  });
  const video = pipe(prompt, {
    ...settings,
    signal,
    attention: watched.attention,
    onStep: async ({ step, steps, milliseconds }) => {
      for (const call of watched.take()) {
        heads = call.heads;
        const numbers = await call.plan?.numbers;
        calls.push(callOf(call, numbers));
        if (call.plan && numbers?.blocks) plans.push(planOf(call, numbers));
      }
      const density = mean(calls.filter((call) => call.step === step).flatMap((call) => call.density));
      densities.push(density);
      onStep?.({ step, steps, milliseconds, density });
    },
  });
  checkSteps(options.atSteps, video.settings.numInferenceSteps);
  const frames: Frame[] = [];
  try {
    for await (const frame of video) if (isBackdrop(frame.index, video.numFrames, site!.grid.frames)) frames.push(frame);
  } finally {
    watched.reset();
  }
  const report = await video.report;
  const { grid, layers } = site!;
  return {
    ...{ prompt, method: method.name, settings: video.settings, grid, layers, heads, calls, plans, frames, report },
    report: { ...report, meanDensity: mean(densities) },
  };
}

/** The layers that are looked at when none are named: the first, the middle and the last. */
const layersOf = (layers: InspectOptions['layers'], count: number): readonly number[] =>
  layers === 'all' ? Array.from({ length: count }, (_, layer) => layer) : (layers ?? [0, count >> 1, count - 1]);

function isChosen({ layers, atSteps = [-1] }: InspectOptions, site: Site): boolean {
  const atStep = atSteps === 'all' || atSteps.includes(site.step) || (atSteps[0] === -1 && site.step === site.steps - 1);
  return atStep && layersOf(layers, site.layers).includes(site.layer);
}

function checkChosen(name: string, chosen: unknown): void {
  if (chosen !== undefined && chosen !== 'all' && !Array.isArray(chosen))
    throw new TypeError(`${name} is ${shown(chosen)}; give a list of numbers from 0, or 'all'`);
}

/** @throws TypeError for what is no inspection. */
export function checkInspection(value: unknown): void {
  checkObject('the inspection is', value, 'give what inspectRun returned');
  if (!Array.isArray((value as Partial<Inspection>).plans))
    throw new TypeError(`the inspection is ${shown(value)}; give what inspectRun returned`);
}

function checkLayers(layers: InspectOptions['layers'], count: number): void {
  const missing = layersOf(layers, count).find((layer) => !(Number.isInteger(layer) && layer >= 0 && layer < count));
  if (missing !== undefined) throw new RangeError(`there is no layer ${missing}: the model has ${count}, counted from 0`);
}

function checkSteps(atSteps: InspectOptions['atSteps'], count: number): void {
  if (atSteps === 'all') return;
  const missing = atSteps?.find((step) => !(Number.isInteger(step) && step >= 0 && step < count));
  if (missing !== undefined) throw new RangeError(`there is no step ${missing}: the run has ${count}, counted from 0`);
}

/** Whether a frame is the one that a latent frame is drawn on; latent frames are spread evenly over the video. */
function isBackdrop(index: number, frames: number, latentFrames: number): boolean {
  if (latentFrames === 1) return index === 0;
  const every = (frames - 1) / (latentFrames - 1);
  return Math.round(Math.round(index / every) * every) === index;
}

function callOf({ site: { step, layer }, heads, phase, plan }: WatchedCall, numbers?: PlanNumbers): InspectedCall {
  const density = plan?.isRead && numbers ? densities(plan, numbers.counts, heads) : Array<number>(heads).fill(1);
  return { step, layer, phase, density };
}

/** Of each head: the share of block pairs, a pooled one by its part of the work. */
function densities({ pools, keyBlocks, layout }: NonNullable<WatchedCall['plan']>, counts: Int32Array, heads: number): number[] {
  const perHead = layout.q.blocks * pools.length;
  return Array.from({ length: heads }, (_, head) => {
    let computed = 0;
    for (let at = 0; at < perHead; at++) computed += counts[head * perHead + at] / pools[at % pools.length];
    return computed / (layout.q.blocks * keyBlocks);
  });
}

function planOf(call: WatchedCall, { counts, blocks, mass }: PlanNumbers): InspectedPlan {
  const { layout, pools, keyBlocks, width, isRead } = call.plan!;
  const [queryBlocks, { heads }] = [layout.q.blocks, call];
  const levels = new Uint8Array(heads * queryBlocks * keyBlocks);
  const planLevels = pools.map((pool) => ({ pool, upTo: 1 }));
  for (let head = 0; head < heads; head++)
    for (const [row, read] of planRows(counts, blocks!, planLevels, head, queryBlocks, width, keyBlocks).entries())
      for (const { block, pool } of read) levels[(head * queryBlocks + row) * keyBlocks + block] = 1 + pools.indexOf(pool);
  const density = densities(call.plan!, counts, heads);
  const recalled = recallByHead(levels, mass!.mass, pools, heads);
  return {
    ...callOf(call, { counts }),
    layout,
    pools,
    levels,
    isRead,
    heads: recalled.map((one, at) => ({ density: density[at], ...one })),
  };
}

function recallByHead(levels: Uint8Array, mass: Float32Array, pools: readonly number[], heads: number): Recall[] {
  const size = levels.length / heads;
  return Array.from({ length: heads }, (_, head) => {
    let [read, full, total] = [0, 0, 0];
    for (let at = head * size; at < (head + 1) * size; at++) {
      total += mass[at];
      if (levels[at] > 0) read += mass[at];
      if (levels[at] > 0 && pools[levels[at] - 1] === 1) full += mass[at];
    }
    return { read: read / total, full: full / total };
  });
}

/** 0 of none. */
export const mean = (numbers: readonly number[]): number => numbers.reduce((sum, x) => sum + x, 0) / Math.max(1, numbers.length);
