// The conformance suites on the page: a line for each as it runs, and every check of it for who wants to know.
import type { GpuDevice } from '../../src/backend/webgpu/device.ts';
import { type Outcome, passes, runChecks, type Size } from '../../src/conformance/index.ts';
import { gpuSuites, type Suite } from '../../src/conformance/suites.ts';
import { element, find, row, say, shown } from './page.ts';

type Verdict = 'passed' | 'failed' | 'skipped';
const verdictOf = (outcome: Outcome): Verdict => ('skipped' in outcome ? 'skipped' : passes(outcome) ? 'passed' : 'failed');

/** Runs every check of these sizes. Resolves to how many passed, failed and were skipped. */
export async function showChecks(gpu: GpuDevice, sizes: readonly Size[]): Promise<Readonly<Record<Verdict, number>>> {
  const suites = await gpuSuites(gpu, sizes);
  const total = suites.reduce((sum, { checks }) => sum + checks.length, 0);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const suite of suites)
    for await (const verdict of showSuite(suite)) {
      counts[verdict]++;
      const done = counts.passed + counts.failed + counts.skipped;
      say(`Checking against f64: ${done} of ${total}…`, { done: done / total });
    }
  return counts;
}

async function* showSuite({ name, ops, checks }: Suite): AsyncGenerator<Verdict> {
  const all = find('#checks details tbody');
  const line = shown('#checks', 'tbody').appendChild(row(name));
  const outcomes: Outcome[] = [];
  for await (const outcome of runChecks(checks, ops)) {
    outcomes.push(outcome);
    const verdict = verdictOf(outcome);
    const what = element('td', `${name}: ${outcome.name}`);
    what.append(element('small', detail(outcome)));
    all.append(row(element('td', verdict, verdict), what));
    line.replaceWith(fill(line, name, outcomes));
    yield verdict;
    // The page is drawn between checks.
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** The line of a suite, for what is known so far. */
function fill(line: HTMLTableRowElement, name: string, outcomes: readonly Outcome[]): HTMLTableRowElement {
  const count = (verdict: Verdict) => outcomes.filter((outcome) => verdictOf(outcome) === verdict).length;
  const cell = (verdict: Verdict) => element('td', `${count(verdict) || ''}`, verdict);
  line.replaceChildren(...row(name, cell('passed'), cell('failed'), cell('skipped'), summary(outcomes)).children);
  return line;
}

/** The first failure, or the largest share of a tolerance that was used, and why checks were skipped. */
function summary(outcomes: readonly Outcome[]): HTMLElement {
  const failed = outcomes.find((outcome) => verdictOf(outcome) === 'failed');
  if (failed) return element('td', `${failed.name}: ${detail(failed)}`, 'failed');
  const shares = outcomes.flatMap((outcome) => ('error' in outcome && outcome.tolerance > 0 ? [outcome.error / outcome.tolerance] : []));
  const cell = element('td', shares.length ? `${(100 * Math.max(...shares)).toFixed(0)} %` : '');
  const reasons = new Set(outcomes.flatMap((outcome) => ('skipped' in outcome ? [outcome.skipped] : [])));
  cell.append(...[...reasons].map((reason) => element('small', `skipped: ${reason}`)));
  return cell;
}

function detail(outcome: Outcome): string {
  if ('skipped' in outcome) return outcome.skipped;
  if ('failed' in outcome) return outcome.failed;
  return `${outcome.what} ${outcome.error.toExponential(1)} of at most ${outcome.tolerance}, ${Math.round(outcome.milliseconds)} ms`;
}
