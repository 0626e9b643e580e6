// The samplers against trajectories of diffusers' schedulers (float32, a fixed model), step by step, on both backends; what they keep; their refusals.
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import type { Backend } from '../../src/backend/backend.ts';
import { openCpu } from '../../src/backend/cpu.ts';
import { cpuBackend } from '../../src/backend/cpu-backend.ts';
import { webgpuBackend } from '../../src/backend/webgpu/backend.ts';
import { createSampler, type Sampler, type SamplerOptions } from '../../src/dit/sampler.ts';
import { openWeights } from '../../src/dit/weights.ts';
import type { Tensor } from '../../src/tensor.ts';
import { openedGpu } from '../gpu/device.ts';

const device = await openCpu('onnxruntime-web');
afterAll(() => device.dispose());
const cpu = cpuBackend(device);
const gpu = await openedGpu();
const backends: readonly Backend[] = gpu ? [cpu, await webgpuBackend(gpu)] : [cpu];

const up = (ops: Backend, ...x: readonly number[]): Tensor => ops.upload(Float32Array.from(x), [x.length]);

const golden = new URL('../golden/', import.meta.url).pathname;
const readConfig = (name: string) => JSON.parse(readFileSync(`${golden}${name}/scheduler/scheduler_config.json`, 'utf8'));

/** How the reference was called for each trajectory: set_timesteps in its meta.json. */
const cases: Record<string, SamplerOptions> = {
  'scheduler-unipc-n1': { steps: 1 },
  'scheduler-unipc-shift3-n8': { steps: 8 },
  'scheduler-unipc-shift5-n20': { steps: 20 },
  'scheduler-unipc-order3-n10': { steps: 10 },
  'scheduler-unipc-legacy-n8': { steps: 8, ladder: 'legacy' },
  'scheduler-flow-shift1-n8': { steps: 8 },
  'scheduler-flow-shift3-n8': { steps: 8 },
  'scheduler-flow-hunyuan-n6': { steps: 6, sigmas: Array.from({ length: 6 }, (_, i) => 1 - i / 6) },
  'scheduler-flow-ltx-n8': { steps: 8, sigmas: Array.from({ length: 8 }, (_, i) => 1 - i / 8), mu: 1.31 },
};

const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Largest difference over the largest value. */
const difference = (got: ArrayLike<number>, wanted: ArrayLike<number>): number =>
  largest(Array.from(wanted, (value, i) => value - got[i])) / largest(wanted);

describe.each(backends)('a trajectory of the reference on $name', (ops) => {
  it.each(Object.entries(cases))('%s', async (name, options) => {
    const inputs = await openWeights(`${golden}${name}/inputs.safetensors`);
    const outputs = await openWeights(`${golden}${name}/outputs.safetensors`);
    const sampler = createSampler(readConfig(name), options);
    expect(difference(sampler.timesteps, await outputs.floats('timesteps'))).toBeLessThan(2e-7);
    expect(difference(sampler.sigmas, await outputs.floats('sigmas'))).toBeLessThan(2e-7);
    const { shape } = inputs.get('sample');
    let sample = ops.upload(await inputs.floats('sample'), shape);
    for (let i = 0; i < options.steps; i++) {
      sample = sampler.step(ops, ops.upload(await outputs.floats(`model_out_${i}`), shape), sample);
      expect(difference(await ops.read(sample), await outputs.floats(`sample_${i}`)), `step ${i}`).toBeLessThan(2e-6);
    }
    expect(difference(await ops.read(sample), await outputs.floats('sample_final'))).toBeLessThan(2e-6);
    await Promise.all([inputs.close(), outputs.close()]);
  });
});

const wan = {
  _class_name: 'UniPCMultistepScheduler',
  prediction_type: 'flow_prediction',
  use_flow_sigmas: true,
  flow_shift: 3,
};
const euler = { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 };

/** Runs a model whose x0 is known: v = (x - clean) / sigma. */
function solve(ops: Backend, { timesteps, sigmas, step }: Sampler, clean: Tensor, start: Tensor): Tensor {
  return timesteps.reduce((sample, _, i) => step(ops, ops.combine([sample, clean], [1 / sigmas[i], -1 / sigmas[i]]), sample), start);
}

describe('sampler', () => {
  it.each([wan, { ...wan, solver_order: 1 }, { ...wan, solver_order: 3 }, euler])(
    'reaches a constant x0 from any start (%o)',
    async (config) => {
      const clean = [0.5, -1, 2];
      const end = solve(cpu, createSampler(config, { steps: 12 }), up(cpu, ...clean), up(cpu, 3, 1, -1));
      expect(difference(await cpu.read(end), clean)).toBeLessThan(1e-6);
    },
  );

  it.skipIf(!gpu).each([wan, { ...wan, solver_order: 3 }, euler])('keeps what it needs on a GPU, and frees it (%o)', (config) => {
    const [, ops] = backends;
    gpu!.trim();
    const { bytes } = gpu!.memory;
    const sampler = createSampler(config, { steps: 7 });
    // A buffer of its own for each tensor: a pool lends none of 256 bytes for 4096.
    const latents = () => ops.upload(new Float32Array(1024).fill(0.5), [1024]);
    const kept: number[] = [];
    let sample = latents();
    for (let i = 0; i < 7; i++) {
      const velocity = latents();
      const next = sampler.step(ops, velocity, sample);
      ops.release(velocity);
      ops.release(sample);
      sample = next;
      gpu!.trim();
      kept.push((gpu!.memory.bytes - bytes) / 4096 - 1);
    }
    const order = config === euler ? 0 : ((config as { solver_order?: number }).solver_order ?? 2);
    expect(kept).toEqual([1, 2, 3, 4, 5, 6, 7].map((steps) => Math.min(steps, order)));
    sampler.dispose(ops);
    ops.release(sample);
    gpu!.trim();
    expect(gpu!.memory.bytes).toBe(bytes);
  });

  it('skips the corrector where the config says so', async () => {
    const run = async (disable_corrector: number[]) => {
      const sampler = createSampler({ ...wan, disable_corrector }, { steps: 4 });
      let sample = up(cpu, 0.5);
      const samples: number[] = [];
      for (const velocity of [1, 2, 3, 4]) {
        sample = sampler.step(cpu, up(cpu, velocity), sample);
        samples.push((await cpu.read(sample))[0]);
      }
      return samples;
    };
    const [all, noSecond] = [await run([]), await run([1])];
    expect(noSecond.slice(0, 2)).toEqual(all.slice(0, 2));
    expect(noSecond[2]).not.toBe(all[2]);
  });

  it('takes flowShift over the config, and mu from the number of tokens', () => {
    expect(createSampler(wan, { steps: 8, flowShift: 5 }).sigmas).toEqual(createSampler({ ...wan, flow_shift: 5 }, { steps: 8 }).sigmas);
    const dynamic = {
      ...euler,
      use_dynamic_shifting: true,
      base_shift: 0.95,
      max_shift: 2.05,
      base_image_seq_len: 1024,
      max_image_seq_len: 4096,
    };
    const byTokens = createSampler(dynamic, { steps: 5, sequenceLength: 2560 });
    expect(difference(byTokens.sigmas, createSampler(dynamic, { steps: 5, mu: 1.5 }).sigmas)).toBeLessThan(1e-6);
    expect(() => createSampler(dynamic, { steps: 5 })).toThrow('give sequenceLength');
  });

  it('refuses a step past the last and tensors of unequal size', () => {
    for (const config of [wan, euler]) {
      const sampler = createSampler(config, { steps: 1 });
      expect(() => sampler.step(cpu, up(cpu, 0, 0), up(cpu, 0, 0, 0))).toThrow('velocity has shape [2] and sample [3]');
      sampler.step(cpu, up(cpu, 0, 0), up(cpu, 0, 0));
      expect(() => sampler.step(cpu, up(cpu, 0, 0), up(cpu, 0, 0))).toThrow('All 1 steps');
    }
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1001])('refuses %s steps', (steps) => {
    expect(() => createSampler(wan, { steps })).toThrow(`steps is ${steps}`);
  });

  it.each<[string, Partial<SamplerOptions>, string]>([
    ['flowShift 0', { flowShift: 0 }, 'flowShift is 0'],
    ['too few sigmas', { sigmas: [1] }, 'sigmas has 1 values for 2 steps'],
    ['rising sigmas', { sigmas: [0.5, 0.6] }, 'sigmas[1] is 0.6'],
    ['sigmas above 1', { sigmas: [1.5, 0.6] }, 'sigmas[0] is 1.5'],
    ['sigmas and a ladder', { sigmas: [1, 0.5], ladder: 'legacy' }, 'both given'],
    ['no tokens', { sequenceLength: 0 }, 'sequenceLength is 0'],
  ])('refuses %s', (_, options, message) => {
    expect(() => createSampler(wan, { steps: 2, ...options })).toThrow(message);
  });

  it.each<[object, string]>([
    [{ _class_name: 'DDIMScheduler' }, '"DDIMScheduler" is not supported'],
    [{}, 'undefined is not supported'],
    [{ ...wan, prediction_type: 'epsilon' }, '"prediction_type" is "epsilon"'],
    [{ ...wan, use_flow_sigmas: false }, '"use_flow_sigmas" is false'],
    [{ ...wan, solver_type: 'bh1' }, '"solver_type" is "bh1"'],
    [{ ...wan, solver_order: 4 }, '"solver_order" is 4'],
    [{ ...wan, predict_x0: false }, '"predict_x0" is false'],
    [{ ...wan, thresholding: true }, '"thresholding" is true'],
    [{ ...wan, lower_order_final: false }, '"lower_order_final" is false'],
    [{ ...wan, final_sigmas_type: 'sigma_min' }, '"final_sigmas_type" is "sigma_min"'],
    [{ ...wan, use_karras_sigmas: true }, '"use_karras_sigmas" is true'],
    [{ ...wan, shift_terminal: 0.1 }, '"shift_terminal" is 0.1'],
    [{ ...wan, flow_shift: 'big' }, '"flow_shift" is "big"'],
    [{ ...euler, stochastic_sampling: true }, '"stochastic_sampling" is true'],
    [{ ...euler, invert_sigmas: true }, '"invert_sigmas" is true'],
    [{ ...euler, time_shift_type: 'cubic' }, '"time_shift_type" is "cubic"'],
    [{ ...euler, shift_terminal: 1 }, '"shift_terminal" is 1'],
  ])('refuses config %o', (config, message) => {
    expect(() => createSampler(config as Record<string, unknown>, { steps: 2 })).toThrow(message);
  });

  it('refuses a UniPC config that does not state flow matching', () => {
    expect(() => createSampler({ _class_name: 'UniPCMultistepScheduler' }, { steps: 2 })).toThrow('"prediction_type" is "epsilon"');
  });
});
