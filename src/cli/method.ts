// `--method`, `--sparsity` and `--query-tokens`, which several commands take: a method by its name, or one of the user's own in a file.
import type { Command } from 'commander';
import { readCalibration } from '../calibration/file.ts';
import type { Method } from '../method.ts';
import { withQueryBlocks } from '../method-queries.ts';
import { catalogue, type Listed, methodNamed } from '../methods/catalogue.ts';
import { count, numberIn, TINY } from './values.ts';

export interface MethodArguments {
  /** A name of the catalogue or a file, as it was typed. */
  readonly method?: string;
  readonly sparsity?: number;
  /** Tokens of a query block, where they are not to be the method's own. */
  readonly queryTokens?: number;
  /** A file that `zoetrope calibrate` wrote. */
  readonly calibration?: string;
}

/** Adds these flags to a command. What is used when none is given: `method`, and the `sparsity` to name for methods that have one. */
export function methodOptions(
  command: Command,
  { method, sparsity, auto = false }: MethodArguments & { readonly auto?: boolean } = {},
): Command {
  return command
    .option(
      '--method <name>',
      `how attention is computed: a name ("zoetrope methods" lists them), or a file of your own, as ./mine.js${auto ? '; auto: the sparsest that keeps --quality' : ''}`,
      (name: string) => checkName(name, auto),
      method,
    )
    .option(
      '--sparsity <share>',
      `share of attention that the method leaves out, if it takes one${sparsity === undefined ? '' : ` (default: ${sparsity})`}`,
      numberIn('sparsity', 'a share from 0 to below 1', 0, 1 - TINY),
    )
    .option(
      '--query-tokens <n>',
      'tokens of a query block, a multiple of the key block: 128 is faster on GPUs with matrices, and less exact',
      parseQueryTokens,
    );
}

/** A reader of `--query-tokens`. */
export const parseQueryTokens = count('query-tokens', 'tokens', 65_536);

const isFile = (method: string): boolean => /[\\/]|\.[cm]?[jt]s$/.test(method);

function checkName(method: string, auto: boolean): string {
  if (method === AUTO && !auto)
    throw new TypeError('--method auto is for making a video, which it chooses for; give a name of "zoetrope methods".');
  if (method !== AUTO && !isFile(method)) methodNamed(method);
  return method;
}

/** The word for a method that is picked by short runs. */
export const AUTO = 'auto';

/** Whether a method takes `--sparsity`; unknown of a file until it is loaded. */
export const takesSparsity = (method: string): boolean | undefined => (isFile(method) ? undefined : methodNamed(method).sparsity);

/** @throws TypeError for a sparsity, query blocks or a calibration of a method that takes none. */
export function checkMethod({ method, sparsity, queryTokens, calibration }: MethodArguments): void {
  if (queryTokens !== undefined && (method === undefined || (!isFile(method) && methodNamed(method).name === 'dense')))
    throw new TypeError(`--query-tokens ${queryTokens} needs a --method that leaves something out; name one, such as adaspa.`);
  if (calibration !== undefined && !(method !== undefined && !isFile(method) && methodNamed(method).calibration))
    throw new TypeError(
      `--calibration ${calibration} needs a --method that takes one (${catalogue
        .filter((one) => one.calibration)
        .map(({ name }) => name)
        .join(', ')})${method === undefined ? '' : `, not ${method}`}.`,
    );
  if (sparsity === undefined || (method !== undefined && takesSparsity(method) !== false)) return;
  const some = catalogue.filter((one) => one.sparsity).map((one: Listed) => one.name);
  throw new TypeError(
    `--sparsity ${sparsity} needs a --method that takes one (${some.join(', ')})${method === undefined ? '' : `, not ${method}`}.`,
  );
}

/** A method as results name it, with what was asked of it: `adaSpa 0.8 by 128 queries`. */
export const labelOf = (name: string, { sparsity, queryTokens }: Pick<MethodArguments, 'sparsity' | 'queryTokens'>): string =>
  `${name}${sparsity === undefined ? '' : ` ${sparsity}`}${queryTokens === undefined ? '' : ` by ${queryTokens} queries`}`;

/** The method of that name or in that file. @throws Error with one sentence for a file that exports none, or holds no calibration. */
export async function methodOf(args: MethodArguments & { readonly method: string }): Promise<Method> {
  const method = await ownMethodOf(args);
  return args.queryTokens === undefined ? method : withQueryBlocks(method, args.queryTokens);
}

async function ownMethodOf({ method, sparsity, calibration }: Parameters<typeof methodOf>[0]): Promise<Method> {
  const options = {
    ...(sparsity !== undefined && { sparsity }),
    ...(calibration !== undefined && { calibration: await readCalibration(calibration) }),
  };
  if (!isFile(method)) return methodNamed(method).preset(options);
  const { methodIn } = await import('./method-file.ts');
  return methodIn(method, options);
}
