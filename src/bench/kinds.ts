// Which kind of work a kernel does: the one place where kernel names are sorted.
import type { Timed } from '../backend/webgpu/queue.ts';
import { searchKernels } from '../search/kernels/index.ts';

/** Kinds of work in one forward of a transformer. `other` is elementwise work, copies and what is done once a prompt. */
export const KINDS = ['linear', 'attention', 'search', 'norm', 'layout', 'other'] as const;
export type Kind = (typeof KINDS)[number];

/** GPU time of launches of one kernel. */
export interface KernelTime {
  readonly kernel: string;
  readonly launches: number;
  readonly milliseconds: number;
}

/** GPU time of one kind of work, its kernels longest first. */
export interface KindTime {
  readonly kind: Kind;
  readonly launches: number;
  readonly milliseconds: number;
  readonly kernels: readonly KernelTime[];
}

// Beginnings of file names; a variant of a kernel adds to its name. `norm` holds the rotation that is fused with it, `attention` what prepares
// its rows and pools its keys.
const BEGINNINGS: readonly (readonly [RegExp, Kind])[] = [
  [/^matmul/, 'linear'],
  [/^(attend|softmax-attention|pyramid)/, 'attention'],
  [/^(norm|rope)/, 'norm'],
  [/^(permute|cast)/, 'layout'],
];

const OWN = /\/search\/kernels\/([^/]+)$/;
const SEARCH = new Set(Object.values(searchKernels).map(({ pathname }) => OWN.exec(pathname)?.[1]));

/** The kind of a kernel by its file name; `other` for names that are not known. */
export const kindOf = (kernel: string): Kind =>
  SEARCH.has(kernel) ? 'search' : (BEGINNINGS.find(([beginning]) => beginning.test(kernel))?.[1] ?? 'other');

/** Launches added up by kind, in the order of `KINDS`, kinds without a launch left out. */
export function byKind(times: readonly Timed[]): readonly KindTime[] {
  const kernels = new Map<string, KernelTime>();
  for (const { kernel, milliseconds } of times) {
    const { launches, milliseconds: before } = kernels.get(kernel) ?? { launches: 0, milliseconds: 0 };
    kernels.set(kernel, { kernel, launches: launches + 1, milliseconds: before + milliseconds });
  }
  const sorted = [...kernels.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  return KINDS.flatMap((kind) => {
    const own = sorted.filter(({ kernel }) => kindOf(kernel) === kind);
    return own.length === 0 ? [] : [{ kind, launches: sum(own, 'launches'), milliseconds: sum(own, 'milliseconds'), kernels: own }];
  });
}

/** A field added up. */
export const sum = <Field extends string>(parts: readonly Readonly<Record<Field, number>>[], field: Field): number =>
  parts.reduce((total, part) => total + part[field], 0);
