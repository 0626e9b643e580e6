// A cut graph as one session: its segments run one after the other, and the attention between them is the seam's.
import type * as ort from 'onnxruntime-common';
import type { StepStatistics } from '../attention.ts';
import type { Site } from '../method.ts';
import type { Grid } from '../sparse3d/plan.ts';
import type { Feeds } from './grid.ts';
import type { OpenedStep } from './open.ts';
import type { Place } from './places.ts';
import type { NodeProto } from './schema.ts';
import type { Steps } from './steps.ts';

/** An accelerated ONNX model, called like an InferenceSession. */
export interface OnnxSession {
  /** What a run is fed. */
  readonly inputNames: readonly string[];
  /** What it gives. */
  readonly outputNames: readonly string[];
  /** Self-attention calls of one forward that go through the seam. */
  readonly layers: number;
  /**
   * Computes the results, or those of `fetches` alone. Runs that are called before others have ended wait for them.
   * @throws TypeError for an input that is missing or unknown; RangeError when the tokens are not those of the grid.
   */
  run(feeds: Feeds, fetches?: readonly string[]): Promise<ort.InferenceSession.ReturnType>;
  /** Says which denoising step the runs from now on belong to (0 first): for models whose timestep cannot be told from the feeds. */
  step(index: number): void;
  /** How densely attention was computed since the last call. */
  statistics(): Promise<StepStatistics>;
  /** Frees the sessions and the device; run nothing afterwards. */
  release(): Promise<void>;
}

export interface Parts {
  readonly steps: readonly OpenedStep[];
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly seams: readonly NodeProto[];
  /** The attention in the file that each seam stands for. */
  readonly names: readonly string[];
  /** What the attention of each seam is computed in, where the place has it. */
  readonly dtypes: readonly ('f32' | 'f16')[];
  readonly place: Place;
  readonly tracked: Steps;
  gridOf(feeds: Feeds): Grid;
  readonly stepCount: number;
}

export function onnxSession(parts: Parts): OnnxSession {
  const { inputNames, outputNames, place, seams } = parts;
  let tail: Promise<unknown> = Promise.resolve();
  let released = false;
  const queued = <Result>(work: () => Promise<Result>): Promise<Result> => {
    const result = tail.then(work);
    tail = result.catch(() => undefined);
    return result;
  };
  return {
    inputNames,
    outputNames,
    layers: seams.length,
    step: parts.tracked.set,
    statistics: place.take,
    async run(feeds, fetches = outputNames) {
      if (released) throw new Error('this session was released; open the model again');
      checkNames(feeds, inputNames, fetches, outputNames);
      // Told now: by the time the run begins, the caller may be at a later step.
      const grid = parts.gridOf(feeds);
      const site = { ...parts.tracked.enter(feeds, batchOf(feeds)), steps: parts.stepCount, layers: seams.length, grid };
      return queued(() => runAll(parts, feeds, fetches, site));
    },
    async release() {
      if (released) return;
      released = true;
      await queued(async () => {
        for (const { session } of parts.steps) await session?.release();
        await place.dispose();
      });
    },
  };
}

function checkNames(feeds: Feeds, inputs: readonly string[], fetches: readonly string[], outputs: readonly string[]): void {
  const missing = inputs.find((name) => !feeds[name]);
  if (missing !== undefined) throw new TypeError(`the input ${missing} is not fed; the model takes ${inputs.join(', ')}`);
  const unknown = Object.keys(feeds).find((name) => !inputs.includes(name));
  if (unknown !== undefined) throw new TypeError(`the model has no input ${unknown}; it takes ${inputs.join(', ')}`);
  const other = fetches.find((name) => !outputs.includes(name));
  if (other !== undefined) throw new TypeError(`the model has no output ${other}; it gives ${outputs.join(', ')}`);
}

/** A run; what it made of values is freed when it fails. */
async function runAll(
  parts: Parts,
  feeds: Feeds,
  fetches: readonly string[],
  site: Omit<Site, 'layer'>,
): Promise<ort.InferenceSession.ReturnType> {
  const { place, seams } = parts;
  const values = new Map(
    Object.entries(feeds).map(([name, tensor]) => [name, new place.runtime.Tensor(tensor.type, tensor.data, tensor.dims)]),
  );
  const drop = (name: string): void => {
    if (!(name in feeds)) values.get(name)?.dispose();
    values.delete(name);
  };
  try {
    for (const { session, inputs, seams: following, spent } of parts.steps) {
      const given = Object.fromEntries(inputs.map((name) => [name, values.get(name)!]));
      for (const [name, tensor] of Object.entries((await session?.run(given)) ?? {})) values.set(name, tensor);
      for (const node of following) values.set(node.output[0], await attend(parts, node, values, { ...site, layer: seams.indexOf(node) }));
      spent.forEach(drop);
    }
    return Object.fromEntries(fetches.map((name) => [name, values.get(name)!]));
  } catch (error) {
    [...values.keys()].forEach(drop);
    throw error;
  }
}

/** Items of a batch, as the largest input has them. */
const batchOf = (feeds: Feeds): number =>
  Object.values(feeds).reduce((most, tensor) => (tensor.size > most.size ? tensor : most)).dims[0] ?? 1;

/** @throws what the attention throws, with the node that it stands for. */
async function attend(
  { place, seams, names, dtypes }: Parts,
  node: NodeProto,
  values: ReadonlyMap<string, ort.Tensor>,
  site: Site,
): Promise<ort.Tensor> {
  const [q, k, v] = node.input.map((name) => values.get(name)!);
  const at = seams.indexOf(node);
  // [batch, heads, tokens, dim] says how many items there are, where the largest input does not begin with them.
  const branches = q.dims.length > 3 ? site.branches.slice(0, q.dims[0]) : site.branches;
  try {
    return await place.attend(q, k, v, { ...site, branches }, dtypes[at]);
  } catch (error) {
    if (error instanceof RangeError) error.message = `${names[at]}: ${error.message}`;
    throw error;
  }
}
