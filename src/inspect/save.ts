// An inspection as a folder: pictures, and `inspection.json` with the figures and the names of the pictures.
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { shown } from '../checks.ts';
import type { Recall } from '../quality/recall.ts';
import type { Grid } from '../sparse3d/plan.ts';
import { frameImage } from '../video/frames.ts';
import { checkPlace } from '../video/place.ts';
import { blockMap, middleBlock, neighbourhood } from './pictures.ts';
import { checkInspection, type InspectedCall, type InspectedPlan, type Inspection } from './run.ts';

/** The name of the file of figures in a folder of an inspection. */
export const FIGURES = 'inspection.json';

/** A head of a plan; pictures are files of the folder, absent where none was written. */
export interface SavedHead extends Recall {
  /** FLOP-equivalent share of full attention that the plan computes, 0..1. */
  readonly density: number;
  /** Name of the picture of its block map. */
  readonly map?: string;
  /** Name of the picture of what one query block reads, over frames of the video. */
  readonly neighbourhood?: string;
}

/** What `zoetrope inspect --json` prints and `inspection.json` holds. */
export interface InspectionFigures {
  /** Tells what was inspected. */
  readonly inspect: 'run';
  /** What the video is of. */
  readonly prompt: string;
  /** Name of the method. */
  readonly method: string;
  /** Seed of the noise. */
  readonly seed: number;
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** Frames of the video. */
  readonly numFrames: number;
  /** Denoising steps. */
  readonly steps: number;
  /** The video in tokens. */
  readonly grid: Grid;
  /** Self-attention layers of the model. */
  readonly layers: number;
  /** Heads of a layer. */
  readonly heads: number;
  /** Over all calls that were seen, 0..1. */
  readonly meanDensity: number;
  /** Every layer at every step. */
  readonly calls: readonly InspectedCall[];
  /** The plans that were looked at. */
  readonly plans: readonly {
    /** Denoising step, from 0. */
    readonly step: number;
    /** Layer, from 0. */
    readonly layer: number;
    /** What was due. */
    readonly phase: InspectedCall['phase'];
    /** False where the step computed full attention and kept the plan. */
    readonly isRead: boolean;
    /** Name of the queries' token order. */
    readonly layout: string;
    /** Query blocks. */
    readonly blocks: number;
    /** Key blocks. */
    readonly keyBlocks: number;
    /** Pool factors of the levels, finest first. */
    readonly pools: readonly number[];
    /** The query block whose neighbourhood is drawn. */
    readonly queryBlock: number;
    /** What the plan costs and recalls, by head. */
    readonly heads: readonly SavedHead[];
  }[];
}

/** What is drawn. */
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
  if (typeof folder !== 'string') throw new TypeError(`the folder is ${shown(folder)}; give the name of one that is not there yet`);
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
  checkInspection(inspection);
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
