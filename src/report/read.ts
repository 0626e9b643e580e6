// Finds out what the paths of a report are, results or inspections, and reads them.
import { readFile, stat } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { readResults } from '../bench/results.ts';
import { FIGURES, type InspectionFigures } from '../inspect/save.ts';
import type { Read } from './collect.ts';
import type { PlansSection } from './data.ts';

/**
 * Reads result files, and inspections by their folder or their file; pictures beside an inspection are read with it.
 * @throws Error with one sentence for a file that is missing, damaged or neither, and TypeError without a path.
 */
export async function readAll(paths: readonly string[]): Promise<Read> {
  const inspections: string[] = [];
  const results: string[] = [];
  for (const path of paths) {
    const file = (await isFolder(path)) ? join(path, FIGURES) : path;
    (file !== path || (await isInspection(file)) ? inspections : results).push(file);
  }
  return {
    results: results.length === 0 && inspections.length > 0 ? [] : await readResults(results),
    plans: await Promise.all(inspections.map(async (file) => ({ file, figures: await readInspection(file) }))),
  };
}

const isFolder = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isDirectory() === true;

/** Whatever else a file is, those who read results say. */
async function isInspection(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /^\s*\{\s*"inspect"/.test(text);
}

async function readInspection(file: string): Promise<PlansSection> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(
      error.code === 'ENOENT'
        ? `The folder "${dirname(file)}" holds no ${FIGURES}; give result files, or the folder that zoetrope inspect -o wrote.`
        : `The inspection "${file}" cannot be read: ${error.message}.`,
    );
  });
  let figures: InspectionFigures;
  try {
    figures = JSON.parse(text);
  } catch (error) {
    throw new Error(`The inspection "${file}" is damaged: ${(error as Error).message}; make it again, or take it out of the list.`);
  }
  if (figures.inspect !== 'run' || !Array.isArray(figures.plans) || !Array.isArray(figures.calls))
    throw new Error(`"${file}" is no inspection of a run: it has no plans and calls; make it with zoetrope inspect -o.`);
  return withPictures(figures, dirname(file));
}

async function withPictures(figures: InspectionFigures, folder: string): Promise<PlansSection> {
  const embed = async (name: string | undefined): Promise<string | undefined> => {
    if (name === undefined) return undefined;
    const data = await readFile(join(folder, name)).catch(() => {
      throw new Error(`The inspection in "${folder}" lacks its picture ${name}; make it again with zoetrope inspect -o.`);
    });
    return `data:image/${extname(name).slice(1)};base64,${data.toString('base64')}`;
  };
  const plans = figures.plans.map(async (plan) => ({
    ...plan,
    heads: await Promise.all(
      plan.heads.map(async (head) => ({ ...head, map: await embed(head.map), neighbourhood: await embed(head.neighbourhood) })),
    ),
  }));
  return { ...figures, plans: await Promise.all(plans) };
}
