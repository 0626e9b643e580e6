// The golden fixtures, through the same checks as `npm run parity`, on both ONNX runtimes.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Comparison } from '../bench/parity/fixture.ts';
import { checkFixture, type Line, listFixtures } from '../bench/parity/index.ts';
import { type CpuDevice, openCpu } from '../src/backend/cpu.ts';

const folders = await listFixtures(fileURLToPath(new URL('golden', import.meta.url)));

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('%s matches the reference', (runtime) => {
  let device: CpuDevice;
  beforeAll(async () => {
    device = await openCpu(runtime);
  });
  afterAll(() => device.dispose());

  test.each(folders.map((folder) => [folder.split(/[\\/]/).at(-1)!, folder]))('%s', async (_name, folder) => {
    const lines: Line[] = [];
    for await (const line of checkFixture(folder, device)) lines.push(line);
    const compared = lines.filter((line): line is Comparison => !('unsupported' in line));
    expect(compared.length).toBeGreaterThan(0);
    expect(compared.filter((line) => !line.passed)).toEqual([]);
  });
});
