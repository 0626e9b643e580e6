// The CPU operations of one describe's tests: the device behind them is closed when the tests are done.
import { afterAll } from 'vitest';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import type { RuntimeName } from '../../src/backend/runtime.ts';

/** Opens the CPU on a runtime at once, and closes it after the tests of the describe that calls this. */
export function openedOps(runtime: RuntimeName): Promise<ReturnType<typeof cpuBackend>> {
  const device = openCpu(runtime);
  afterAll(async () => (await device).dispose());
  return device.then(cpuBackend);
}
