// The drop-in wrapper: sets how a pipeline computes self-attention, and gives back a way to undo it.
import { checkMethod, checkOptions, checkPipeline } from './checks.ts';
import { type Choice, type ChooseOptions, chooseMethod } from './choose.ts';
import type { Attention, Method } from './method.ts';
import type { OnnxOptions } from './onnx/accelerate.ts';
import type { OnnxSession } from './onnx/session.ts';
import type { TextToVideoPipeline } from './pipeline.ts';
import { type DenseOverrides, isDenseAt, withDense } from './search/schedule.ts';

/** How a pipeline is accelerated. */
export interface AccelerateOptions extends DenseOverrides {
  /**
   * Also measures the time of each search and the recall of each plan, for `pipe.attentionStats`: a run is then slower than a dense one, because
   * it waits for searches and computes full attention beside (default false).
   */
  readonly measure?: boolean;
}

/** What `auto` chooses by. */
export interface AutoOptions extends AccelerateOptions, ChooseOptions {
  /** The prompt to try methods on. */
  readonly prompt: string;
}

/** Undoes one `accelerate`. */
export interface Acceleration {
  /** Puts the attention back that was set before; calling it twice does nothing more. */
  restore(): void;
}

/** An acceleration with what `auto` chose, and why. */
export interface ChosenAcceleration extends Acceleration {
  /** The method that is in force now, with all that was tried. */
  readonly choice: Choice;
}

/**
 * Makes every later call of the pipeline use `method`, unless the call names its own. Calls that are running keep what they started with, so
 * runs may overlap. Nested accelerations are undone in any order: the innermost one that still stands is in force.
 * @throws RangeError for `denseSteps` or `denseLayers` that are neither a share, a count nor a list, TypeError for what is no method, and for measuring a bare
 * function.
 */
export function accelerate(pipe: TextToVideoPipeline, method: Method | Attention, options?: AccelerateOptions): Acceleration;
/**
 * The same with the sparsest preset that keeps the wished quality in short runs of `prompt`; see `chooseMethod`. What is to stay dense is so on top.
 * @throws as `chooseMethod` does, and then nothing is set.
 */
export function accelerate(pipe: TextToVideoPipeline, method: 'auto', options: AutoOptions): Promise<ChosenAcceleration>;
/**
 * Opens an ONNX video transformer, by its path or file URL, so that its self-attention is computed by `method`. The file is only read; the result is
 * called like an InferenceSession.
 * @throws Error for a file that is missing or damaged, UnsupportedError for a graph whose attention cannot be taken (its node and why), RangeError
 * when the tokens are not those of the grid.
 */
export function accelerate(path: string | URL, method: Method, options: OnnxOptions): Promise<OnnxSession>;
export function accelerate(
  target: TextToVideoPipeline | string | URL,
  method: Method | Attention | 'auto',
  options?: AccelerateOptions | AutoOptions | OnnxOptions,
): Acceleration | Promise<ChosenAcceleration | OnnxSession> {
  if (typeof target === 'string' || target instanceof URL) return openOnnx(target, method as Method, options as OnnxOptions);
  checkPipeline(target);
  if (method === 'auto') return chosen(target, options as AutoOptions);
  return accelerated(target, method, (options ?? {}) as AccelerateOptions);
}

const OVERRIDES: readonly (keyof AccelerateOptions)[] = ['denseSteps', 'denseLayers', 'measure'];
const CHOICE: readonly (keyof ChooseOptions)[] = ['quality', 'settings', 'steps', 'presets', 'sparsities', 'onTrial', 'signal'];

async function chosen(pipe: TextToVideoPipeline, options: AutoOptions): Promise<ChosenAcceleration> {
  checkOptions('accelerate', options, ['prompt', 'quality'], ['prompt', ...CHOICE, ...OVERRIDES]);
  const { denseSteps, denseLayers, measure, prompt, ...choosing } = options;
  const choice = await chooseMethod(pipe, prompt, choosing);
  return { ...accelerated(pipe, choice.method, { denseSteps, denseLayers, measure }), choice };
}

async function openOnnx(path: string | URL, method: Method, options: OnnxOptions): Promise<OnnxSession> {
  if (path instanceof URL && path.protocol !== 'file:')
    throw new TypeError(`${path} is no file; give the path of an ONNX model, or a file URL`);
  if ((method as unknown) === 'auto') throw new TypeError("'auto' chooses for a pipeline; give an ONNX model a preset such as adaSpa()");
  // Not before: few need what reads ONNX, and web pages have no disk.
  const [{ accelerateOnnx }, { fileURLToPath }] = await Promise.all([import('./onnx/accelerate.ts'), import('node:url')]);
  return accelerateOnnx(path instanceof URL ? fileURLToPath(path) : path, method, options);
}

function accelerated(pipe: TextToVideoPipeline, method: Method | Attention, options: AccelerateOptions): Acceleration {
  checkMethod(method, true);
  checkOptions('accelerate', options, [], OVERRIDES);
  const stack = stacks.get(pipe) ?? [{ method: pipe.attention }];
  const entry = { method: adjusted(pipe, method, options) };
  stacks.set(pipe, stack);
  stack.push(entry);
  pipe.attention = entry.method;
  return {
    restore() {
      const at = stack.indexOf(entry);
      if (at < 0) return;
      stack.splice(at, 1);
      pipe.attention = stack[stack.length - 1].method;
      if (stack.length === 1) stacks.delete(pipe);
    },
  };
}

/** Accelerations in force, innermost last, over what the pipeline had at first. */
const stacks = new WeakMap<TextToVideoPipeline, { method: Method | Attention }[]>();

function adjusted(pipe: TextToVideoPipeline, method: Method | Attention, options: AccelerateOptions): Method | Attention {
  const { denseSteps, denseLayers, measure } = options;
  const overrides = denseSteps !== undefined || denseLayers !== undefined;
  if (typeof method !== 'function') {
    const schedule = overrides ? withDense(method.schedule, options) : method.schedule;
    return overrides || measure !== undefined ? { ...method, schedule, ...(measure !== undefined && { measure }) } : method;
  }
  if (measure)
    throw new TypeError(
      `${method.name || 'a bare attention function'} makes no plans that could be measured; give a method, or leave measure out`,
    );
  if (!overrides) return method;
  const isDense = isDenseAt(options);
  const partly: Attention = (q, k, v, site) => (isDense(site) ? pipe.ops.attendAll(q, k, v, { lse: false }).out : method(q, k, v, site));
  return Object.defineProperty(partly, 'name', { value: method.name });
}
