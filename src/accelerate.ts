// The drop-in wrapper: sets how a pipeline computes self-attention, and gives back a way to undo it.
import type { Attention, Method } from './method.ts';
import type { TextToVideoPipeline } from './pipeline.ts';

/** Undoes one `accelerate`. */
export interface Acceleration {
  /** Puts the attention back that was set before; calling it twice does nothing more. */
  restore(): void;
}

/**
 * Makes every later call of the pipeline use `method`, unless the call names its own. Calls that are running keep what they started with.
 * Nested accelerations are undone in any order: the innermost one that still stands is in force.
 */
export function accelerate(pipe: TextToVideoPipeline, method: Method | Attention): Acceleration {
  const stack = stacks.get(pipe) ?? [{ method: pipe.attention }];
  stacks.set(pipe, stack);
  const entry = { method };
  stack.push(entry);
  pipe.attention = method;
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
