// What was found out about a model's heads beforehand, as a file: for methods that choose by layer and head without looking at a run.
import { createHash } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
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

/** Reads a calibration. @throws Error or TypeError with one sentence for a file that is not there or is none. */
export async function readCalibration(path: string): Promise<Calibration> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new Error(`there is no calibration "${path}"; make one with "zoetrope calibrate"`);
  });
  const found = parsed(text) as Partial<Calibration> | undefined;
  if (found?.what !== 'zoetrope calibration')
    throw new TypeError(`"${path}" is no calibration; give a file that "zoetrope calibrate" wrote`);
  if (found.version !== 1) throw new TypeError(`"${path}" is a calibration of version ${found.version}, this is 1; make it anew`);
  const wrong = wrongWith(found as Calibration);
  if (wrong !== undefined) throw new TypeError(`the calibration "${path}" is damaged: ${wrong}; make it anew`);
  return found as Calibration;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What of its tables does not fit its shape. */
function wrongWith({ shape, windows, shares }: Calibration): string | undefined {
  const sides = [shape?.layers, shape?.heads, shape?.dim, shape?.frames, shape?.height, shape?.width];
  if (!sides.every((side) => Number.isInteger(side) && side > 0)) return 'its shape has sides that are no whole numbers';
  const fits = (table: unknown, entry: (of: unknown) => boolean): boolean =>
    Array.isArray(table) &&
    table.length === shape.layers &&
    table.every((layer) => Array.isArray(layer) && layer.length === shape.heads && layer.every(entry));
  const count = windows?.candidates?.length;
  const isSide = (side: number | null): boolean => side === null || (Number.isInteger(side) && side >= 1);
  if (!count || !windows.candidates.every((window) => window.length === 3 && window.every(isSide))) return 'its windows are none';
  const areNumbers = (row: unknown): boolean =>
    Array.isArray(row) && row.length === count && row.every((x) => Number.isFinite(x) && x >= 0);
  if (!areNumbers(windows.densities)) return 'it has not one density for each window';
  if (!fits(windows.errors, areNumbers)) return 'it has not one error for each layer, head and window';
  if (!fits(shares?.heads, (share) => typeof share === 'number' && share > 0 && share <= 1))
    return 'it has not one share for each layer and head';
  return undefined;
}

/** A digest of a checkpoint's transformer: its configuration, and the names and shapes of its weights. */
export async function digestOf(folder: string): Promise<string> {
  const part = join(folder, 'transformer');
  const hash = createHash('sha256').update(await readFile(join(part, 'config.json')));
  for (const name of (await readdir(part)).filter((file) => file.endsWith('.safetensors')).sort()) {
    const file = await open(join(part, name));
    try {
      const start = Buffer.alloc(65_536);
      const { bytesRead } = await file.read(start, 0, start.length, 0);
      hash.update(start.subarray(0, bytesRead)).update(String((await file.stat()).size));
    } finally {
      await file.close();
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** @throws RangeError when a calibration was made for another model than the one in this folder. */
export async function checkModel({ model }: Calibration, folder: string): Promise<void> {
  if ((await digestOf(folder)) !== model.digest)
    throw new RangeError(`the calibration is of the model ${model.name}, not of ${basename(folder)}; make one with "zoetrope calibrate"`);
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
