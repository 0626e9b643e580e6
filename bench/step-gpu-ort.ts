// One forward of Wan 2.1 1.3B's shape on onnxruntime-web's WebGPU build: the Program that zoetrope computes as ONNX graphs, on the same device.
// Tensors stay there, all attention is com.microsoft.MultiHeadAttention, and random weights are the same in each layer, so that few layers are timed.
//   node dist/bench/step-gpu-ort.js [--layers 2] [--width 832] [--height 480] [--frames 81] [--dtype f16] [--runs 3] [--checked] [--model DIR] [--out FILE]
// --checked is with validation and bounds checks; --model takes a checkpoint's weights instead. First a forward of few tokens is compared with the
// CPU executor's: where it differs the bench ends with 1.
import { parseArgs } from 'node:util';
import type * as ort from 'onnxruntime-common';
import { createAttention } from '../src/attention.ts';
import { openCpu } from '../src/backend/cpu.ts';
import type { ExternalBytes } from '../src/backend/runtime.ts';
import { webgpuRuntime } from '../src/backend/runtime-webgpu.ts';
import { gpuTensor } from '../src/backend/webgpu/device.ts';
import { subjectId } from '../src/bench/ids.ts';
import { writeResult } from '../src/bench/results.ts';
import { median, spreadOf, type Times } from '../src/bench/spread.ts';
import { openSubject, type Subject } from '../src/bench/subject.ts';
import type { Program } from '../src/dit/graph.ts';
import { cpuExecutor } from '../src/dit/onnx/executor.ts';
import { type Segment, type Segments, segment } from '../src/dit/onnx/segments.ts';
import { timestepEmbedding, type WanShape, wanTransformer } from '../src/dit/wan.ts';
import { dense } from '../src/methods.ts';
import { gaussianNoise } from '../src/noise.ts';
import { elements } from '../src/tensor.ts';
import { gpuName, resultFile } from './machine.ts';
import { attentionGraph, type DType, rowsOf, write } from './step-ort-graphs.ts';

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string' },
    width: { type: 'string', default: '832' },
    height: { type: 'string', default: '480' },
    frames: { type: 'string', default: '81' },
    dtype: { type: 'string' },
    runs: { type: 'string', default: '3' },
    checked: { type: 'boolean', default: false },
    model: { type: 'string' },
    out: { type: 'string' },
  },
});
/** Layers of Wan 2.1 T2V-1.3B. */
const LAYERS = 30;

/** Seconds of a forward's sessions, each waited for. */
interface Parts {
  /** Before, between and after the attention calls. */
  readonly dense: number[];
  readonly attention: number[];
}

interface Forward {
  /** The Program's result, the caller's to dispose. With `parts` each session is waited for, and its seconds are appended there. */
  run(parts?: Parts): Promise<ort.Tensor>;
  release(): Promise<void>;
}

/** What forwards have in common. */
interface Bench {
  readonly subject: Subject;
  readonly onnx: typeof ort;
  readonly dtype: DType;
}

const sessionOf = ({ onnx, subject }: Bench, model: Uint8Array, externalData: ExternalBytes[] = []): Promise<ort.InferenceSession> =>
  onnx.InferenceSession.create(model, {
    executionProviders: [{ name: 'webgpu', device: subject.gpu.device } as ort.InferenceSession.ExecutionProviderConfig],
    preferredOutputLocation: 'gpu-buffer',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
    // No node may run on the host.
    extra: { session: { disable_cpu_ep_fallback: '1' } },
    externalData: externalData.map(({ path, data }) => ({ path, data })),
  });

/** A session, and its inputs and outputs in the order of a segment's. */
interface Part {
  readonly session: ort.InferenceSession;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Sessions of a Program's prelude and steps. With random weights those between two attention calls are all alike: one session stands for them. */
async function partsOf(bench: Bench, program: Program, { prelude, steps }: Segments): Promise<Part[]> {
  const source = { program, rows: rowsOf(program), weights: bench.subject.weights, dtype: bench.dtype };
  const made: Part[] = [];
  for (const [index, part] of [prelude!, ...steps.map(({ segment }) => segment)].entries()) {
    if (!options.model && index > 2 && index < steps.length) {
      made.push(made[2]);
      continue;
    }
    const { model, externalData, ...names } = await write(source, part);
    made.push({ session: await sessionOf(bench, model, externalData), ...names });
  }
  return made;
}

type Values = Map<number, ort.Tensor>;

async function runPart({ session, inputs, outputs }: Part, part: Segment, values: Values): Promise<void> {
  const feeds = Object.fromEntries(inputs.map((name, at) => [name, values.get(part.inputs[at].id)!]));
  const results = await session.run(feeds);
  for (const [at, { id }] of part.outputs.entries()) values.set(id, results[outputs[at]]);
}

/** The Program's inputs, random but for the time. */
function inputsOf({ subject: { config } }: Bench, shape: WanShape): Record<string, readonly [Float32Array, readonly number[]]> {
  const latents = [1, config.inChannels, shape.frames, shape.height, shape.width];
  const text = [1, shape.textTokens, config.textDim];
  return {
    hidden_states: [gaussianNoise(0, elements(latents)), latents],
    time: [timestepEmbedding([500], config.freqDim), [1, 1, config.freqDim]],
    encoder_hidden_states: [gaussianNoise(1, elements(text)), text],
  };
}

/** Inputs on the GPU by their nodes. */
function uploaded(bench: Bench, program: Program, shape: WanShape): Values {
  const { subject, onnx, dtype } = bench;
  const { gpu, executor } = subject;
  const inputs = inputsOf(bench, shape);
  const values: Values = new Map();
  for (const { id, operation } of program.nodes) {
    if (operation.op !== 'input') continue;
    const [numbers, dims] = inputs[operation.name];
    const tensor = executor.ops.upload(numbers, dims);
    const { buffer } = gpuTensor(gpu, dtype === 'f16' ? executor.ops.cast(tensor, 'f16') : tensor).lent;
    values.set(id, onnx.Tensor.fromGpuBuffer(buffer, { dataType: dtype === 'f16' ? 'float16' : 'float32', dims }));
  }
  gpu.flush();
  return values;
}

/** After which step a value is not read again. */
function lastUses({ steps, resolve }: Segments): Map<number, number> {
  const last = new Map<number, number>();
  for (const [step, { segment, seams }] of steps.entries()) {
    for (const { id } of segment.inputs) last.set(id, step);
    for (const { inputs } of seams) for (const id of inputs) last.set(resolve(id).id, step);
  }
  return last;
}

/** With `seconds`, waits for the GPU and appends how long it took. */
async function timed({ gpu }: Subject, seconds: number[] | undefined, body: () => Promise<void>): Promise<void> {
  const start = performance.now();
  await body();
  if (!seconds) return;
  await gpu.idle();
  seconds.push((performance.now() - start) / 1000);
}

async function openForward(bench: Bench, layers: number, shape: WanShape): Promise<Forward> {
  const { subject, dtype } = bench;
  const program = wanTransformer({ ...subject.config, layers }, shape);
  const segments = segment(program);
  const [prelude, ...parts] = await partsOf(bench, program, segments);
  const seam = program.nodes.find(({ operation }) => operation.op === 'attention')!;
  const attention = await sessionOf(bench, attentionGraph(dtype, rowsOf(program).get(seam.id)!, subject.config.heads));
  const kept = uploaded(bench, program, shape);
  await runPart(prelude, segments.prelude!, kept);
  const last = lastUses(segments);
  return {
    async run(times) {
      const values = new Map(kept);
      for (const [step, { segment: part, seams }] of segments.steps.entries()) {
        await timed(subject, times?.dense, () => runPart(parts[step], part, values));
        for (const { id, inputs } of seams) {
          const [q, k, v] = inputs.map((input) => values.get(segments.resolve(input).id)!);
          await timed(subject, times?.attention, async () => void values.set(id, (await attention.run({ q, k, v })).out));
        }
        for (const [id, tensor] of values) {
          if (kept.has(id) || last.get(id) !== step) continue;
          tensor.dispose();
          values.delete(id);
        }
      }
      return values.get(segments.resolve(program.outputs.sample).id)!;
    },
    async release() {
      for (const { session } of new Set([prelude, ...parts])) await session.release();
      await attention.release();
    },
  };
}

const taken = async (result: ort.Tensor): Promise<Float32Array> => (await result.getData(true)) as Float32Array;

interface Check {
  readonly tokens: number;
  readonly layers: number;
  /** The largest difference from the CPU executor's result in f32, by the largest number there. */
  readonly difference: number;
  readonly allowed: number;
}

/** A forward of few tokens, against the CPU executor's. */
async function check(bench: Bench): Promise<Check> {
  const { config, shape, weights } = bench.subject;
  const layers = options.model ? config.layers : Math.min(3, config.layers);
  const small = { ...shape(1), frames: 2, height: 8, width: 12 };
  const forward = await openForward(bench, layers, small);
  const actual = await taken(await forward.run());
  await forward.release();
  const cpu = cpuExecutor(await openCpu());
  const program = wanTransformer({ ...config, layers }, small);
  const executable = await cpu.compile(program, weights);
  const inputs = Object.entries(inputsOf(bench, small)).map(([name, [numbers, dims]]) => [name, cpu.ops.upload(numbers, dims)] as const);
  const { attention } = createAttention(cpu.ops, dense());
  const site = { step: 0, steps: 1, layers, branches: [0] };
  const { sample } = executable.run(Object.fromEntries(inputs), (q, k, v, layer, grid) => attention(q, k, v, { ...site, layer, grid }));
  const expected = (await cpu.ops.read(sample)) as Float32Array;
  await executable.dispose();
  const largest = (of: (at: number) => number): number => expected.reduce((most: number, _, at) => Math.max(most, Math.abs(of(at))), 0);
  const difference = largest((at) => actual[at] - expected[at]) / largest((at) => expected[at]);
  const tokens = (small.frames * small.height * small.width) / elements(config.patch);
  return { tokens, layers, difference, allowed: bench.dtype === 'f16' ? 2e-2 : 1e-4 };
}

/** Seconds of whole forwards and of their parts; those of all the model's layers scaled from the parts. */
async function time(bench: Bench, runs: number) {
  const { gpu, config, shape } = bench.subject;
  const forward = await openForward(bench, config.layers, shape(1));
  const seconds: number[] = [];
  let finite = true;
  // The first compiles.
  for (let run = 0; run <= runs; run++) {
    const start = performance.now();
    const result = await forward.run();
    await gpu.idle();
    if (run > 0) seconds.push((performance.now() - start) / 1000);
    finite &&= (await taken(result)).every(Number.isFinite);
  }
  const parts: Parts = { dense: [], attention: [] };
  (await forward.run(parts)).dispose();
  await forward.release();
  const [first, ...others] = parts.dense;
  const ending = others.pop()!;
  const whole = options.model ? config.layers : LAYERS;
  const [attention, between] = [median(parts.attention), median(others)];
  return {
    ...{ seconds, finite, parts },
    layer: { seconds: attention + between, attention, dense: between },
    scaled: { layers: whole, seconds: first + whole * attention + (whole - 1) * between + ending },
  };
}

const layers = options.layers || !options.model ? Number(options.layers ?? 2) : undefined;
if (layers !== undefined && !(layers >= 2))
  throw new RangeError(`--layers is ${options.layers}; what lies between two attention calls needs 2`);
const subject = await openSubject({
  ...{ model: options.model, layers, dtype: options.dtype as DType | undefined, checked: options.checked },
  ...{ width: Number(options.width), height: Number(options.height), numFrames: Number(options.frames) },
});
// Opened once as the pipeline does, the module is ready for sessions of any kind.
const { version } = await webgpuRuntime(subject.gpu);
const bench = { subject, onnx: (await import('onnxruntime-web/webgpu')) as unknown as typeof ort, dtype: subject.setting.dtype };
const start = performance.now();
const checked = await check(bench);
const isRight = checked.difference <= checked.allowed;
console.log(JSON.stringify({ check: checked, right: isRight }));
const times = await time(bench, Number(options.runs));
const { setting } = subject;
const contender = `onnxruntime-web ${version} WebGPU, dense`;
const shared = { contender, density: 1, clock: 'wall', finite: times.finite, check: { against: 'the CPU executor in f32', ...checked } };
// What was timed when it was wrong is not the Program.
const wrong = isRight ? undefined : `it is off by ${checked.difference} of the largest number where ${checked.allowed} is allowed`;
const unlessWrong = (milliseconds: Times) => (wrong === undefined ? { milliseconds } : { failed: wrong });
const idOf = (layers: number): string => `${subjectId({ ...setting, layers })}/onnxruntime-web/dense`;
const { seconds, scaled, layer, parts } = times;
const own = { id: idOf(setting.layers), ...shared, ...unlessWrong(spreadOf(seconds.map((x) => 1000 * x))), setting };
const whole = {
  ...{
    id: idOf(scaled.layers),
    ...shared,
    ...unlessWrong({ median: 1000 * scaled.seconds }),
    scaledFromLayers: setting.layers,
    layer,
    parts,
  },
  setting: { ...setting, layers: scaled.layers },
};
const cases = setting.layers === scaled.layers ? [own] : [whole, own];
const asked = { checked: options.checked, layers: setting.layers, runs: seconds.length, benchSeconds: (performance.now() - start) / 1000 };
const result = resultFile('step', asked, cases, gpuName(subject.gpu.adapter));
console.log(JSON.stringify(result, null, 1));
if (options.out) await writeResult(options.out, result);
// With subgroups of 4, as on software GPUs, this MultiHeadAttention is wrong.
if (wrong !== undefined) console.error(wrong);
process.exit(isRight ? 0 : 1);
