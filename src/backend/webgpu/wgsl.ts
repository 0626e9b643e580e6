// WGSL kernels: a plain .wgsl file under a header of `enable`, `diagnostic`, `alias` and `const` lines, and the choice between variants of a kernel.
import { UnsupportedError } from '../../errors.ts';

/** A kernel's file, read. */
export interface Kernel {
  readonly name: string;
  readonly body: string;
  /** Files of functions that the body calls; they stand behind it, and their lines stay their own too. */
  readonly shared?: readonly Kernel[];
}

/** What stands above a body; no text is inserted in the body, so its line numbers stay the file's. */
export interface Header {
  readonly enable?: readonly string[];
  /** Diagnostic rules to turn off. */
  readonly off?: readonly string[];
  /** Type names: `{ Scalar: 'f16' }` is `alias Scalar = f16;`. */
  readonly alias?: Readonly<Record<string, string>>;
  /** Constants: a whole number is an i32 literal (also good for u32), true and false are bools; write floats as strings. */
  readonly constants?: Readonly<Record<string, number | boolean | string>>;
}

/** Reads kernel files, by name: `{ attend: new URL('./attend.wgsl', import.meta.url) }`. */
export async function loadKernels<Name extends string>(files: Readonly<Record<Name, URL>>): Promise<Record<Name, Kernel>> {
  const entries = Object.entries<URL>(files).map(
    async ([name, url]) => [name, { name: fileName(url, name), body: await textOf(url) }] as const,
  );
  return Object.fromEntries(await Promise.all(entries)) as Record<Name, Kernel>;
}

// Pipelines are told apart by this name. Bundlers turn small files into data, which has none.
const fileName = (url: URL, name: string): string =>
  url.protocol === 'data:' ? `${name}.wgsl` : (url.pathname.split('/').pop() ?? url.href);

async function textOf(url: URL): Promise<string> {
  if (url.protocol === 'file:') return (await import('node:fs/promises')).readFile(url, 'utf8');
  const response = await fetch(url);
  if (!response.ok)
    throw new Error(`the kernel ${url} cannot be read: ${response.status} ${response.statusText}; serve the .wgsl files too`);
  return response.text();
}

/** The header's text; it ends with a line break. */
export function headerText({ enable = [], off = [], alias = {}, constants = {} }: Header): string {
  return [
    ...enable.map((name) => `enable ${name};`),
    ...off.map((rule) => `diagnostic(off, ${rule});`),
    ...Object.entries(alias).map(([name, type]) => `alias ${name} = ${type};`),
    ...Object.entries(constants).map(([name, value]) => `const ${name} = ${value};`),
    '',
  ].join('\n');
}

/** What an adapter offers, as far as kernels ask. */
export interface Capabilities {
  /** Of the device and of WGSL. */
  readonly features: ReadonlySet<string>;
  /** WebGPU's limits by name, as `maxBufferSize`, in bytes where they are sizes. */
  readonly limits: Readonly<Record<string, number>>;
  /** Smallest and largest subgroup; absent where the adapter does not say. */
  readonly subgroupSizes?: readonly [number, number];
  /** Subgroup matrix products it lists. */
  readonly matrices: readonly MatrixShape[];
}

/** One product of subgroup matrices: left [M, K] x right [K, N] of `componentType` -> [M, N] of `resultComponentType`. */
export interface MatrixShape {
  /** WGSL type of the factors: f16, f32, ... */
  readonly componentType: string;
  /** WGSL type of the product. */
  readonly resultComponentType: string;
  /** Rows of the left matrix and of the product. */
  readonly M: number;
  /** Columns of the right matrix and of the product. */
  readonly N: number;
  /** Columns of the left matrix, rows of the right one. */
  readonly K: number;
}

/** One way to write a kernel. */
export interface Variant<Call> {
  readonly name: string;
  /** Why it cannot serve this call here; undefined when it can. */
  lacking(capabilities: Capabilities, call: Call): string | undefined;
}

/** A variant that was passed over, and why. */
export interface Rejected {
  readonly name: string;
  readonly reason: string;
}

/**
 * The first variant that can serve a call, with the reasons why the ones before it could not.
 * @throws UnsupportedError when the wanted variant, or every variant, cannot.
 */
export function chooseVariant<Call, V extends Variant<Call>>(
  variants: readonly V[],
  capabilities: Capabilities,
  call: Call,
  wanted?: string,
): { readonly variant: V; readonly rejected: readonly Rejected[] } {
  const named = wanted === undefined ? variants : variants.filter(({ name }) => name === wanted);
  if (named.length === 0)
    throw new UnsupportedError(`there is no variant ${wanted}; choose ${variants.map(({ name }) => name).join(', ')}`);
  const rejected: Rejected[] = [];
  for (const variant of named) {
    const reason = variant.lacking(capabilities, call);
    if (reason === undefined) return { variant, rejected };
    rejected.push({ name: variant.name, reason });
  }
  throw new UnsupportedError(`no variant can run here: ${rejected.map(({ name, reason }) => `${name} (${reason})`).join(', ')}`);
}
