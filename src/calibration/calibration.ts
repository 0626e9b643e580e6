// What was found out about a model's heads beforehand: for methods that choose by layer and head without looking at a run.
import type { Call } from '../method.ts';
import type { Axes } from '../search/boxes.ts';

/** A window in tiles, frames x rows x columns; null is the whole axis. */
export type StoredWindow = readonly [number | null, number | null, number | null];

export interface Calibration {
  readonly what: 'zoetrope calibration';
  readonly version: 1;
  /** Folder name of the model, and a digest of its transformer's shapes. */
  readonly model: { readonly name: string; readonly digest: string };
  readonly shape: {
    readonly layers: number;
    readonly heads: number;
    readonly dim: number;
    readonly frames: number;
    readonly height: number;
    readonly width: number;
  };
  /** What it was found on. */
  readonly recorded: {
    readonly prompts: readonly string[];
    readonly seeds: readonly number[];
    readonly steps: number;
    readonly calls: number;
  };
  /** For windows of tiles: density of each, and for each layer and head the mean relative squared error of its output. */
  readonly windows: {
    readonly tile: Axes;
    readonly candidates: readonly StoredWindow[];
    readonly densities: readonly number[];
    readonly errors: readonly (readonly (readonly number[])[])[];
  };
  /** For each layer and head the mean share of a row's blocks, tiles of 4 x 4 x 4, that hold `cover` of its mass. */
  readonly shares: { readonly cover: number; readonly heads: readonly (readonly number[])[] };
}

/** The option of presets that choose by layer and head beforehand. */
export interface CalibrationOptions {
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
