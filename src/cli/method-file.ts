// A user's own method: the default export of a file, checked before anything is loaded for it.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { wrongWithMethod } from '../checks.ts';
import type { Method } from '../method.ts';

/**
 * The method that a file exports by default: a `Method`, or a function that makes one of `{ sparsity }`. Its plans are checked.
 * @throws Error with one sentence for a file that is not there, does not load, or exports something else; TypeError for options that nothing
 * takes.
 */
export async function methodIn(file: string, options: { readonly sparsity?: number }): Promise<Method> {
  const made = await exportOf(file, options);
  const wrong = wrongWithMethod(made);
  if (wrong !== undefined)
    throw new TypeError(`the default export of "${file}" is no method: ${wrong}; export a Method, or a function that returns one.`);
  return { ...(made as Method), checkPlans: true };
}

async function exportOf(file: string, options: { readonly sparsity?: number }): Promise<unknown> {
  const path = resolve(file);
  if (!existsSync(path)) throw new Error(`there is no file "${path}"; give --method the path of a file, or a name of "zoetrope methods".`);
  const { default: exported } = await import(pathToFileURL(path).href).catch((error: Error) => {
    throw new Error(`"${file}" does not load: ${error.message}`);
  });
  if (typeof exported === 'function') return exported(options);
  if (options.sparsity !== undefined)
    throw new TypeError(`--sparsity ${options.sparsity} has no use: "${file}" exports a method and no function of { sparsity }.`);
  return exported;
}
