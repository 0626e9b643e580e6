// What a result file says of where it was measured, and how results are written.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OnnxGraph } from '../src/backend/onnx.ts';
import type { Runtime } from '../src/backend/runtime.ts';

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

/** Processor, memory and software of this machine. */
export function machine(): Record<string, string | number> {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, { version: string }> };
  const version = (name: string): string => lock.packages[`node_modules/${name}`]?.version ?? 'not installed';
  return {
    cpu: cpus()[0].model.trim(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    'onnxruntime-node': version('onnxruntime-node'),
    'onnxruntime-web': version('onnxruntime-web'),
    date: new Date().toISOString().slice(0, 10),
  };
}

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

/** Writes bench/results/NAME.json and returns its path. */
export function writeResult(name: string, result: object): string {
  const path = join(root, 'bench', 'results', `${name}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ machine: machine(), ...result }, null, 1)}\n`);
  return path;
}
