// What was found out about a model's heads beforehand: for methods that choose by layer and head without looking at a run.
import type { Call } from '../method.ts';
import type { Axes } from '../search/boxes.ts';

/** A window in tiles, frames x rows x columns; null is the whole axis. */
export type StoredWindow = readonly [number | null, number | null, number | null];

/** What recorded runs showed of each layer and head: plain data, written as JSON. */
export interface Calibration {
  /** Tells these files from others. */
  readonly what: 'zoetrope calibration';
  /** The version of this form. */
  readonly version: 1;
  /** Folder name of the model, and a digest of its transformer's shapes. */
  readonly model: {
    /** Name of its folder. */
    readonly name: string;
    /** Of its configuration and the names and shapes of its weights, hexadecimal. */
    readonly digest: string;
  };
  /** The calls that it holds for, and no others. */
  readonly shape: {
    /** Self-attention layers of the model. */
    readonly layers: number;
    /** Heads of a layer. */
    readonly heads: number;
    /** Numbers of a head. */
    readonly dim: number;
    /** Frames of the grid, in tokens. */
    readonly frames: number;
    /** Rows of the grid, in tokens. */
    readonly height: number;
    /** Columns of the grid, in tokens. */
    readonly width: number;
  };
  /** What it was found on. */
  readonly recorded: {
    /** The prompts. */
    readonly prompts: readonly string[];
    /** The seeds, each with each prompt. */
    readonly seeds: readonly number[];
    /** Denoising steps of a run. */
    readonly steps: number;
    /** Attention calls that were looked at. */
    readonly calls: number;
  };
  /** For windows of tiles: density of each, and for each layer and head the mean relative squared error of its output. */
  readonly windows: {
    /** Sides of a tile in tokens. */
    readonly tile: Axes;
    /** The windows that were tried, in tiles. */
    readonly candidates: readonly StoredWindow[];
    /** Of each window, the share of block pairs that it reads. */
    readonly densities: readonly number[];
    /** By layer, head and window: |o - o'|^2 / |o|^2 of the outputs o of full attention, a mean over calls. */
    readonly errors: readonly (readonly (readonly number[])[])[];
  };
  /** For each layer and head the mean share of a row's blocks, tiles of 4 x 4 x 4, that hold `cover` of its mass. */
  readonly shares: {
    /** Share of the mass, 0..1. */
    readonly cover: number;
    /** By layer and head, above 0 and at most 1. */
    readonly heads: readonly (readonly number[])[];
  };
}

/** The option of presets that choose by layer and head beforehand. */
export interface CalibrationOptions {
  /** One of this model and size; without it the method looks at the run, or is the same for all heads. */
  readonly calibration?: Calibration;
}

/** @throws RangeError when a call is not of the shape that was calibrated. */
export function checkShape({ shape }: Calibration, { q, site }: Call): void {
  const { frames, height, width } = site.grid;
  const own = { layers: site.layers, heads: q.shape[0], dim: q.shape[2], frames, height, width };
  const told = ({ layers, heads, dim, ...grid }: Calibration['shape']): string =>
    `${layers} layers of ${heads} heads of ${dim} on ${grid.frames} x ${grid.height} x ${grid.width} tokens`;
  if (told(own) !== told(shape))
    throw new RangeError(`the calibration is for ${told(shape)}, not for ${told(own)}; make one for this size`);
}

/**
 * For each layer and head one of the windows: those of least error in all whose mean density is at most `density`, or the sparsest where that is
 * too little. (Sliding Tile Attention, arXiv 2502.04507, searches masks by error; MoA, arXiv 2406.14909, under a bound of density.)
 */
export function chosenWindows({ windows }: Calibration, density: number): readonly (readonly Axes[])[] {
  const { candidates, densities, errors } = windows;
  const bestAt = (price: number): number[][] =>
    errors.map((layer) => layer.map((own) => leastOf(own.map((error, at) => error + price * densities[at]))));
  const meanOf = (chosen: number[][]): number => {
    const flat = chosen.flat();
    return flat.reduce((sum, at) => sum + densities[at], 0) / flat.length;
  };
  // What density costs rises until the choice is sparse enough.
  let [low, high] = [0, 1e9];
  for (let halving = 0; halving < 100; halving++) {
    const middle = halving < 60 ? Math.sqrt(Math.max(low, 1e-12) * high) : (low + high) / 2;
    if (meanOf(bestAt(middle)) > density) low = middle;
    else high = middle;
  }
  return bestAt(high).map((layer) => layer.map((at) => candidates[at].map((side) => side ?? Infinity) as unknown as Axes));
}

const leastOf = (numbers: readonly number[]): number => numbers.indexOf(Math.min(...numbers));
