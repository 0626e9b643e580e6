// Which step and which guidance branches a run of a model stands for, told by the caller or by the timestep that is fed.
import type * as ort from 'onnxruntime-common';

/** How the step that a run belongs to is told. */
export interface StepOptions {
  /** Denoising steps of a video, each one run of the model or several. */
  readonly steps: number;
  /** The input that holds the timestep; by default one called timestep, timesteps, t or sigma. */
  readonly timestepInput?: string;
}

export interface Steps {
  /** Says which step the runs from now on belong to; they are its branches, one after the other. */
  set(step: number): void;
  /** The place of the next run with `batch` items. */
  enter(feeds: ort.InferenceSession.FeedsType, batch: number): { readonly step: number; readonly branches: readonly number[] };
}

const NAMES = new Set(['timestep', 'timesteps', 't', 'sigma']);

/** @throws RangeError for a number of steps, and TypeError for a timestep input, that there cannot be. */
export function trackSteps({ steps, timestepInput }: StepOptions, inputs: readonly string[]): Steps {
  if (!Number.isInteger(steps) || steps < 1)
    throw new RangeError(`steps is ${steps}; give the number of denoising steps of a run, a whole number`);
  if (timestepInput !== undefined && !inputs.includes(timestepInput))
    throw new TypeError(`there is no input ${JSON.stringify(timestepInput)} to read the timestep from; choose one of ${inputs.join(', ')}`);
  const input = timestepInput ?? inputs.find((name) => NAMES.has(name.toLowerCase()));
  let told: number | undefined;
  let [first, last] = [Number.NaN, Number.NaN];
  let [step, branch] = [0, 0];
  const follow = (time: number): void => {
    if (time === last) return;
    const isNewRun = Number.isNaN(last) || time === first || step + 1 >= steps;
    if (isNewRun) first = time;
    [step, branch, last] = [isNewRun ? 0 : step + 1, 0, time];
  };
  return {
    set(next) {
      if (!Number.isInteger(next) || next < 0 || next >= steps)
        throw new RangeError(`step ${next} is none of the ${steps} steps, 0 to ${steps - 1}`);
      [told, step, branch] = [next, next, 0];
    },
    enter(feeds, batch) {
      if (told === undefined) {
        if (input === undefined)
          throw new TypeError('no input is a timestep: call session.step(i) before each step, or name the input as timestepInput');
        follow(largest(feeds[input]));
      }
      const branches = Array.from({ length: batch }, (_, item) => branch + item);
      branch += batch;
      return { step, branches };
    },
  };
}

/** Models that keep some frames as they are feed a timestep of 0 for those. */
const largest = ({ data }: ort.Tensor): number =>
  Array.from(data as ArrayLike<number | bigint>).reduce<number>((most, value) => Math.max(most, Number(value)), -Infinity);
