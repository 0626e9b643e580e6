// What a Program becomes: slots, which are buffers to come, and steps that read and write them. Everything but the buffers is fixed beforehand.
import type { GpuDevice, GpuTensor } from '../../backend/webgpu/device.ts';
import type { Header, Kernel } from '../../backend/webgpu/wgsl.ts';
import type { Sparse3dKernels } from '../../sparse3d/kernels/index.ts';
import type { Grid } from '../../sparse3d/plan.ts';
import type { DType } from '../../tensor.ts';
import type { Variability } from '../onnx/segments.ts';
import type { DitKernels } from './kernels/index.ts';
import { packedStrides, type View } from './view.ts';

/** All kernels that a Program may use. */
export interface ProgramKernels {
  readonly dit: DitKernels;
  readonly sparse3d: Sparse3dKernels;
}

/** How numbers are stored; sums are always f32. */
export type Storage = 'f32' | 'f16';

/** A buffer to come. */
export interface Slot {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** How often it changes. */
  readonly when: Variability;
}

/** One piece of work: launches, or an attention call left to the caller. `writes` is a slot that no other step writes. */
export interface Step {
  readonly reads: readonly number[];
  readonly writes: number;
  readonly seam?: { readonly layer: number; readonly grid: Grid };
  run(tensors: readonly GpuTensor[], device: GpuDevice): void;
}

/** One launch with slots in place of tensors. */
export interface Launch {
  readonly kernel: Kernel;
  readonly header: Header;
  readonly slots: readonly number[];
  readonly uniform: Uint32Array;
  readonly workgroups: readonly [x: number, y?: number, z?: number];
}

/** Slots and steps in the making. */
export interface Builder {
  readonly kernels: ProgramKernels;
  /** How activations are stored. */
  readonly storage: Storage;
  readonly slots: Slot[];
  readonly steps: Step[];
  /** A new slot, as a packed view. */
  slot(shape: readonly number[], dtype: DType, when: Variability): View;
  /** The view made once for a key. */
  once(key: string, make: () => View): View;
  /** Adds a step of launches that together write `target`. */
  launch(target: number, launches: readonly Launch[]): void;
  /** Adds a step that does its own launches. */
  step(reads: readonly number[], writes: number, run: Step['run']): void;
}

export function builder(kernels: ProgramKernels, storage: Storage = 'f32'): Builder {
  const slots: Slot[] = [];
  const steps: Step[] = [];
  const known = new Map<string, View>();
  return {
    kernels,
    storage,
    slots,
    steps,
    slot(shape, dtype, when) {
      const slot = slots.push({ shape, dtype, when }) - 1;
      return { slot, dtype, shape, strides: packedStrides(shape), offset: 0 };
    },
    once(key, make) {
      const view = known.get(key) ?? make();
      known.set(key, view);
      return view;
    },
    launch(target, launches) {
      const reads = [...new Set(launches.flatMap(({ slots }) => slots))].filter((slot) => slot !== target);
      const repeated = launches.map(({ slots, ...launch }) => ({ slots, launch: { ...launch, memory: {} } }));
      this.step(reads, target, (tensors, device) => {
        for (const { slots, launch } of repeated) device.dispatch({ ...launch, tensors: slots.map((slot) => tensors[slot]) });
      });
    },
    step(reads, writes, run) {
      steps.push({ reads, writes, run });
    },
  };
}

/** How often what depends on these slots changes. */
export function changesWith(slots: readonly Slot[]): Variability {
  if (slots.some(({ when }) => when === 'dynamic')) return 'dynamic';
  return slots.some(({ when }) => when === 'constant') ? 'constant' : 'fixed';
}

/** Header lines for the types of a launch. */
export const enableFor = (...dtypes: readonly DType[]): readonly string[] => (dtypes.includes('f16') ? ['f16'] : []);
