// Runs Programs on the GPU: planned once, then a run takes buffers in order, launches, and gives each buffer back after its last use. A run
// waits for nothing.
import { aheadOf } from '../../backend/webgpu/ahead.ts';
import { webgpuBackend } from '../../backend/webgpu/backend.ts';
import { type GpuDevice, type GpuTensor, gpuTensor, outOfMemory } from '../../backend/webgpu/device.ts';
import { loadKernels } from '../../backend/webgpu/wgsl.ts';
import { UnsupportedError } from '../../errors.ts';
import { castTensor } from '../../sparse3d/gpu-memory.ts';
import { sparse3dKernels } from '../../sparse3d/kernels/index.ts';
import type { Tensor } from '../../tensor.ts';
import { checkInput, type Executable, type Executor, KEPT_PRELUDES, type ProgramBytes, type Seam } from '../executor.ts';
import type { Node, Program } from '../graph.ts';
import type { Weights } from '../weights.ts';
import { ditKernels } from './kernels/index.ts';
import { type Plan, planProgram, weightType } from './plan.ts';
import { madeFor, type Part, programBytes, rehearse, schedule } from './schedule.ts';
import type { ProgramKernels, Step, Storage } from './steps.ts';
import { type LoadedWeights, loadWeights, type Wanted } from './weights.ts';

export interface GpuCompileOptions {
  /** How activations and matrices are stored; sums are always f32 (default f32). f16 needs the feature `shader-f16`. */
  readonly dtype?: Storage;
}

/** Runs Programs on a GPU, once its kernels are read. The device stays the caller's to dispose. */
export async function gpuExecutor(device: GpuDevice, options: GpuCompileOptions = {}): Promise<Executor> {
  const before = aheadOf(device);
  const backends = Promise.all([webgpuBackend(device), webgpuBackend(before)]);
  const [dit, sparse3d, [ops, ahead]] = await Promise.all([loadKernels(ditKernels), loadKernels(sparse3dKernels), backends]);
  const kernels = { dit, sparse3d };
  const plan = (program: Program) => planProgram(program, kernels, options.dtype ?? 'f32');
  return {
    ops,
    ahead: { ops: ahead, tensor: before.tensor, compile: async (program) => compileSteps(plan(program), device) },
    compile: (program, weights) => compileOnGpu(program, weights, device, kernels, options),
    bytes: (program) => programBytes(plan(program)),
  };
}

/** Tensors by slot; a slot that has none yet is empty. */
type Tensors = GpuTensor[];

/**
 * Binds a Program to weights on a GPU. Inputs and outputs of its runs are f32. The handles that the attention is given are freed after it
 * returns; its result lives as long as the run, or as the attention keeps it.
 * @throws Error when a weight is missing or has another shape; UnsupportedError for an operation without a kernel, or f16 where there is none.
 */
export async function compileOnGpu(
  program: Program,
  weights: Weights,
  device: GpuDevice,
  kernels: ProgramKernels,
  { dtype = 'f32' }: GpuCompileOptions = {},
): Promise<Executable> {
  if (dtype === 'f16' && !device.adapter.features.has('shader-f16'))
    throw new UnsupportedError('this GPU stores no f16 (feature shader-f16 is missing); choose f32');
  for (const { operation, shape } of program.nodes) if (operation.op === 'weight') weights.get(operation.name, shape);
  const plan = planProgram(program, kernels, dtype);
  // Kernels are compiled while weights are read.
  const compiled = compileSteps(plan, device);
  const loaded = await loadPlanned(plan, weights, device, kernels, dtype);
  await compiled;
  const fixed = fixedTensors(plan, device, loaded.get);
  const prelude = preludes(plan, device);
  const dynamic = schedule(plan, 'dynamic');
  const inputs = inputsOf(plan);
  return {
    run: (given, attention) =>
      device.scope(() => {
        const tensors = fixed.slice();
        for (const { node, slot, name } of inputs) {
          const tensor = gpuTensor(device, checkInput(node, name, given));
          tensors[slot] = tensor.dtype === 'f16' ? gpuTensor(device, castTensor(device, kernels.sparse3d, tensor, 'f32')) : tensor;
        }
        prelude.fill(tensors);
        for (const part of dynamic) runPart(part, plan, tensors, device, attention);
        return Object.fromEntries(Object.entries(plan.outputs).map(([name, slot]) => [name, tensors[slot] as Tensor]));
      }),
    async dispose() {
      prelude.release();
      const shared = new Set(plan.sources.filter(({ node }) => node.operation.op === 'weight').map(({ slot }) => slot));
      for (const [slot, tensor] of fixed.entries()) if (tensor && !shared.has(slot)) device.release(tensor);
      await loaded.release();
      device.trim();
    },
  };
}

/** Compiles what the steps of a Program launch; attention calls are their caller's. */
function compileSteps({ slots, steps }: Plan, device: GpuDevice): Promise<void> {
  const ahead = aheadOf(device);
  const tensors = slots.map(({ shape, dtype }) => ahead.tensor(shape, dtype));
  for (const step of steps) step.run(tensors, ahead);
  return ahead.idle();
}

/** Loads the weights and has the GPU make the buffers of a run, so that a Program too large for it is refused here and not in a step. */
async function loadPlanned(
  plan: Plan,
  weights: Weights,
  device: GpuDevice,
  kernels: ProgramKernels,
  dtype: Storage,
): Promise<LoadedWeights> {
  let loaded: LoadedWeights | undefined;
  try {
    loaded = await loadWeights(wantedBy(plan, dtype), weights, device, kernels);
    device.scope(() => rehearse(plan, 'dynamic', { take: ({ shape, dtype }) => device.tensor(shape, dtype), give: device.release }));
    await device.idle();
    return loaded;
  } catch (error) {
    await loaded?.release();
    device.trim();
    const lacking = outOfMemory(error);
    throw lacking ? new Error(tooLarge(programBytes(plan), lacking, dtype), { cause: error }) : error;
  }
}

function tooLarge({ weights, kept, values }: ProgramBytes, lacking: string, dtype: Storage): string {
  const needed = `this model needs ${weights + kept + values} bytes on the GPU, ${weights} of them for weights`;
  return `out of memory: ${needed}, and ${lacking}; choose a smaller size${dtype === 'f32' ? ', f16' : ''} or the CPU`;
}

function wantedBy({ sources }: Plan, dtype: Storage): Wanted[] {
  return sources.flatMap(({ node: { operation, shape } }) =>
    operation.op === 'weight' ? [{ name: operation.name, shape, dtype: weightType(operation.name, shape, dtype) }] : [],
  );
}

function inputsOf({ sources }: Plan): { node: Node; slot: number; name: string }[] {
  return sources.flatMap(({ node, slot }) => (node.operation.op === 'input' ? [{ node, slot, name: node.operation.name }] : []));
}

/** Weights, constants, and what depends on these alone; they live until they are released. */
function fixedTensors(plan: Plan, device: GpuDevice, weight: (name: string) => GpuTensor): Tensors {
  const tensors: Tensors = new Array(plan.slots.length);
  device.scope(() => {
    for (const { node, slot } of plan.sources) {
      const { operation } = node;
      if (operation.op === 'weight') tensors[slot] = weight(operation.name);
      if (operation.op === 'constant') tensors[slot] = device.keep(device.upload(operation.data, node.shape));
    }
    for (const part of schedule(plan, 'fixed')) runPart(part, plan, tensors, device);
    for (const slot of madeFor(plan, 'fixed')) device.keep(tensors[slot]);
  });
  return tensors;
}

/** What depends on constant inputs alone, kept for the last few sets of them (guidance branches). */
function preludes(plan: Plan, device: GpuDevice): { fill(tensors: Tensors): void; release(): void } {
  const kept: { key: readonly GpuTensor[]; made: ReadonlyMap<number, GpuTensor> }[] = [];
  const parts = schedule(plan, 'constant');
  const results = madeFor(plan, 'constant');
  const key = plan.sources.filter(({ slot }) => plan.slots[slot].when === 'constant').map(({ slot }) => slot);
  const drop = (from: number) => {
    for (const { made } of kept.splice(from)) for (const tensor of made.values()) device.release(tensor);
  };
  return {
    fill(tensors) {
      if (results.length === 0) return;
      let entry = kept.find((known) => known.key.every((tensor, index) => tensor === tensors[key[index]]));
      if (!entry) {
        const own = tensors.slice();
        device.scope(() => {
          for (const part of parts) runPart(part, plan, own, device);
          for (const slot of results) device.keep(own[slot]);
        });
        drop(KEPT_PRELUDES - 1);
        entry = { key: key.map((slot) => tensors[slot]), made: new Map(results.map((slot) => [slot, own[slot]])) };
        kept.unshift(entry);
      }
      for (const [slot, tensor] of entry.made) tensors[slot] = tensor;
    },
    release: () => drop(0),
  };
}

/** Runs a part in a scope of its own, so that what its attention call made is freed with it. */
function runPart({ steps, frees, crosses }: Part, { slots }: Plan, tensors: Tensors, device: GpuDevice, attention?: Seam): void {
  device.scope(() => {
    for (const [at, step] of steps.entries()) {
      const { writes, seam } = step;
      if (seam) tensors[writes] = attend(step, tensors, device, attention);
      else {
        tensors[writes] = device.tensor(slots[writes].shape, slots[writes].dtype);
        step.run(tensors, device);
      }
      // An attention that returns what it was given goes on using it.
      for (const slot of frees[at]) if (!seam || tensors[slot] !== tensors[writes]) device.release(tensors[slot]);
    }
    return crosses.map((slot) => tensors[slot]);
  });
}

function attend({ reads, seam }: Step, tensors: Tensors, device: GpuDevice, attention?: Seam): GpuTensor {
  if (!attention) throw new TypeError('this program has attention calls: pass an attention function to run()');
  const [q, k, v] = reads.map((slot) => tensors[slot]);
  return gpuTensor(device, attention(q, k, v, seam!.layer, seam!.grid));
}
