// Everything that `zoetrope doctor` finds out, as data.
import { execFile } from 'node:child_process';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { loadRuntime } from '../backend/runtime.ts';
import type { GpuOptions } from '../backend/webgpu/adapter.ts';
import { UnsupportedError } from '../errors.ts';
import { findFfmpeg } from '../video/ffmpeg.ts';
import { examineGpu, type GpuReport } from './gpu.ts';

/** Something that is not there, and what to do about it. */
export interface Missing {
  readonly missing: string;
}

export interface MachineReport {
  readonly platform: string;
  readonly node: string;
  readonly processor: string;
  /** Cores that this process may use. */
  readonly cores: number;
  /** Memory that this process may use, and what of it is free. */
  readonly memoryBytes: number;
  readonly freeBytes: number;
}

export interface RuntimeReport {
  readonly name: string;
  readonly version: string;
  /** What to do to get a faster one; absent when this is the fastest. */
  readonly hint?: string;
}

export interface FfmpegReport {
  readonly path: string;
  readonly version: string;
}

export interface DoctorReport {
  /** False when a self-test failed. What is missing is no failure. */
  readonly ok: boolean;
  readonly machine: MachineReport;
  readonly gpu: GpuReport | Missing;
  readonly onnxRuntime: RuntimeReport | Missing;
  readonly ffmpeg: FfmpegReport | Missing;
}

/** Looks at the machine and tests its GPU; takes a few seconds. */
export async function examine(options: GpuOptions = {}): Promise<DoctorReport> {
  const gpu = await examineGpu(options);
  return {
    ok: 'missing' in gpu || gpu.selfTests.every(({ verdict }) => verdict !== 'failed'),
    machine: examineMachine(),
    gpu,
    onnxRuntime: await examineRuntime(),
    ffmpeg: await examineFfmpeg(),
  };
}

/** Processor, memory and software of this machine. */
export function examineMachine(): MachineReport {
  const allowed = process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  const memoryBytes = Math.min(totalmem(), allowed);
  return {
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes,
    freeBytes: Math.min(process.availableMemory?.() ?? freemem(), memoryBytes),
  };
}

const examineRuntime = (): Promise<RuntimeReport | Missing> =>
  unlessMissing(async () => {
    const { name, version, hint } = await loadRuntime();
    return { name, version, ...(hint && { hint }) };
  });

/** The ffmpeg that an .mp4 would be written with. */
const examineFfmpeg = (): Promise<FfmpegReport | Missing> =>
  unlessMissing(async () => {
    const path = await findFfmpeg('libx264');
    const { stdout } = await promisify(execFile)(path, ['-version']);
    return { path, version: /^ffmpeg version (\S+)/.exec(stdout)?.[1] ?? 'unknown' };
  });

async function unlessMissing<T>(examine: () => Promise<T>): Promise<T | Missing> {
  try {
    return await examine();
  } catch (error) {
    if (error instanceof UnsupportedError) return { missing: error.message };
    throw error;
  }
}
