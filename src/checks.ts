// What public functions are given, checked where it comes in: plain JavaScript may leave out what the types ask for, or misspell it.
import type { Method } from './method.ts';
import type { Grid } from './sparse3d/plan.ts';

/** Sides in tokens, and text tokens in the same sequence. Default text 0. */
export type GridSizes = Omit<Grid, 'text'> & Partial<Pick<Grid, 'text'>>;

/** A value as a sentence names it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (typeof value === 'function') return value.name ? `the function ${value.name}` : 'a function';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value !== 'object' || value === null) return String(value);
  const keys = Object.keys(value);
  return `an object with ${keys.length > 0 ? keys.slice(0, 5).join(', ') : 'nothing in it'}`;
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws TypeError for options of `of` that are no object, such as one with `usual` names, or that have a name which is not among `known`. */
export function checkOptions(of: string, options: unknown, usual: readonly string[], known?: readonly string[]): void {
  checkObject(`the options of ${of} are`, options, `give an object${usual.length > 0 ? `, { ${usual.join(', ')} }` : ', or leave it out'}`);
  if (known) refuseUnknown(of, options as object, known);
}

/** @throws TypeError for what is no object: `what` it should be, with its verb, the value, and the `advice`. */
export function checkObject(what: string, value: unknown, advice: string): void {
  if (!isObject(value)) throw new TypeError(`${what} ${shown(value)}; ${advice}`);
}

/** @throws TypeError for a name in `options` that is not among `known`. */
export function refuseUnknown(of: string, options: object, known: readonly string[]): void {
  const unknown = Object.entries(options).find(([name, value]) => value !== undefined && !known.includes(name))?.[0];
  if (unknown === undefined) return;
  const takes = known.length > 0 ? `it takes ${known.join(', ')}` : 'it takes none';
  throw new TypeError(`${of} has no option ${unknown}; ${takes}`);
}

/** Functions that make a method: one given uncalled is a usual slip. */
const makers = new WeakSet<object>();

/**
 * A preset whose options are looked at: what it does not read of them, it does not know.
 * @throws TypeError for options that are no object, or with a name that there is not.
 */
export function preset<Options extends object>(make: (options?: Options) => Method): (options?: Options) => Method {
  const made = (options?: Options): Method => {
    if (options === undefined) return make();
    if (!isObject(options)) throw new TypeError(`${make().name} takes its options as an object; ${shown(options)} was given`);
    const read = new Set<string>();
    const get = (target: Options, name: string | symbol): unknown => {
      read.add(String(name));
      return Reflect.get(target, name);
    };
    const method = make(new Proxy<Options>(options, { get }));
    refuseUnknown(method.name, options, [...read]);
    return method;
  };
  makers.add(made);
  return made;
}

/** What makes a value no method, or undefined. */
export function wrongWithMethod(value: unknown): string | undefined {
  if (typeof value === 'function' && makers.has(value)) return 'it is a preset that was not called';
  if (!isObject(value)) return `it is ${shown(value)}`;
  const method = value as Partial<Record<keyof Method, unknown>>;
  if (typeof method.name !== 'string' || method.name === '') return 'it has no name';
  for (const stage of ['layout', 'score', 'select', 'schedule'] as const)
    if (typeof method[stage] !== 'function') return `its ${stage} is ${method[stage] === undefined ? 'missing' : 'no function'}`;
  if (method.correct !== undefined && typeof method.correct !== 'function') return 'its correct is no function';
  const { levels } = method;
  const sound = Array.isArray(levels) && levels.length > 0 && levels.every(({ pool, upTo } = {}) => pool >= 1 && upTo > 0 && upTo <= 1);
  return sound ? undefined : 'its levels are no list of { pool, upTo }';
}

/** @throws TypeError for what is no method; with `bare`, a function that computes attention is one. */
export function checkMethod(value: unknown, bare = false): void {
  if (bare && typeof value === 'function' && !makers.has(value)) return;
  const wrong = wrongWithMethod(value);
  if (wrong !== undefined)
    throw new TypeError(
      `there is no method: ${wrong}; give a preset such as adaSpa(), or an object with its stages${bare ? ', or a function' : ''}`,
    );
}

/** @throws TypeError for what is no pipeline. */
export function checkPipeline(value: unknown): void {
  if (typeof value !== 'function' || !('dispose' in value && 'ops' in value))
    throw new TypeError(`there is no pipeline: it is ${shown(value)}; make one with await TextToVideoPipeline.fromPretrained()`);
}

/** @throws TypeError for what is no backend. */
export function checkBackend(value: unknown): void {
  if (typeof (value as { readonly attendAll?: unknown } | undefined)?.attendAll !== 'function')
    throw new TypeError(
      `there is no backend: it is ${shown(value)}; give cpuBackend(await openCpu()) or await webgpuBackend(await openWebgpu())`,
    );
}

/** @throws TypeError for what is no function of `kind`, such as a scorer, that `of` takes. */
export function checkStage(of: string, value: unknown, kind: string): void {
  if (typeof value !== 'function') throw new TypeError(`${of} takes ${kind}; ${shown(value)} was given`);
}

/** @throws TypeError for what is no grid, RangeError for sizes that are no whole numbers of tokens. */
export function checkedGrid(value: GridSizes): Grid {
  if (!isObject(value))
    throw new TypeError(`the grid is ${shown(value)}; give { frames, height, width } in tokens, and text where there is any`);
  const { text = 0, frames, height, width } = value;
  for (const [name, size] of Object.entries({ frames, height, width }))
    if (!Number.isInteger(size) || size < 1) throw new RangeError(`grid.${name} is ${shown(size)}; give a whole number of tokens`);
  if (!Number.isInteger(text) || text < 0)
    throw new RangeError(`grid.text is ${shown(text)}; give a whole number of text tokens, or leave it out`);
  return { frames, height, width, text };
}
