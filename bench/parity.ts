// npm run parity -- DIR [--runtime onnxruntime-node|onnxruntime-web]: runs every fixture in DIR through the public code paths and prints the
// largest difference of each output from the reference. Ends with exit code 1 when one is above its tolerance.
import { parseArgs } from 'node:util';
import { openCpu } from '../src/backend/cpu.ts';
import type { RuntimeName } from '../src/backend/runtime.ts';
import { checkFixture, type Line, listFixtures } from './parity/index.ts';

const RUNTIMES: readonly RuntimeName[] = ['onnxruntime-node', 'onnxruntime-web'];

function text(line: Line): string {
  if ('unsupported' in line) return `${line.name.padEnd(48)} not supported: ${line.unsupported}`;
  const { name, difference, tolerance, passed } = line;
  return `${name.padEnd(48)} ${difference.toExponential(2).padStart(10)} of ${tolerance.toExponential(2)}  ${passed ? 'pass' : 'FAIL'}`;
}

async function run(directory: string, runtime: RuntimeName): Promise<{ compared: number; failed: number }> {
  const device = await openCpu(runtime);
  console.log(`${device.runtime.name} ${device.runtime.version}`);
  let compared = 0;
  let failed = 0;
  for (const folder of await listFixtures(directory)) {
    try {
      for await (const line of checkFixture(folder, device)) {
        console.log(text(line));
        if ('unsupported' in line) continue;
        compared++;
        if (!line.passed) failed++;
      }
    } catch (error) {
      failed++;
      console.log(`${folder}: ${(error as Error).message}`);
    }
  }
  await device.dispose();
  return { compared, failed };
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { runtime: { type: 'string' } } });
const [directory] = positionals;
const chosen = RUNTIMES.filter((name) => values.runtime === undefined || name === values.runtime);
if (!directory || chosen.length === 0) {
  console.error(`usage: npm run parity -- DIR [--runtime ${RUNTIMES.join('|')}]`);
  process.exit(2);
}
let bad = 0;
for (const runtime of chosen) {
  const { compared, failed } = await run(directory, runtime);
  console.log(`${runtime}: ${compared} outputs compared, ${failed} failed\n`);
  bad += failed + (compared === 0 ? 1 : 0);
}
process.exitCode = bad > 0 ? 1 : 0;
