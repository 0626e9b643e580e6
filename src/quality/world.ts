// The world of the embedded model as its training left it: what its captions are made of, and the files that judging a clip takes.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Files in samples/train that judging reads: the grammar, the probe, and the sprites that tracking looks for. */
export const JUDGE_FILES = ['grammar.json', 'probe.safetensors', 'assets/index.json', 'assets/sprite_*.webp'] as const;

/** What captions are made of; the order of names is that of the probe's heads. `{v}` in a wording is a verb, `{c}` a colour. */
export interface World {
  readonly folder: string;
  readonly subjects: readonly {
    readonly name: string;
    readonly habitat: string;
    readonly synonyms: readonly string[];
    readonly verbs: readonly string[];
  }[];
  readonly scenes: readonly { readonly name: string; readonly ground: boolean; readonly wordings: readonly string[] }[];
  readonly motions: readonly { readonly name: string; readonly wordings: readonly string[] }[];
  /** `height` is the subject's share of the frame's height; the size without a word is ''. */
  readonly sizes: readonly { readonly name: string; readonly height: number; readonly words: readonly string[] }[];
  readonly colours: readonly string[];
  /** Scenes where subjects of a habitat are usually seen; one that stands twice is drawn twice as often. */
  readonly places: Readonly<Record<string, readonly string[]>>;
  /** (subject, motion) and (subject, scene) pairs that training sees whatever the hash says. */
  readonly neverHeldOut: readonly (readonly [string, string])[];
  /** The fixed prompts of the model card. */
  readonly prompts: readonly string[];
}

/**
 * Reads grammar.json of a training folder; without a folder, that of the embedded model.
 * @throws Error with one sentence when the file is missing or damaged.
 */
export async function loadWorld(folder: string = trainingFolder()): Promise<World> {
  const file = join(folder, JUDGE_FILES[0]);
  const text = await readFile(file, 'utf8').catch(() => {
    throw new Error(`"${file}" is missing: it says what captions are made of; write it with "python3 samples/train/captions.py".`);
  });
  try {
    const world = { folder, ...JSON.parse(text) } as World;
    for (const list of [world.subjects, world.scenes, world.motions, world.sizes, world.colours, world.prompts])
      if (!Array.isArray(list) || list.length === 0) throw new Error('a list is missing or empty');
    return world;
  } catch (error) {
    throw new Error(`"${file}" is damaged (${(error as Error).message}); write it again with "python3 samples/train/captions.py".`);
  }
}

/** Folder with what the embedded model was trained with. */
function trainingFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'samples', 'train');
    if (existsSync(join(candidate, JUDGE_FILES[0]))) return candidate;
    if (folder === dirname(folder))
      throw new Error(
        'samples/train is missing from this installation, and without it clips cannot be judged; take a checkout of zoetrope.',
      );
  }
}

/** Height of a subject of this size as a share of the frame's. @throws RangeError for a size that the world does not have. */
export function heightOf({ sizes }: World, size: string): number {
  const found = sizes.find(({ name }) => name === size);
  if (!found) throw new RangeError(`size is "${size}"; the world has ${sizes.map(({ name }) => JSON.stringify(name)).join(', ')}.`);
  return found.height;
}
