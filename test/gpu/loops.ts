// Set up before each test file: how the software GPU zeroes workgroup memory. The driver's own way is a store for each number, which takes longer to
// compile than the rest of a kernel; Dawn's is a loop, and leaves the same zeros.
import { vi } from 'vitest';

const TOGGLES = 'disable-dawn-features=';
const EXTENSION = 'use_vulkan_zero_initialize_workgroup_memory_extension';

function byLoops(flags: readonly string[]): string[] {
  const disabled = flags.filter((flag) => flag.startsWith(TOGGLES)).map((flag) => flag.slice(TOGGLES.length));
  return [...flags.filter((flag) => !flag.startsWith(TOGGLES)), TOGGLES + [...disabled, EXTENSION].join()];
}

vi.mock('webgpu', async (load) => {
  const webgpu = await load<typeof import('webgpu')>();
  if (!process.env.VK_DRIVER_FILES?.includes('swiftshader')) return webgpu;
  return { ...webgpu, create: (flags: readonly string[] = []) => webgpu.create(byLoops(flags)) };
});
