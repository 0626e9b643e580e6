// Finding an adapter and asking it for a device: all that it lists of what the kernels can use, and its own limits.
import { UnsupportedError } from '../../errors.ts';
import { missingVulkan } from './vulkan.ts';
import type { Capabilities, MatrixShape } from './wgsl.ts';

/** What to ask of a GPU. */
export interface GpuOptions {
  /** false: only what a browser offers without flags, so no subgroup matrices (default true). */
  readonly experimental?: boolean;
  /** false: no validation and no bounds checks, in Node only; faster, and unsafe with wrong input (default true). */
  readonly checked?: boolean;
  /** The adapter's features to do without, to try other variants. */
  readonly without?: readonly string[];
}

/** What is known of an adapter. */
export interface AdapterReport extends Capabilities {
  /** The maker, as the driver names it: "nvidia". */
  readonly vendor: string;
  /** The family, as "hopper"; empty where the driver does not tell. */
  readonly architecture: string;
  /** The model, as "nvidia-h100-80gb-hbm3"; empty in browsers, which do not tell. */
  readonly device: string;
  /** The driver, or the model. */
  readonly description: string;
  /** A software adapter: right, but slow. */
  readonly software: boolean;
}

const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query', 'chromium-experimental-subgroup-matrix'];
// Of WGSL itself: a number for each subgroup of a workgroup, which the compiler knows to be the same for all of its lanes.
const LANGUAGE = ['subgroup_id'];
const HOW =
  'in Node install the package webgpu ("npm install webgpu") and a Vulkan, Metal or D3D12 driver, in a browser use one with WebGPU';

/** An adapter's device and report. @throws UnsupportedError when there is none. */
export async function requestDevice(options: GpuOptions): Promise<{ device: GPUDevice; adapter: AdapterReport }> {
  const gpu = await findGpu(options);
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new UnsupportedError(`no GPU adapter was found; ${HOW}`);
  const experimental = options.experimental ?? true;
  const wanted = FEATURES.filter((name) => adapter.features.has(name) && (experimental || !name.startsWith('chromium-')));
  const features = wanted.filter((name) => !options.without?.includes(name));
  const device = await adapter.requestDevice({ requiredFeatures: features as GPUFeatureName[], requiredLimits: limitsOf(adapter.limits) });
  const language = LANGUAGE.filter((name) => gpu.wgslLanguageFeatures.has(name) && !options.without?.includes(name));
  return { device, adapter: report(adapter, device, language) };
}

// A device outlives its instance badly in Dawn, so each set of toggles keeps one for good. It does not keep the process alive.
const instances = new Map<string, Promise<GPU>>();

/** Where adapters are asked for: `navigator.gpu`, or Dawn. @throws UnsupportedError when there is neither. */
export function findGpu({ experimental = true, checked = true }: GpuOptions): Promise<GPU> {
  if (typeof navigator !== 'undefined' && navigator.gpu) return Promise.resolve(navigator.gpu);
  const enabled = experimental ? ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia'] : ['vulkan_enable_f16_on_nvidia'];
  if (!checked) enabled.push('skip_validation', 'disable_robustness');
  const key = enabled.join(',');
  let instance = instances.get(key);
  if (!instance) {
    instance = openDawn(key);
    instances.set(key, instance);
  }
  return instance;
}

async function openDawn(toggles: string): Promise<GPU> {
  try {
    const { create, globals } = await import('webgpu');
    const missing = missingVulkan();
    if (missing) throw new Error(missing);
    Object.assign(globalThis, globals);
    return create([`enable-dawn-features=${toggles}`, 'disable-dawn-features=timestamp_quantization']);
  } catch (cause) {
    throw new UnsupportedError(`WebGPU is not available here (${(cause as Error).message.split('\n')[0]}); ${HOW}`);
  }
}

function limitsOf(limits: GPUSupportedLimits): Record<string, number> {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(limits)).filter((name) => /^max/.test(name));
  const numbers = limits as unknown as Record<string, number>;
  return Object.fromEntries(names.map((name) => [name, numbers[name]]).filter(([, value]) => typeof value === 'number'));
}

function report(adapter: GPUAdapter, device: GPUDevice, language: readonly string[]): AdapterReport {
  const info = adapter.info as GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<MatrixShape> };
  const features = new Set<string>([...device.features, ...language]);
  const { subgroupMinSize: smallest = 0, subgroupMaxSize: largest = 0 } = info;
  const matrices = features.has('chromium-experimental-subgroup-matrix') ? [...(info.subgroupMatrixConfigs ?? [])] : [];
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    device: info.device.replace(/-+$/, ''),
    description: info.description || info.device,
    software: info.isFallbackAdapter ?? false,
    features,
    limits: limitsOf(device.limits),
    ...(features.has('subgroups') && smallest > 0 && { subgroupSizes: [smallest, largest] as const }),
    matrices: matrices.map(({ componentType, resultComponentType, M, N, K }) => ({ componentType, resultComponentType, M, N, K })),
  };
}
