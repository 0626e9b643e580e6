// What the scripts of this folder share: the checkout, their results as files of cases, and the rate that a machine must be read against.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OnnxGraph } from '../src/backend/onnx.ts';
import type { Runtime } from '../src/backend/runtime.ts';
import type { AdapterReport } from '../src/backend/webgpu/adapter.ts';
import { type Case, machineOf, type ResultFile } from '../src/bench/results.ts';

/** Root of the checkout: the folder with package.json. */
export const root = ((): string => {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      if (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).name === 'zoetrope') return folder;
    } catch {
      // Not here: one folder up.
    }
    if (folder === dirname(folder)) throw new Error('bench must run inside a checkout of zoetrope: package.json was not found');
  }
})();

/** Cases that a script measured on this machine as a result file; `gpu` is its name where one takes part. */
export function resultFile<Own extends Case>(bench: string, options: object, cases: readonly Own[], gpu?: string): ResultFile<Own> {
  const packages = (JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock).packages;
  const installed = ['onnxruntime-node', 'onnxruntime-web'].map((name) => [name, packages[`node_modules/${name}`]?.version]);
  return {
    ...{ bench, date: new Date().toISOString().slice(0, 10), version: packages[''].version, machine: machineOf(gpu) },
    options: { ...options, ...Object.fromEntries(installed) },
    cases,
  };
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version: string }>>;
}

/** A GPU as results name it. */
export const gpuName = ({ device, description }: AdapterReport): string => device || description;

/** Where a result is committed. */
export const resultPath = (name: string): string => join(root, 'bench', 'results', `${name}.json`);

/** GFLOP/s of a 1024 x 1024 x 1024 f32 matrix product, best of ten: what a figure of this machine must be read against. */
export async function matmulRate(runtime: Runtime): Promise<number> {
  const graph = new OnnxGraph();
  graph.output(
    graph.node('MatMul', [graph.input('a', 'f32', [1024, 1024]), graph.input('b', 'f32', [1024, 1024])], {}, '', 'c'),
    'f32',
    [1024, 1024],
  );
  const session = await runtime.session(graph.build());
  const a = new runtime.Tensor(
    'float32',
    Float32Array.from({ length: 2 ** 20 }, (_, i) => (i % 7) - 3),
    [1024, 1024],
  );
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 10; run++) {
    const start = performance.now();
    await session.run({ a, b: a });
    best = Math.min(best, performance.now() - start);
  }
  await session.release();
  return Math.round((2 * 1024 ** 3) / best / 1e6);
}
