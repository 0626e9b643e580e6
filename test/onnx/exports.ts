// The exports that export.py made, unpacked into a folder, with their inputs and outputs in PyTorch. exports.tar.br is exports.tar.gz packed anew
// with brotli, which sees that all exports of a model have the same weights.
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliDecompressSync } from 'node:zlib';
import type * as ort from 'onnxruntime-common';
import { loadRuntime, type Runtime } from '../../src/backend/runtime.ts';

const { extract } = createRequire(import.meta.url)('tar-fs') as { extract(folder: string): NodeJS.WritableStream };

/** Tokens of all exports; those of `joint` have the text in the same sequence, before the video. */
export const GRID = { frames: 3, height: 4, width: 6, text: 0 } as const;
export const JOINT = { grid: { ...GRID, text: 5 }, textBefore: 5 } as const;

export interface Exports {
  readonly folder: string;
  readonly names: readonly string[];
  readonly runtime: Runtime;
  path(name: string): string;
  /** What PyTorch was given, and what it answered. */
  tensors(name: string): { readonly feeds: Record<string, ort.Tensor>; readonly output: ort.Tensor };
  /** The answer of a plain session. */
  plain(name: string): Promise<ort.Tensor>;
}

export async function unpackExports(): Promise<Exports> {
  const folder = mkdtempSync(join(tmpdir(), 'onnx-exports-'));
  const packed = readFileSync(new URL('exports.tar.br', import.meta.url));
  await pipeline(Readable.from([brotliDecompressSync(packed)]), extract(folder));
  const runtime = await loadRuntime('auto');
  const path = (name: string): string => join(folder, `${name}.onnx`);
  const tensors: Exports['tensors'] = (name) => {
    const all = readTensors(join(folder, `${name.split('-')[0]}.safetensors`), runtime);
    const feeds = Object.entries(all).flatMap(([key, tensor]) => (key.startsWith('input.') ? [[key.slice(6), tensor] as const] : []));
    return { feeds: Object.fromEntries(feeds), output: all.output };
  };
  const names = readdirSync(folder).flatMap((file) => (file.endsWith('.onnx') ? [file.slice(0, -5)] : []));
  return {
    ...{ folder, names, runtime, path, tensors },
    async plain(name) {
      const session = await runtime.session(readFileSync(path(name)));
      const { output } = await session.run(tensors(name).feeds);
      await session.release();
      return output;
    },
  };
}

function readTensors(path: string, { Tensor }: Runtime): Record<string, ort.Tensor> {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, start).toString()) as Record<string, { shape: number[]; data_offsets: [number, number] }>;
  const read = ([from, to]: [number, number]): Float32Array =>
    new Float32Array(new Uint8Array(bytes.subarray(start + from, start + to)).buffer);
  return Object.fromEntries(
    Object.entries(header).map(([name, { shape, data_offsets }]) => [name, new Tensor('float32', read(data_offsets), shape)]),
  );
}

/** The largest difference over the largest value. */
export function relativeError(a: ort.Tensor, b: ort.Tensor): number {
  const [left, right] = [a.data as Float32Array, b.data as Float32Array];
  if (left.length !== right.length) return Number.POSITIVE_INFINITY;
  const differences = right.map((value, index) => Math.abs(value - left[index]));
  return Math.max(...differences) / Math.max(...right.map(Math.abs));
}
