// Every check on the GPU of this machine, whichever it is: node dist/bench/conformance.js [words of names]. Ends with 1 when one fails.
import { openWebgpu } from '../src/backend/webgpu/device.ts';
import { type Outcome, passes, runChecks, type Size } from '../src/conformance/index.ts';
import { gpuSuites, type Suite } from '../src/conformance/suites.ts';

const gpu = await openWebgpu().catch((error: Error) => {
  console.error(`Nothing was checked: ${error.message}.`);
  process.exit(1);
});
const { adapter } = gpu;
const sizes: Size[] = ['quick', 'small', 'medium', 'large'];
console.log(`${adapter.vendor} ${adapter.architecture} ${adapter.description}${adapter.software ? ' (software)' : ''}`);
if (adapter.software) console.log('Checks of 21x30x52 tokens are left out: they take a software adapter too long.');

const words = process.argv.slice(2);
const counts = { passed: 0, failed: 0, skipped: 0 };
for (const suite of await gpuSuites(gpu, adapter.software ? sizes.slice(0, -1) : sizes)) await report(suite);
gpu.dispose();
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
const none = Object.values(counts).every((count) => count === 0);
if (none) console.error(`Nothing was checked: no check has ${words.join(' and ')} in its name.`);
process.exitCode = counts.failed > 0 || none ? 1 : 0;

/** A line for each check that ran, and one for each reason why some did not. */
async function report({ name, ops, checks }: Suite): Promise<void> {
  const wanted = checks.filter((check) => words.every((word) => `${name} ${check.name}`.includes(word)));
  const skips = new Map<string, number>();
  for await (const outcome of runChecks(wanted, ops)) {
    const verdict = 'skipped' in outcome ? 'skipped' : passes(outcome) ? 'passed' : 'failed';
    counts[verdict]++;
    if ('skipped' in outcome) skips.set(outcome.skipped, (skips.get(outcome.skipped) ?? 0) + 1);
    else console.log(`${verdict}  ${name}: ${outcome.name}: ${detail(outcome)}`);
  }
  for (const [reason, count] of skips) console.log(`skipped ${name}: ${count} ${count === 1 ? 'check' : 'checks'}: ${reason}`);
}

function detail(outcome: Outcome): string {
  if ('skipped' in outcome) return outcome.skipped;
  if ('failed' in outcome) return outcome.failed;
  const { what, error, tolerance, milliseconds } = outcome;
  return `${what} ${error.toExponential(1)} of at most ${tolerance} (${Math.round(milliseconds)} ms)`;
}
