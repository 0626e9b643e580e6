// `--method` and `--sparsity`, which several commands take.
import { type Command, Option } from 'commander';
import type { Method } from '../method.ts';
import { numberIn, TINY } from './values.ts';

const METHODS = ['dense', 'adaspa', 'psa'] as const;
export type MethodName = (typeof METHODS)[number];

export interface MethodArguments {
  readonly method?: MethodName;
  readonly sparsity?: number;
}

/** Adds both flags to a command. What is used when none is given: `method`, and the `sparsity` to name for methods that have one. */
export function methodOptions(command: Command, { method, sparsity }: MethodArguments = {}): Command {
  return command
    .addOption(new Option('--method <name>', 'how attention is computed').choices(METHODS).default(method))
    .option(
      '--sparsity <share>',
      `share of attention left out by adaspa or psa${sparsity === undefined ? '' : ` (default: ${sparsity})`}`,
      numberIn('sparsity', 'a share from 0 to below 1', 0, 1 - TINY),
    );
}

/** @throws TypeError for a sparsity of a method that has none. */
export function checkMethod({ method, sparsity }: MethodArguments): void {
  if (sparsity === undefined || method === 'adaspa' || method === 'psa') return;
  throw new TypeError(`--sparsity ${sparsity} needs --method adaspa or --method psa${method === undefined ? '' : `, not ${method}`}.`);
}

/** The method of that name; loaded when it is asked for. */
export async function methodOf({ method, sparsity }: MethodArguments & { readonly method: MethodName }): Promise<Method> {
  const { adaSpa, dense, pyramidSparse } = await import('../methods.ts');
  const options = sparsity === undefined ? {} : { sparsity };
  return method === 'dense' ? dense() : method === 'adaspa' ? adaSpa(options) : pyramidSparse(options);
}
