// An inspection as a folder: pictures, and `inspection.json` with the figures and the names of the pictures.
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Recall } from '../quality/recall.ts';
import type { Grid } from '../sparse3d/plan.ts';
import { frameImage } from '../video/frames.ts';
import { checkPlace } from '../video/place.ts';
import { blockMap, middleBlock, neighbourhood } from './pictures.ts';
import type { InspectedCall, InspectedPlan, Inspection } from './run.ts';

/** The name of the file of figures in a folder of an inspection. */
export const FIGURES = 'inspection.json';

/** A head of a plan; pictures are files of the folder, absent where none was written. */
export interface SavedHead extends Recall {
  readonly density: number;
  readonly map?: string;
  readonly neighbourhood?: string;
}

/** What `zoetrope inspect --json` prints and `inspection.json` holds. */
export interface InspectionFigures {
  readonly inspect: 'run';
  readonly prompt: string;
  readonly method: string;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  readonly numFrames: number;
  readonly steps: number;
  readonly grid: Grid;
  readonly layers: number;
  readonly heads: number;
  readonly meanDensity: number;
  /** Every layer at every step. */
  readonly calls: readonly InspectedCall[];
  readonly plans: readonly {
    readonly step: number;
    readonly layer: number;
    readonly phase: InspectedCall['phase'];
    /** False where the step computed full attention and kept the plan. */
    readonly isRead: boolean;
    readonly layout: string;
    readonly blocks: number;
    readonly keyBlocks: number;
    readonly pools: readonly number[];
    /** The query block whose neighbourhood is drawn. */
    readonly queryBlock: number;
    readonly heads: readonly SavedHead[];
  }[];
}

export interface SaveInspectionOptions {
  /** The query block whose neighbourhood is drawn; the one in the middle of the video by default. */
  readonly queryBlock?: number;
}

/** The figures of an inspection, without a file. */
export function figuresOf(inspection: Inspection, { queryBlock }: SaveInspectionOptions = {}, pictures = false): InspectionFigures {
  const { prompt, method, grid, layers, heads, calls, plans, settings, report } = inspection;
  const { seed, width, height, numFrames } = settings;
  return {
    ...{ inspect: 'run', prompt, method, seed, width, height, numFrames, steps: report.steps, grid, layers, heads },
    ...{ meanDensity: report.meanDensity, calls },
    plans: plans.map((plan) => ({
      ...{ step: plan.step, layer: plan.layer, phase: plan.phase, isRead: plan.isRead, layout: plan.layout.q.name },
      ...{ blocks: plan.layout.q.blocks, keyBlocks: plan.layout.k.blocks, pools: plan.pools },
      queryBlock: queryBlock ?? middleBlock(plan),
      heads: plan.heads.map((head, at) => ({
        ...head,
        ...(pictures && { map: `${nameOf('map', plan, at)}.png`, neighbourhood: `${nameOf('neighbourhood', plan, at)}.webp` }),
      })),
    })),
  };
}

const nameOf = (what: string, { step, layer }: InspectedPlan, head: number): string => `${what}-step${step}-layer${layer}-head${head}`;

/**
 * Whether an inspection can be written there.
 * @throws Error with one sentence for a place that takes no folder, or where there are other files.
 */
export async function checkInspectionPlace(folder: string): Promise<void> {
  const place = resolve(folder);
  await checkPlace(join(place, FIGURES), `${partialOf(place)}.check`);
  const there: string[] = await readdir(place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new Error(`"${folder}" is not a folder; give the name of one that is not there yet, or of an earlier inspection.`);
  });
  if (there.length > 0 && !there.includes(FIGURES))
    throw new Error(`The folder "${folder}" holds other files; give one that is not there yet, or that of an earlier inspection.`);
}

const partialOf = (place: string): string => join(dirname(place), `.${basename(place)}.partial`);

/**
 * Writes the folder, which appears whole or not at all; an inspection that was there is replaced.
 * @throws Error when there is something else at that place, and as `neighbourhood` and the file system do.
 */
export async function saveInspection(
  inspection: Inspection,
  folder: string,
  options: SaveInspectionOptions = {},
): Promise<InspectionFigures> {
  await checkInspectionPlace(folder);
  const place = resolve(folder);
  const figures = figuresOf(inspection, options, true);
  const partial = partialOf(place);
  await rm(partial, { recursive: true, force: true });
  try {
    await mkdir(partial);
    for (const [at, plan] of inspection.plans.entries())
      for (const [head, { map, neighbourhood: around }] of figures.plans[at].heads.entries()) {
        await frameImage(blockMap(plan, head)).png({ palette: true }).toFile(join(partial, map!));
        const drawn = await neighbourhood(inspection, plan, head, figures.plans[at].queryBlock);
        await frameImage(drawn).webp({ quality: 85 }).toFile(join(partial, around!));
      }
    await writeFile(join(partial, FIGURES), `${JSON.stringify(figures)}\n`);
    await rm(place, { recursive: true, force: true });
    await rename(partial, place);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return figures;
}
