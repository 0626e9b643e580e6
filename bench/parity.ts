// npm run parity -- DIR [--device cpu|webgpu] [--dtype f32|f16] [--runtime onnxruntime-node|onnxruntime-web]: runs every fixture in DIR through
// the public code paths and prints the largest difference of each output from the reference. Without --dtype a GPU computes in each it has; a CPU
// runs both ONNX runtimes. Ends with exit code 1 when a difference is above its tolerance, or nothing was compared.
import { parseArgs } from 'node:util';
import type { RuntimeName } from '../src/backend/runtime.ts';
import { checkFixture, type Line, listFixtures } from './parity/index.ts';
import { cpuTarget, gpuTargets, type Target } from './parity/target.ts';

const RUNTIMES: readonly RuntimeName[] = ['onnxruntime-node', 'onnxruntime-web'];
const USAGE = `usage: npm run parity -- DIR [--device cpu|webgpu] [--dtype f32|f16] [--runtime ${RUNTIMES.join('|')}]`;

type Open = () => Promise<Target>;

interface Counts {
  compared: number;
  host: number;
  failed: number;
}

function text(line: Line): string {
  if ('unsupported' in line) return `${line.name.padEnd(48)} not supported: ${line.unsupported}`;
  const { name, difference, tolerance, passed, host } = line;
  const verdict = `${passed ? 'pass' : 'FAIL'}${host ? ', on the host' : ''}`;
  return `${name.padEnd(48)} ${difference.toExponential(2).padStart(10)} of ${tolerance.toExponential(2)}  ${verdict}`;
}

/** Runs all fixtures; what the host computes for a GPU is not counted as compared there. */
async function run(directory: string, target: Target): Promise<Counts> {
  const counts: Counts = { compared: 0, host: 0, failed: 0 };
  for (const folder of await listFixtures(directory)) {
    try {
      for await (const line of checkFixture(folder, target)) {
        const own = 'host' in line && target.executor.ops.name === 'cpu' ? { ...line, host: undefined } : line;
        console.log(text(own));
        if ('unsupported' in own) continue;
        if (own.host) counts.host++;
        else counts.compared++;
        if (!own.passed) counts.failed++;
      }
    } catch (error) {
      counts.failed++;
      console.log(`${folder}: ${(error as Error).message}`);
    }
  }
  return counts;
}

/** Runs all fixtures on one target after the other; says whether all is well. */
async function runAll(directory: string, targets: readonly Open[]): Promise<boolean> {
  let well = true;
  for (const open of targets) {
    const target = await open();
    console.log(target.name);
    const { compared, host, failed } = await run(directory, target);
    const elsewhere = host > 0 ? ` (and ${host} of the host)` : '';
    console.log(`${target.name}: ${compared} outputs compared${elsewhere}, ${failed} failed\n`);
    await target.dispose();
    well &&= failed === 0 && compared > 0;
  }
  return well;
}

const options = { runtime: { type: 'string' }, device: { type: 'string', default: 'cpu' }, dtype: { type: 'string' } } as const;
const { values, positionals } = parseArgs({ allowPositionals: true, options });
const [directory] = positionals;
const runtimes = RUNTIMES.filter((name) => values.runtime === undefined || name === values.runtime);
const { device, dtype } = values;
const stored = dtype === 'f32' || dtype === 'f16' ? dtype : undefined;
const known = directory && runtimes.length > 0 && ['cpu', 'webgpu'].includes(device) && stored === dtype;
if (!known) {
  console.error(USAGE);
  process.exit(2);
}
if (device === 'cpu' && stored === 'f16') {
  console.error('The CPU computes in f32; f16 takes --device webgpu.');
  process.exit(1);
}
try {
  const onCpu = runtimes.map((runtime) => () => cpuTarget(runtime));
  const targets = device === 'cpu' ? onCpu : await gpuTargets(stored, runtimes.length === 1 ? runtimes[0] : undefined);
  process.exitCode = (await runAll(directory, targets)) ? 0 : 1;
} catch (error) {
  console.error(`${(error as Error).message}.`);
  process.exitCode = 1;
}
