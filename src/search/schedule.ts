// Schedules: when is dense attention, a search or the kept plan due. All times are shares of the run, so that run lengths can change.
import type { Schedule } from '../method.ts';

/** Never sparse. */
export const alwaysDense = (): Schedule => () => 'dense';

/**
 * Dense until the first share of the run, a search there and at each later share, the kept plan between (AdaSpa: steps 10 and 30 of 50 are
 * .2 and .6). Shares are rounded to the nearest step.
 * @throws RangeError when a share is not in [0, 1) or shares do not rise.
 */
export const searchAt = (...shares: readonly number[]): Schedule => {
  for (const [at, share] of shares.entries())
    if (!isShare(share) || share <= (shares[at - 1] ?? -1))
      throw new RangeError(`searches at [${shares.join(', ')}] of the run are not rising shares from 0 to below 1, such as 0.2, 0.6`);
  if (shares.length === 0) throw new RangeError('searchAt needs at least one share of the run, such as 0.2');
  return ({ step, steps }) => {
    const searches = shares.map((share) => stepOf(share, steps));
    if (step < searches[0]) return 'dense';
    return searches.includes(step) ? 'search' : 'reuse';
  };
};

export interface SearchEveryOptions {
  /** Share of the run that starts dense, rounded to the nearest step. */
  readonly denseSteps?: number;
  /** Share of the layers, from the first, that are always dense, rounded to the nearest layer. */
  readonly denseLayers?: number;
  /** Steps from one search to the next; the plan is kept between. */
  readonly every?: number;
}

/**
 * Dense first, then a search every so many steps.
 * @throws RangeError when a share is not in [0, 1) or `every` is no whole number above 0.
 */
export const searchEvery = ({ denseSteps = 0, denseLayers = 0, every = 1 }: SearchEveryOptions = {}): Schedule => {
  for (const [name, share] of Object.entries({ denseSteps, denseLayers }))
    if (!isShare(share)) throw new RangeError(`${name} is ${share}; give a share from 0 to below 1`);
  if (!Number.isInteger(every) || every < 1)
    throw new RangeError(`a search every ${every} steps is not possible; give a whole number above 0`);
  return ({ step, steps, layer, layers }) => {
    const first = Math.round(denseSteps * steps);
    if (step < first || layer < Math.round(denseLayers * layers)) return 'dense';
    return (step - first) % every === 0 ? 'search' : 'reuse';
  };
};

const isShare = (share: number): boolean => share >= 0 && share < 1;

/** The nearest step to a share of the run, never past its last. */
const stepOf = (share: number, steps: number): number => Math.min(Math.round(share * steps), steps - 1);
