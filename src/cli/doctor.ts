// `zoetrope doctor`: what this machine has, what will be used, and whether its GPU computes what it should; read at a glance.
import type { GpuReport, KernelReport, SelfTest } from '../doctor/gpu.ts';
import { type DoctorReport, examine, type FfmpegReport, type MachineReport, type Missing, type RuntimeReport } from '../doctor/report.ts';
import type { DoctorArguments } from './arguments.ts';
import { formatBytes } from './progress.ts';
import { linesOn, type Terminal } from './terminal.ts';

/** Prints the report on stdout, as text or JSON. Resolves to the exit code: 1 when a self-test failed, 0 when something is only missing. */
export async function doctor({ json }: DoctorArguments, version: string, terminal: Terminal): Promise<number> {
  const lines = linesOn(terminal);
  if (terminal.isScreen) lines.show('Testing every kernel of this machine ...');
  const report = await examine();
  lines.clear();
  terminal.out(json ? `${JSON.stringify({ version, ...report })}\n` : formatDoctor(report, version));
  return report.ok ? 0 : 1;
}

/** The report in sections, a fact a line. */
export function formatDoctor({ machine, gpu, onnxRuntime, ffmpeg, ok }: DoctorReport, version: string): string {
  const lines = [
    ...machineLines(machine, version),
    ...('missing' in gpu ? ['', `GPU: none. ${sentence(gpu.missing)}`] : gpuLines(gpu)),
    '',
    runtimeLine(onnxRuntime),
    ffmpegLine(ffmpeg),
    '',
    verdict(ok, gpu),
  ];
  return `${lines.join('\n')}\n`;
}

const row = (name: string, text: string): string => `  ${name.padEnd(12)}${text}`;
const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;

const machineLines = ({ platform, node, processor, cores, memoryBytes, freeBytes }: MachineReport, version: string) => [
  `zoetrope ${version}, Node ${node}, ${platform}`,
  row('processor', `${processor}, ${cores} ${cores === 1 ? 'core' : 'cores'}`),
  row('memory', `${formatBytes(memoryBytes)}, ${formatBytes(freeBytes)} free`),
];

function gpuLines({
  device,
  vendor,
  architecture,
  description,
  software,
  features,
  matrices,
  subgroupSizes,
  limits,
  kernels,
  selfTests,
}: GpuReport) {
  const [smallest, largest] = subgroupSizes ?? [];
  const kind = [...new Set([vendor, architecture])].filter(Boolean).join(' ');
  const [name, ...more] = [device, description, kind].filter(Boolean);
  return [
    '',
    `GPU: ${name ?? 'without a name'}${more.length > 0 ? ` (${more.join(', ')})` : ''}${software ? ', in software: right but slow' : ''}`,
    row('features', features.join(', ') || 'none'),
    row('subgroups', smallest === undefined ? 'none' : smallest === largest ? `of ${smallest}` : `of ${smallest} to ${largest}`),
    row('matrices', matrices.join(', ') || 'none'),
    row(
      'buffers',
      `${formatBytes(limits.maxBufferSize)}, bound up to ${formatBytes(limits.maxStorageBufferBindingSize)}, ${limits.maxStorageBuffersPerShaderStage} at once`,
    ),
    row(
      'workgroups',
      `${limits.maxComputeInvocationsPerWorkgroup} threads, ${formatBytes(limits.maxComputeWorkgroupStorageSize)} of memory`,
    ),
    '',
    'Kernels',
    ...kernelLines(kernels),
    '',
    'Self-test against f64',
    ...selfTestLines(selfTests),
  ];
}

function kernelLines(kernels: readonly KernelReport[]): string[] {
  const titles = kernels.map(({ kernel, call }) => `${kernel} (${call})`);
  return kernels.flatMap(({ variant, rejected }, at) => [
    `  ${titles[at].padEnd(widest(titles))}  ${variant ?? 'cannot run'}`,
    ...rejected.map(({ name, reason }) => `    not ${name}: ${reason}`),
  ]);
}

function selfTestLines(tests: readonly SelfTest[]): string[] {
  const width = widest(tests.map(({ variant }) => variant));
  return tests.map(({ variant, verdict, detail, milliseconds }) => {
    const word = verdict === 'failed' ? 'FAILED' : verdict;
    return `  ${word.padEnd(7)}  ${variant.padEnd(width)}  ${detail}${verdict === 'skipped' ? '' : `, ${milliseconds} ms`}`;
  });
}

const widest = (texts: readonly string[]): number => Math.max(...texts.map(({ length }) => length));

const runtimeLine = (runtime: RuntimeReport | Missing): string =>
  'missing' in runtime
    ? `ONNX Runtime: none. ${sentence(runtime.missing)}`
    : `ONNX Runtime: ${runtime.name} ${runtime.version}${runtime.hint ? `; ${runtime.hint}` : ''}`;

const ffmpegLine = (ffmpeg: FfmpegReport | Missing): string =>
  'missing' in ffmpeg ? `ffmpeg: none. ${sentence(ffmpeg.missing)}` : `ffmpeg: ${ffmpeg.version}, ${ffmpeg.path}`;

function verdict(ok: boolean, gpu: GpuReport | Missing): string {
  if (!ok) return 'A self-test failed: results of this GPU cannot be trusted. Update its driver, or run on the CPU.';
  if ('missing' in gpu) return 'Everything runs on the CPU.';
  const auto = gpu.software
    ? 'the CPU, because this GPU is software'
    : `this GPU, in ${gpu.features.includes('shader-f16') ? 'f16' : 'f32'}`;
  return `All self-tests that can run here passed. --device auto takes ${auto}.`;
}
