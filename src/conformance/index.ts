// The conformance suite: what every backend, variant and storage must compute, whoever runs it.
import type { Backend } from '../backend/backend.ts';
import { algebraChecks } from './algebra.ts';
import { attentionChecks } from './attention.ts';
import type { Check, Measured, Size, Skipped } from './check.ts';
import { codeChecks } from './codes.ts';
import { correctionChecks } from './correct.ts';
import { fullSizeChecks } from './full-size.ts';
import type { Storage } from './inputs.ts';
import { memoryChecks } from './memory.ts';
import { orderChecks } from './orders.ts';
import { presetChecks } from './presets.ts';
import { probeChecks } from './probes.ts';
import { refusalChecks } from './refusals.ts';
import { searchChecks } from './search.ts';

export type { Check, Measured, Size, Skipped } from './check.ts';
export type { Storage } from './inputs.ts';

/** All checks of a storage, of these sizes. */
export const conformance = (storage: Storage, sizes: readonly Size[] = ['quick', 'small']): readonly Check[] =>
  [
    memoryChecks,
    attentionChecks,
    searchChecks,
    correctionChecks,
    algebraChecks,
    probeChecks,
    codeChecks,
    orderChecks,
    presetChecks,
    fullSizeChecks,
    refusalChecks,
  ]
    .flatMap((checks) => checks(storage))
    .filter(({ size }) => sizes.includes(size));

/** What became of a check. */
export type Outcome = (Measured | Skipped | { readonly failed: string }) & { readonly name: string; readonly milliseconds: number };

/** Whether an outcome is no failure: it was skipped, or is within its tolerance. */
export const passes = (outcome: Measured | Skipped | { readonly failed: string }): boolean =>
  'skipped' in outcome || ('error' in outcome && outcome.error <= outcome.tolerance);

/** Runs checks one after another; an operation that fails is the outcome of its check. */
export async function* runChecks(checks: readonly Check[], ops: Backend): AsyncGenerator<Outcome> {
  for (const { name, run } of checks) {
    const start = performance.now();
    const result = await run(ops).catch((error: Error) => ({ failed: error.message }));
    yield { ...result, name, milliseconds: performance.now() - start };
  }
}
