// What a result file says of where it was measured, and how results are written.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

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

/** Writes bench/results/NAME.json and returns its path. */
export function writeResult(name: string, result: object): string {
  const path = join(root, 'bench', 'results', `${name}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify({ machine: machine(), ...result }, null, 1)}\n`);
  return path;
}
