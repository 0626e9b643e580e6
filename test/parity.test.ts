// The golden fixtures, through the same checks as `npm run parity`: on both ONNX runtimes, and those of transformers and samplers on a GPU.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Comparison } from '../bench/parity/fixture.ts';
import { checkFixture, type Line, listFixtures } from '../bench/parity/index.ts';
import { cpuTarget, gpuTarget, type Target } from '../bench/parity/target.ts';
import { type GpuDevice, openWebgpu } from '../src/backend/webgpu/device.ts';
import { UnsupportedError } from '../src/errors.ts';
import { openedGpu } from './gpu/device.ts';
import { playF16 } from './gpu/played.ts';

const folders = await listFixtures(fileURLToPath(new URL('golden', import.meta.url)));
const gpu = await openedGpu();
const nameOf = (folder: string): string => folder.split(/[\\/]/).at(-1)!;

function checks(open: () => Promise<Target>, own: readonly string[]): void {
  let target: Target;
  beforeAll(async () => {
    target = await open();
  });
  afterAll(() => target?.dispose());

  test.each(own.map((folder) => [nameOf(folder), folder]))('%s', async (_name, folder) => {
    const lines: Line[] = [];
    for await (const line of checkFixture(folder, target)) lines.push(line);
    const compared = lines.filter((line): line is Comparison => !('unsupported' in line));
    expect(compared.length).toBeGreaterThan(0);
    expect(compared.filter((line) => !line.passed)).toEqual([]);
  });
}

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('%s matches the reference', (runtime) => {
  checks(() => cpuTarget(runtime), folders);
});

describe.skipIf(!gpu)('a GPU in f16, played where it has none, matches the reference', () => {
  let played: GpuDevice;
  beforeAll(async () => {
    played = playF16(await openWebgpu());
  });
  afterAll(() => played?.dispose());
  checks(
    () => gpuTarget(played, 'f16'),
    folders.filter((folder) => /^wan(-t|22)/.test(nameOf(folder))),
  );
});

describe.skipIf(!gpu)('a GPU in f32 matches the reference', () => {
  checks(
    async () => gpuTarget(gpu!, 'f32'),
    folders.filter((folder) => /^(wan|scheduler)/.test(nameOf(folder))),
  );

  test('f16 that a GPU lacks is refused', async () => {
    const without = { ...gpu!, adapter: { ...gpu!.adapter, features: new Set<string>() } };
    await expect(gpuTarget(without, 'f16')).rejects.toThrow(UnsupportedError);
    await expect(gpuTarget(without, 'f16')).rejects.toThrow('stores no f16 (feature shader-f16 is missing); ask for --dtype f32');
  });
});
