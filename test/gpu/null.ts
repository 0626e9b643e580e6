// Dawn's null backend as the GPU of a test file: it compiles everything and computes nothing.
import { afterAll, beforeAll, vi } from 'vitest';
import { create, globals } from 'webgpu';
import type { GpuOptions } from '../../src/backend/webgpu/adapter.ts';
import { type GpuDevice, openWebgpu } from '../../src/backend/webgpu/device.ts';

/** The device, opened before the tests of the file and disposed after them. */
export function nullGpu(options: GpuOptions = {}): () => GpuDevice {
  let device: GpuDevice;
  beforeAll(async () => {
    vi.stubGlobal('navigator', { gpu: create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']) });
    for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
    device = await openWebgpu(options);
  });
  afterAll(() => {
    device.dispose();
    vi.unstubAllGlobals();
  });
  return () => device;
}
