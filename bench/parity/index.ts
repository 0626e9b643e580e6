// Which check belongs to which fixture family, and how a folder of fixtures is run.
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CpuDevice } from '../../src/backend/cpu.ts';
import { type Comparison, type Fixture, onHost, openFixture } from './fixture.ts';
import { checkPipeline, checkTwoTransformers } from './pipeline.ts';
import { checkSampler } from './sampler.ts';
import type { Target } from './target.ts';
import { checkTextEncoder } from './text.ts';
import { checkTransformer } from './transformer.ts';
import { checkTaehv, checkWanVae } from './vae.ts';

/** A line of the report: compared, or not supported and why. */
export type Line = Comparison | { readonly name: string; readonly unsupported: string };

type Check = (fixture: Fixture, target: Target) => AsyncIterable<Line>;

/** A check of what ONNX Runtime computes whatever the target. */
const hosted = (check: (fixture: Fixture, device: CpuDevice) => AsyncIterable<Line>): Check =>
  async function* (fixture, target) {
    for await (const line of check(fixture, await target.cpu())) yield 'unsupported' in line ? line : onHost(line);
  };

/** Families by the start of a fixture's name; the first that fits is taken. */
const FAMILIES: readonly (readonly [string, Check])[] = [
  ['scheduler-unipc', checkSampler],
  ['scheduler-flow', checkSampler],
  ['umt5', hosted(checkTextEncoder)],
  ['t5', hosted(checkTextEncoder)],
  ['taehv', checkTaehv],
  ['vae-wan', checkWanVae],
  ['wan-transformer', checkTransformer],
  ['wan-pipeline', checkPipeline],
  ['wan22-pipeline', checkTwoTransformers],
];

/** Runs one fixture folder. */
export async function* checkFixture(folder: string, target: Target): AsyncGenerator<Line> {
  const fixture = await openFixture(folder);
  try {
    const family = FAMILIES.find(([prefix]) => fixture.name.startsWith(prefix));
    if (family) yield* family[1](fixture, target);
    else yield { name: fixture.name, unsupported: 'this model family' };
  } finally {
    await fixture.close();
  }
}

/** Fixture folders in a directory: those its index.json lists, or all that hold a meta.json. */
export async function listFixtures(directory: string): Promise<string[]> {
  const index = await readFile(join(directory, 'index.json'), 'utf8').catch(() => undefined);
  if (index) return (JSON.parse(index).items as string[]).map((name) => join(directory, name));
  const entries = await readdir(directory, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(directory, entry.name));
  const held = await Promise.all(
    folders.map((folder) =>
      access(join(folder, 'meta.json')).then(
        () => true,
        () => false,
      ),
    ),
  );
  return folders.filter((_, i) => held[i]).sort();
}
