// Schedules: when is dense attention, a search or the kept plan due. All times are shares of the run, so that run lengths can change.
import { checkOptions, checkStage, shown } from '../checks.ts';
import type { Phase, Schedule, Site } from '../method.ts';

/** Never sparse. */
export const alwaysDense = (): Schedule => () => 'dense';

/**
 * Dense until the first share of the run, a search there and at each later share, the kept plan between (AdaSpa: steps 10 and 30 of 50 are
 * .2 and .6). Shares are rounded to the nearest step.
 * @throws RangeError when a share is not in [0, 1) or shares do not rise.
 */
export const searchAt = (...shares: readonly number[]): Schedule => {
  checkShares(shares, 'run');
  if (shares.length === 0) throw new RangeError('searchAt needs at least one share of the run, such as 0.2');
  return ({ step, steps }) => {
    const searches = shares.map((share) => stepOf(share, steps));
    if (step < searches[0]) return 'dense';
    return searches.includes(step) ? 'search' : 'reuse';
  };
};

/** What stays dense at the start: below 1 a share of all, rounded to the nearest; from 1 on a count, such as 12 steps or 2 layers. */
export interface DenseStart {
  /** Denoising steps. Default 0. */
  readonly denseSteps?: number;
  /** Layers of the model, at every step. Default 0. */
  readonly denseLayers?: number;
}

/** Options of `searchEvery`. */
export interface SearchEveryOptions extends DenseStart {
  /** Steps from one search to the next; the plan is kept between. Default 1. */
  readonly every?: number;
}

/**
 * Dense first, then a search every so many steps.
 * @throws RangeError for a start that is neither a share nor a count, or when `every` is no whole number above 0.
 */
export const searchEvery = ({ denseSteps = 0, denseLayers = 0, every = 1 }: SearchEveryOptions = {}): Schedule => {
  checkStart({ denseSteps, denseLayers });
  if (!Number.isInteger(every) || every < 1)
    throw new RangeError(`a search every ${every} steps is not possible; give a whole number above 0`);
  return ({ step, steps, layer, layers }) => {
    const first = startOf(denseSteps, steps);
    if (step < first || layer < startOf(denseLayers, layers)) return 'dense';
    return (step - first) % every === 0 ? 'search' : 'reuse';
  };
};

/** Dense first, then one search, whose plan is kept to the end: static patterns, and SparseD. @throws RangeError as `searchEvery`. */
export const searchOnce = (start: DenseStart = {}): Schedule => searchEvery({ ...start, every: Number.MAX_SAFE_INTEGER });

/** Steps or layers: below 1 a share of all, from 1 on a count, both from the first; or a list of them, counted from 0, or below 0 from the end. */
export type Which = number | readonly number[];

/** Where attention stays dense whatever the schedule. */
export interface DenseOverrides {
  /** Denoising steps. */
  readonly denseSteps?: Which;
  /** Layers of the model, at every step. */
  readonly denseLayers?: Which;
}

/**
 * Another schedule that is dense at some steps and layers. A search due there is made at the first step after, and what layers follow there by the
 * first layer after.
 * @throws RangeError for what is neither a share, a count nor whole numbers; when it is asked, for a step or layer that is not there.
 */
export const withDense = (schedule: Schedule, overrides: DenseOverrides): Schedule => {
  checkStage('withDense', schedule, 'a schedule, such as searchAt(0.2, 0.6)');
  checkOptions('withDense', overrides, ['denseSteps', 'denseLayers']);
  const isDense = isDenseAt(overrides);
  const leads = schedule.planLayer;
  const planLayer = leads && ((site: Site): number => firstOpen(leads, isDense, site));
  const phaseAt = (site: Site): Phase => schedule(leads && planLayer!(site) === site.layer ? { ...site, layer: leads(site) } : site);
  const due = (site: Site): Phase => {
    if (isDense(site)) return 'dense';
    let phase = phaseAt(site);
    for (let step = site.step - 1; phase === 'reuse' && step >= 0 && isDense({ ...site, step }); step--)
      if (phaseAt({ ...site, step }) === 'search') phase = 'search';
    return phase;
  };
  return Object.assign(due, planLayer && { planLayer });
};

/** Whether a site is kept dense. @throws RangeError as `withDense` does. */
export function isDenseAt({ denseSteps = 0, denseLayers = 0 }: DenseOverrides): (site: Site) => boolean {
  checkWhich({ denseSteps, denseLayers });
  return ({ step, steps, layer, layers }) =>
    covers('denseSteps', denseSteps, step, steps) || covers('denseLayers', denseLayers, layer, layers);
}

/** The layer to follow: the one that leads, or where that is dense the first after it that would follow it and is not. */
function firstOpen(leads: (site: Site) => number, isDense: (site: Site) => boolean, site: Site): number {
  const leader = leads(site);
  for (let layer = leader; layer < site.layer; layer++) {
    const other = { ...site, layer };
    if (leads(other) === leader && !isDense(other)) return layer;
  }
  return leader < site.layer && isDense({ ...site, layer: leader }) ? site.layer : leader;
}

function covers(name: string, which: Which, at: number, all: number): boolean {
  if (typeof which === 'number') return at < startOf(which, all);
  const missing = which.find((one) => one >= all || one < -all);
  if (missing !== undefined)
    throw new RangeError(`${name} names ${missing}, but there are ${all}, counted from 0, or below 0 from the end`);
  return which.includes(at) || which.includes(at - all);
}

function checkWhich(overrides: Required<DenseOverrides>): void {
  for (const [name, which] of Object.entries(overrides) as [string, Which][]) {
    if (typeof which === 'number') checkStart({ [name]: which });
    else if (!Array.isArray(which) || !which.every(Number.isInteger))
      throw new RangeError(`${name} is [${String(which)}]; give whole numbers, a share from 0 to below 1, or a count`);
  }
}

/** Options of `searchLayers`. */
export interface SearchLayersOptions extends DenseStart {
  /** Where layers search, as shares of all layers that rise. The first sparse layer always does. Default .5, the middle one. */
  readonly at?: readonly number[];
}

/**
 * At every sparse step a few layers search, and the layers after each follow its plan (TidalDecode, arXiv 2410.05076, does so
 * for tokens in decoding). All layers must have one token order.
 * @throws RangeError when shares do not rise from 0 to below 1, and as `searchEvery`.
 */
export const searchLayers = ({ at = [0.5], denseSteps = 0, denseLayers = 0 }: SearchLayersOptions = {}): Schedule => {
  checkStart({ denseSteps, denseLayers });
  checkShares(at, 'layers');
  const planLayer = ({ layer, layers }: Site): number => {
    const first = startOf(denseLayers, layers);
    return Math.max(first, ...at.map((share) => Math.round(share * layers)).filter((searching) => searching <= layer));
  };
  const due = (site: Site): Phase => {
    if (site.step < startOf(denseSteps, site.steps) || site.layer < startOf(denseLayers, site.layers)) return 'dense';
    return planLayer(site) === site.layer ? 'search' : 'reuse';
  };
  return Object.assign(due, { planLayer });
};

/** @throws RangeError, by its name, for a value that is neither a share below 1 nor a count. */
export function checkStart(start: Readonly<Record<string, number>> | DenseStart): void {
  for (const [name, value] of Object.entries(start))
    if (!isShare(value) && !(Number.isInteger(value) && value >= 1))
      throw new RangeError(`${name} is ${value}; give a share from 0 to below 1, or a whole number of them`);
}

function checkShares(shares: readonly number[], of: string): void {
  if (!Array.isArray(shares)) throw new TypeError(`the shares of the ${of} are ${shown(shares)}; give a list of them`);
  for (const [at, share] of shares.entries())
    if (!isShare(share) || share <= (shares[at - 1] ?? -1))
      throw new RangeError(`searches at [${shares.join(', ')}] of the ${of} are not rising shares from 0 to below 1, such as 0.2, 0.6`);
}

/** How many of `all` steps or layers a start covers. */
export const startOf = (start: number, all: number): number => (isShare(start) ? Math.round(start * all) : start);

const isShare = (share: number): boolean => share >= 0 && share < 1;

/** The nearest step to a share of the run, never past its last. */
const stepOf = (share: number, steps: number): number => Math.min(Math.round(share * steps), steps - 1);
