// The JSON side of a diffusers folder: reading config files, taking typed fields from them, model_index.json and generation defaults.
import { UnsupportedError } from '../errors.ts';
import { join, kindOf, openFile } from '../files.ts';

/** A parsed JSON object. */
export type Config = Readonly<Record<string, unknown>>;

/** Which file a config came from, so that a wrong field can be reported with it. */
const files = new WeakMap<object, string>();

const isObject = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === 'object' && !Array.isArray(value);

/** Reads a JSON file that holds one object. Throws a sentence when it is missing, is not JSON or holds something else. */
export async function readJson(file: string): Promise<Config> {
  const text = await readText(file).catch((error: Error) => {
    throw new Error(`Cannot read ${file}: ${error.message}`);
  });
  if (text === undefined) throw new Error(`${file} is missing; a model in the diffusers layout has one, so download it again.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw new Error(`${file} holds ${shown(value)}, and a JSON object was expected.`);
  files.set(value, file);
  return value;
}

async function readText(file: string): Promise<string | undefined> {
  const opened = await openFile(file);
  try {
    return opened && new TextDecoder().decode(await opened.read(0, opened.bytes));
  } finally {
    await opened?.close();
  }
}

const shown = (value: unknown): string => (JSON.stringify(value) ?? String(value)).slice(0, 80);

/** A field, or its default when the field is absent or null. Throws a TypeError for a value of another kind, and for an absent one without default. */
function field<T>(config: Config, key: string, fallback: T | undefined, kind: string, fits: (value: unknown) => boolean): T {
  const value = Object.hasOwn(config, key) ? (config[key] ?? undefined) : undefined;
  const where = files.get(config) ?? 'config';
  if (value === undefined) {
    if (fallback === undefined) throw new TypeError(`${where} lacks "${key}" (${kind}).`);
    return fallback;
  }
  if (!fits(value)) throw new TypeError(`${where}: "${key}" is ${shown(value)}, and ${kind} was expected.`);
  return value as T;
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isWhole = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** A finite number. Errors: see `field` above; the same for the five below. */
export const number = (config: Config, key: string, fallback?: number): number => field(config, key, fallback, 'a number', isNumber);

/** A whole number >= 0. */
export const integer = (config: Config, key: string, fallback?: number): number =>
  field(config, key, fallback, 'a whole number >= 0', isWhole);

/** A whole number >= 1. */
export const count = (config: Config, key: string, fallback?: number): number =>
  field(config, key, fallback, 'a whole number >= 1', (value) => isWhole(value) && value !== 0);

/** true or false. */
export const boolean = (config: Config, key: string, fallback?: boolean): boolean =>
  field(config, key, fallback, 'true or false', (value) => typeof value === 'boolean');

/** A string. */
export const string = (config: Config, key: string, fallback?: string): string =>
  field(config, key, fallback, 'a string', (value) => typeof value === 'string');

/** A list of finite numbers, of `length` when that is given. */
export const numbers = (config: Config, key: string, fallback?: readonly number[], length?: number): readonly number[] =>
  field(config, key, fallback, length === undefined ? 'a list of numbers' : `a list of ${length} numbers`, (value) => {
    return Array.isArray(value) && value.every(isNumber) && (length === undefined || value.length === length);
  });

/** What the model_index.json of a WanPipeline says: for each part present (a folder of that name), its library and class. */
export interface ModelIndex {
  readonly folder: string;
  readonly parts: Readonly<Record<string, { readonly library: string; readonly className: string }>>;
  readonly config: Config;
}

/** Reads model_index.json of a diffusers folder. Throws a sentence for a missing folder or file, and an UnsupportedError for another pipeline class. */
export async function readModelIndex(folder: string): Promise<ModelIndex> {
  const found = await kindOf(folder);
  if (!found) throw new Error(`There is no folder "${folder}"; give the path of a model in the diffusers layout.`);
  if (found === 'file') throw new Error(`${folder} is a file; give the path of a model folder in the diffusers layout.`);
  const file = join(folder, 'model_index.json');
  if ((await kindOf(file)) !== 'file') {
    throw new Error(`${folder} has no model_index.json; give the path of a model folder in the diffusers layout.`);
  }
  const config = await readJson(file);
  if (config._class_name !== 'WanPipeline') {
    throw new UnsupportedError(`${file} is for ${shown(config._class_name)}, which is not supported; take a WanPipeline checkpoint.`);
  }
  const parts: Record<string, { library: string; className: string }> = {};
  for (const [name, value] of Object.entries(config)) {
    // Absent parts are stored as [null, null].
    if (!Array.isArray(value) || value.length !== 2 || !value.every((item) => typeof item === 'string')) continue;
    parts[name] = { library: value[0], className: value[1] };
  }
  return { folder, parts, config };
}

/** Settings a generation starts from; sizes in pixels, `guidanceInterval` as fractions of the steps, `maxSequenceLength` in tokens. */
export interface GenerationDefaults {
  /** Pixels. */
  readonly height: number;
  /** Pixels. */
  readonly width: number;
  /** Frames of the video. */
  readonly numFrames: number;
  /** Denoising steps. */
  readonly numInferenceSteps: number;
  /** Scale of classifier-free guidance. */
  readonly guidanceScale: number;
  /** Shares of the steps between which guidance is on. */
  readonly guidanceInterval: readonly [number, number];
  /** Text tokens that the model reads; longer prompts are cut. */
  readonly maxSequenceLength: number;
  /** Frames per second. */
  readonly fps: number;
  /** The version of the weights, where the model states one. */
  readonly version?: string;
  /** The words a small model was trained on, where the model states them. */
  readonly vocabulary?: unknown;
}

/** The defaults in the index's own `zoetrope` block, else those of the Wan pipeline of diffusers. Throws a TypeError or RangeError for a wrong value. */
export function readDefaults(index: ModelIndex): GenerationDefaults {
  const block = index.config.zoetrope ?? {};
  const file = join(index.folder, 'model_index.json');
  if (!isObject(block)) throw new TypeError(`${file}: "zoetrope" is ${shown(block)}, and an object was expected.`);
  files.set(block, file);
  const interval = numbers(block, 'guidance_interval', [0, 1], 2);
  if (!(interval[0] >= 0 && interval[0] <= interval[1] && interval[1] <= 1)) {
    throw new RangeError(`${file}: "guidance_interval" is [${interval}], and two rising fractions of 0..1 were expected.`);
  }
  return {
    height: count(block, 'height', 480),
    width: count(block, 'width', 832),
    numFrames: count(block, 'num_frames', 81),
    numInferenceSteps: count(block, 'num_inference_steps', 50),
    guidanceScale: number(block, 'guidance_scale', 5),
    guidanceInterval: [interval[0], interval[1]],
    maxSequenceLength: count(block, 'max_sequence_length', 512),
    fps: number(block, 'fps', 16),
    ...('version' in block && { version: string(block, 'version') }),
    ...('vocabulary' in block && { vocabulary: block.vocabulary }),
  };
}
