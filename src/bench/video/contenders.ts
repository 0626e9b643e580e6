// What whole videos are made with, to be held against dense attention: methods at sparsities, the step cache, both together, and the floor,
// which is how far a video moves by numbers that nobody would miss.
import { type StepCache, stepCache } from '../../dit/step-cache.ts';
import type { Method } from '../../method.ts';
import { dense } from '../../methods.ts';

/** A way to make a video. Methods are made once: a model keeps what it compiled for their token orders. */
export interface VideoContender {
  /** As ids and tables name it: `adaSpa 0.8 + cache 0.05`. */
  readonly label: string;
  readonly role: 'dense' | 'floor' | 'contender';
  readonly method: Method;
  /** What was asked of the method, if it takes a sparsity. */
  readonly sparsity?: number;
  readonly cache?: StepCache;
  /** Stores numbers otherwise than the run it is compared with. */
  readonly dtype?: 'f32' | 'f16';
  /** Steps beyond those of the run it is compared with. */
  readonly moreSteps?: number;
}

/** A method and what was asked of it. */
export interface NamedMethod {
  readonly name: string;
  readonly sparsity?: number;
  readonly method: Method;
}

export interface ContenderOptions {
  readonly methods: readonly NamedMethod[];
  /** Thresholds of the step cache; 0 is without one. */
  readonly caches: readonly number[];
  /** The other way to store numbers that the device has, if it has one. */
  readonly otherDtype?: 'f32' | 'f16';
  /** Leave the floor out (default: it is measured). */
  readonly floor?: boolean;
}

/** The run that all others are compared with. */
export const reference = (): VideoContender => ({ label: 'dense', role: 'dense', method: dense() });

/**
 * Every contender: each method and plain attention, at each threshold of the step cache, then the floor.
 * @throws RangeError for a threshold that is below 0 or no number, and for two contenders of one name.
 */
export function videoContenders({ methods, caches, otherDtype, floor = true }: ContenderOptions): readonly VideoContender[] {
  const plain: NamedMethod = { name: 'dense', method: dense() };
  const all = [plain, ...methods].flatMap((one) => caches.map((threshold) => contender(one, threshold)));
  const contenders = [...all.filter(({ label }) => label !== 'dense'), ...(floor ? floorRows(otherDtype) : [])];
  const labels = contenders.map(({ label }) => label);
  const twice = labels.find((label, at) => labels.indexOf(label) !== at);
  if (twice !== undefined) throw new RangeError(`"${twice}" is to be measured twice; name each method, sparsity and threshold once`);
  return contenders;
}

function contender({ name, sparsity, method }: NamedMethod, threshold: number): VideoContender {
  const parts = [...(name === 'dense' ? [] : [label(name, sparsity)]), ...(threshold === 0 ? [] : [`cache ${threshold}`])];
  return {
    ...{ label: parts.join(' + ') || 'dense', role: 'contender', method },
    ...(sparsity !== undefined && { sparsity }),
    ...(threshold !== 0 && { cache: stepCache({ threshold }) }),
  };
}

const label = (name: string, sparsity?: number): string => (sparsity === undefined ? name : `${name} ${sparsity}`);

function floorRows(otherDtype?: 'f32' | 'f16'): VideoContender[] {
  const storage = otherDtype && { label: `dense ${otherDtype}`, role: 'floor' as const, method: dense(), dtype: otherDtype };
  return [...(storage ? [storage] : []), { label: 'dense, 1 step more', role: 'floor', method: dense(), moreSteps: 1 }];
}
