// What there is to know of the GPU: what it offers, which variant each kernel would use and why not a better one, and whether each computes
// what it should.
import type { AdapterReport, GpuOptions } from '../backend/webgpu/adapter.ts';
import { type GpuDevice, openWebgpu } from '../backend/webgpu/device.ts';
import type { Capabilities, Rejected, Variant } from '../backend/webgpu/wgsl.ts';
import { type Outcome, passes, runChecks } from '../conformance/index.ts';
import { type Suite, variantSuites } from '../conformance/suites.ts';
import { matmulVariants } from '../dit/webgpu/matmul.ts';
import { UnsupportedError } from '../errors.ts';
import { massVariants, type ProductCall, peakVariants } from '../search/gpu-product.ts';
import { attendVariantsFor } from '../sparse3d/gpu-attend.ts';
import type { Missing } from './report.ts';

/** A kernel that there are several variants of, for one typical call. */
export interface KernelReport {
  readonly kernel: string;
  /** The call that was asked about, as `f16, 128 a head`. */
  readonly call: string;
  /** The variant that would be used; absent when none can run. */
  readonly variant?: string;
  /** Better variants, and why each cannot run here. */
  readonly rejected: readonly Rejected[];
}

/** What became of the self-test of one variant: its worst check. */
export interface SelfTest {
  readonly variant: string;
  readonly verdict: 'passed' | 'failed' | 'skipped';
  /** The error and its bound, the reason of a skip, or the failure. */
  readonly detail: string;
  readonly milliseconds: number;
}

export interface GpuReport {
  /** The model; empty where it is not told. */
  readonly device: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly subgroupSizes?: readonly [number, number];
  /** Products of subgroup matrices, as `f16 -> f32 16x16x16`. */
  readonly matrices: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  readonly kernels: readonly KernelReport[];
  readonly selfTests: readonly SelfTest[];
}

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
];

/** Opens the GPU, looks at it and tests it. */
export async function examineGpu(options: GpuOptions = {}): Promise<GpuReport | Missing> {
  let device: GpuDevice;
  try {
    device = await openWebgpu(options);
  } catch (error) {
    if (error instanceof UnsupportedError) return { missing: error.message };
    throw error;
  }
  try {
    return { ...described(device.adapter), kernels: kernelReports(device.adapter), selfTests: await selfTests(device) };
  } finally {
    device.dispose();
  }
}

function described({ features, limits, matrices, subgroupSizes, device, vendor, architecture, description, software }: AdapterReport) {
  const shapes = matrices.map(
    ({ componentType, resultComponentType, M, N, K }) => `${componentType} -> ${resultComponentType} ${M}x${N}x${K}`,
  );
  return {
    device,
    vendor,
    architecture,
    description,
    software,
    features: [...features].sort(),
    ...(subgroupSizes && { subgroupSizes }),
    matrices: [...new Set(shapes)],
    limits: Object.fromEntries(LIMITS.map((name) => [name, limits[name]])),
  };
}

/** The variant of each kernel for the calls of a video model. */
export function kernelReports(capabilities: Capabilities): readonly KernelReport[] {
  const chosen = <Call>(kernel: string, call: string, variants: readonly Variant<Call>[], of: Call): KernelReport => {
    const rejected = variants.map(({ name, lacking }) => ({ name, reason: lacking(capabilities, of) }));
    const usable = rejected.findIndex(({ reason }) => reason === undefined);
    const better = (usable < 0 ? rejected : rejected.slice(0, usable)) as Rejected[];
    return { kernel, call, ...(usable >= 0 && { variant: variants[usable].name }), rejected: better };
  };
  return (['f16', 'f32'] as const).flatMap((dtype) => {
    const product = { dtype, dim: 128, together: 64, keys: 64 };
    const call = `${dtype}, 128 a head`;
    const [mass, drawn]: ProductCall[] = [
      { ...product, rows: 64 },
      { ...product, rows: 16 },
    ];
    // The variant for few rows is no better one: it is for another call.
    const linear = matmulVariants.filter(({ name }) => name !== 'few');
    return [
      chosen('matmul', `${dtype}, 1536 to 8960`, linear, { dtype, rows: 32_760, inputs: 1536, outputs: 8960 }),
      chosen('attend', call, attendVariantsFor({ dtype }), { dtype, dim: 128 }),
      chosen('blockMass', `${call}, blocks of 64`, massVariants, mass),
      chosen('sampledScores', `${call}, 16 rows of 64`, peakVariants, drawn),
    ];
  });
}

/** The quick checks of every variant. */
async function selfTests(device: GpuDevice): Promise<readonly SelfTest[]> {
  const results: SelfTest[] = [];
  for (const suite of await variantSuites(device, ['quick'])) results.push(await selfTest(suite));
  return results;
}

async function selfTest({ name, ops, checks }: Suite): Promise<SelfTest> {
  const outcomes: Outcome[] = [];
  for await (const outcome of runChecks(checks, ops)) outcomes.push(outcome);
  const ran = outcomes.filter((outcome) => !('skipped' in outcome));
  const milliseconds = Math.round(outcomes.reduce((sum, outcome) => sum + outcome.milliseconds, 0));
  const worst = ran.find((outcome) => !passes(outcome)) ?? ran.sort((a, b) => share(b) - share(a))[0] ?? outcomes[0];
  const verdict = ran.length === 0 ? 'skipped' : ran.every(passes) ? 'passed' : 'failed';
  return { variant: name, verdict, detail: detailOf(worst), milliseconds };
}

const share = (outcome: Outcome): number => ('error' in outcome ? outcome.error / outcome.tolerance : Infinity);

function detailOf(outcome: Outcome): string {
  if ('skipped' in outcome) return outcome.skipped;
  if ('failed' in outcome) return `${outcome.name}: ${outcome.failed}`;
  return `error ${outcome.error.toExponential(1)}, at most ${outcome.tolerance} (${outcome.what})`;
}
