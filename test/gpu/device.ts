// The GPU of a test file: opened once, disposed after its tests. Without an adapter that is said aloud, and the tests are skipped.
import { afterAll } from 'vitest';
import { type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';
import { UnsupportedError } from '../../src/errors.ts';

/** The device, or undefined where there is none: `const gpu = await openedGpu()`, then `describe.skipIf(!gpu)(...)`. */
export async function openedGpu(): Promise<GpuDevice | undefined> {
  try {
    const gpu = await openWebgpu();
    afterAll(() => gpu.dispose());
    return gpu;
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    console.warn(`GPU tests are skipped: ${error.message}`);
    return undefined;
  }
}
