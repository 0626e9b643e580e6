// Calibrations as files, and the model that one belongs to.
import { createHash } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Calibration } from './calibration.ts';

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
