// A fixture is a folder with a tiny model, inputs and the outputs of a reference implementation; a check yields one comparison per output.
import { access, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openWeights, type Weights } from '../../src/dit/weights.ts';

/** Largest differences that pass, as shares of the largest output: rounding of one float32 forward, and of loops and decoded video. */
export const TOLERANCE = { forward: 2e-5, loop: 1e-4 } as const;

/** A fixture folder, opened. */
export interface Fixture {
  readonly name: string;
  readonly folder: string;
  readonly meta: Readonly<Record<string, unknown>>;
  /** Path of something in the folder. */
  path(...parts: readonly string[]): string;
  /** Whether the folder has a file. */
  has(file: string): Promise<boolean>;
  /** An array of a safetensors file in the folder, e.g. ('inputs', 'latents'). */
  array(file: string, tensor: string): Promise<FixtureArray>;
  /** Names of the arrays of a file. */
  names(file: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface FixtureArray {
  readonly data: Float32Array | Int32Array;
  readonly shape: readonly number[];
}

/** One line of a report. */
export interface Comparison {
  readonly name: string;
  /** Largest absolute difference, and what it may be. */
  readonly difference: number;
  readonly tolerance: number;
  readonly passed: boolean;
  /** Computed on the host whatever the target: tokenizers in code, text encoders and VAEs by ONNX Runtime. */
  readonly host?: true;
}

/** Marks what the host computed. */
export const onHost = (comparison: Comparison): Comparison => ({ ...comparison, host: true });

/** Opens a fixture folder. */
export async function openFixture(folder: string): Promise<Fixture> {
  const meta = JSON.parse(await readFile(join(folder, 'meta.json'), 'utf8'));
  const files = new Map<string, Promise<Weights>>();
  const open = (file: string): Promise<Weights> => {
    const known = files.get(file) ?? openWeights(join(folder, `${file}.safetensors`));
    files.set(file, known);
    return known;
  };
  return {
    name: basename(folder),
    folder,
    meta,
    path: (...parts) => join(folder, ...parts),
    has: (file) =>
      access(join(folder, file)).then(
        () => true,
        () => false,
      ),
    async array(file, tensor) {
      const weights = await open(file);
      const { dtype, shape } = weights.get(tensor);
      const data = dtype === 'I32' ? new Int32Array((await weights.bytes(tensor)).buffer) : await weights.floats(tensor);
      return { data, shape };
    },
    names: async (file) => [...(await open(file)).tensors.keys()],
    async close() {
      for (const weights of files.values()) await (await weights).close();
    },
  };
}

/** An f32 array of a fixture. */
export const floats = async (fixture: Fixture, file: string, tensor: string): Promise<Float32Array> =>
  (await fixture.array(file, tensor)).data as Float32Array;

/** Compares numbers with a reference; `share` is the tolerance as a share of the largest reference value. */
export function compare(name: string, actual: ArrayLike<number>, expected: ArrayLike<number>, share: number): Comparison {
  let difference = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    const apart = Math.abs(actual[i] - expected[i]);
    if (!(apart <= difference)) difference = Number.isNaN(apart) ? Number.POSITIVE_INFINITY : apart;
  }
  const tolerance = share * largest;
  return { name, difference, tolerance, passed: difference <= tolerance };
}

/** The comparison that comes nearest to its tolerance, or exceeds it most. */
export const worst = (comparisons: readonly Comparison[]): Comparison =>
  comparisons.reduce((a, b) => (b.difference / b.tolerance > a.difference / a.tolerance ? b : a));
