// Runs a Program on the CPU: each dense segment is an ONNX session, the attention calls between them go to the caller.
import type * as ort from 'onnxruntime-common';
import { type CpuDevice, contentOf, isNumbers, type Value } from '../../backend/cpu.ts';
import { cpuBackend } from '../../backend/cpu-backend.ts';
import { OnnxGraph } from '../../backend/onnx.ts';
import type { ExternalBytes, Runtime, SessionOptions } from '../../backend/runtime.ts';
import { elements, type Numbers, type Tensor } from '../../tensor.ts';
import { checkInput, type Executable, type Executor, KEPT_PRELUDES } from '../executor.ts';
import type { Node, Program } from '../graph.ts';
import type { Weights } from '../weights.ts';
import { convert } from './convert.ts';
import { type Segment, segment } from './segments.ts';

export interface CompileOptions {
  /** false: each segment is loaded, run and released in turn, so that a model larger than memory runs (default true). */
  readonly resident?: boolean;
  /** See `SessionOptions.arena`; by default true unless the sessions together would keep more than a gigabyte of intermediate values. */
  readonly arena?: boolean;
  /** See `SessionOptions.held`; for Programs of a single segment, since nobody frees what goes from one to the next (default false). */
  readonly held?: boolean;
}

/** Bytes that the sessions of a Program may keep between runs. */
const KEPT_BYTES = 1e9;

type Loaded = { run(feeds: readonly Value[]): Promise<readonly Value[]>; release(): Promise<void> };

/** Runs Programs on the CPU device, which stays the caller's to dispose. */
export const cpuExecutor = (device: CpuDevice): Executor => ({
  ops: cpuBackend(device),
  compile: (program, weights) => compile(program, weights, device),
});

/**
 * Binds a Program to weights on the CPU device.
 * @throws Error when a weight is missing or has another shape (its name and both shapes).
 */
export async function compile(program: Program, weights: Weights, device: CpuDevice, options: CompileOptions = {}): Promise<Executable> {
  for (const { operation, shape } of program.nodes) if (operation.op === 'weight') weights.get(operation.name, shape);
  const segments = segment(program);
  const own = { ...options, arena: options.arena ?? keptBytes(segments.steps.map((step) => step.segment)) < KEPT_BYTES };
  const prelude = segments.prelude && keptRun(segments.prelude, await runner(segments.prelude, program, weights, device, own));
  const steps: { run: Run; seams: readonly Node[] }[] = [];
  for (const step of segments.steps) steps.push({ run: await runner(step.segment, program, weights, device, own), seams: step.seams });
  return {
    run(inputs, attention) {
      const values = new Map<number, Tensor>();
      for (const node of program.nodes)
        if (node.operation.op === 'input') values.set(node.id, checkInput(node, node.operation.name, inputs));
      for (const [id, tensor] of prelude?.(values) ?? []) values.set(id, tensor);
      for (const { run, seams } of steps) {
        for (const [id, tensor] of run(values)) values.set(id, tensor);
        for (const node of seams) {
          if (!attention || node.operation.op !== 'attention')
            throw new TypeError('this program has attention calls: pass an attention function to run()');
          const [q, k, v] = node.inputs.map((id) => values.get(segments.resolve(id).id)!);
          values.set(node.id, attention(q, k, v, node.operation.layer, node.operation.grid));
        }
      }
      return Object.fromEntries(Object.entries(program.outputs).map(([name, id]) => [name, values.get(segments.resolve(id).id)!]));
    },
    async dispose() {
      await prelude?.release();
      for (const { run } of steps) await run.release();
    },
  };
}

/** A run whose results are kept for the last few sets of inputs. */
function keptRun({ inputs }: Segment, run: Run): Run {
  const kept: { key: readonly Tensor[]; values: Map<number, Tensor> }[] = [];
  const keeping = (values: Map<number, Tensor>): Map<number, Tensor> => {
    const key = inputs.map((node) => values.get(node.id)!);
    const known = kept.find((entry) => entry.key.every((tensor, index) => tensor === key[index]));
    if (known) return known.values;
    const made = run(values);
    kept.unshift({ key, values: made });
    kept.length = Math.min(kept.length, KEPT_PRELUDES);
    return made;
  };
  const release = async (): Promise<void> => {
    kept.length = 0;
    await run.release();
  };
  return Object.assign(keeping, { release });
}

/** About what the arenas of these segments grow to: twice the largest value of each. */
function keptBytes(parts: readonly Segment[]): number {
  const largest = ({ nodes }: Segment) => Math.max(0, ...nodes.filter(computed).map(({ shape }) => elements(shape)));
  return parts.reduce((sum, part) => sum + 2 * 4 * largest(part), 0);
}

const computed = ({ operation }: Node): boolean => operation.op !== 'weight' && operation.op !== 'constant';

interface Run {
  (values: Map<number, Tensor>): Map<number, Tensor>;
  release(): Promise<void>;
}

/** A segment as a function from values to values; loaded now, or at each run when it is not resident. */
async function runner(
  part: Segment,
  program: Program,
  weights: Weights,
  device: CpuDevice,
  { resident = true, ...kept }: CompileOptions,
): Promise<Run> {
  if (part.nodes.length === 0) return Object.assign(() => new Map<number, Tensor>(), { release: async () => undefined });
  const loaded = resident ? await load(part, program, weights, device.runtime, kept) : undefined;
  const run = (values: Map<number, Tensor>): Map<number, Tensor> => {
    const feeds = part.inputs.map((node) => values.get(node.id)!);
    const outputs = device.enqueue(part.outputs, async () => {
      const given = await Promise.all(feeds.map(contentOf));
      if (loaded) return loaded.run(given);
      const once = await load(part, program, weights, device.runtime, { ...kept, once: true });
      try {
        return await once.run(given);
      } finally {
        await once.release();
      }
    });
    return new Map(part.outputs.map((node, index) => [node.id, outputs[index]]));
  };
  return Object.assign(run, { release: async () => loaded?.release() });
}

/** Builds the session of a segment. What is written for it (graph, weight bytes) is not kept: the session has its own copy. */
async function load(part: Segment, program: Program, weights: Weights, runtime: Runtime, kept: SessionOptions): Promise<Loaded> {
  const { model, externalData } = await write(part, program, weights, runtime);
  return bind(part, await runtime.session(model, { ...kept, externalData }), runtime);
}

/** The ONNX graph of a segment, with inputs `v<id>` and outputs `o<id>`, and the bytes of its weights. */
async function write(
  part: Segment,
  program: Program,
  weights: Weights,
  runtime: Runtime,
): Promise<{ model: Uint8Array; externalData: ExternalBytes[] }> {
  const graph = new OnnxGraph();
  const externalData: ExternalBytes[] = [];
  const names = new Map<number, string>();
  for (const node of part.inputs) names.set(node.id, graph.input(`v${node.id}`, node.dtype, node.shape));
  const define = async (node: Node): Promise<string> => {
    const { operation } = node;
    if (operation.op === 'constant') return graph.constant('f32', node.shape, operation.data);
    if (operation.op === 'weight') return weight(graph, weights, operation.name, node.shape, externalData, runtime);
    const inputs: string[] = [];
    for (const id of node.inputs) inputs.push(await nameOf(id));
    const shapes = node.inputs.map((id) => program.nodes[id].shape);
    return convert(graph, node, inputs, shapes);
  };
  const nameOf = async (id: number): Promise<string> => {
    const node = program.nodes[id];
    if (node.operation.op === 'cut') return nameOf(node.inputs[0]);
    const name = names.get(id) ?? (await define(node));
    names.set(id, name);
    return name;
  };
  for (const node of part.nodes) await nameOf(node.id);
  for (const node of part.outputs)
    graph.output(graph.node('Identity', [names.get(node.id)!], {}, '', `o${node.id}`), node.dtype, node.shape);
  return { model: graph.build(), externalData };
}

/** A session as a function from the values of the segment's inputs to those of its outputs. */
function bind({ inputs, outputs }: Segment, session: ort.InferenceSession, runtime: Runtime): Loaded {
  return {
    async run(values) {
      const feeds = Object.fromEntries(inputs.map(({ id, shape }, index) => [`v${id}`, toOrt(runtime, values[index], shape)]));
      const results = await session.run(feeds);
      return outputs.map(({ id }) => {
        const result = results[`o${id}`];
        return result.location === 'gpu-buffer' ? result : (result.data as Numbers);
      });
    },
    release: () => session.release(),
  };
}

function toOrt(runtime: Runtime, value: Value, shape: readonly number[]): ort.Tensor {
  if (!isNumbers(value)) return value;
  if (value.length !== elements(shape)) throw new RangeError(`a value of shape [${shape}] holds ${value.length} numbers`);
  return value instanceof Float32Array ? new runtime.Tensor('float32', value, shape) : new runtime.Tensor('int32', value, shape);
}

const STORED = { F32: 'f32', F16: 'f16', BF16: 'bf16' } as const;

/** An initializer straight from the checkpoint's bytes, widened to f32 inside the graph; types that a runtime does not widen are widened on the host. */
async function weight(
  graph: OnnxGraph,
  weights: Weights,
  name: string,
  shape: readonly number[],
  externalData: ExternalBytes[],
  { floatsOnly }: Runtime,
): Promise<string> {
  const { dtype } = weights.get(name, shape);
  const stored = dtype === 'F32' || ((dtype === 'F16' || dtype === 'BF16') && !floatsOnly) ? dtype : undefined;
  const data = stored ? await weights.bytes(name) : new Uint8Array((await weights.floats(name)).buffer);
  externalData.push({ path: name, data });
  const raw = graph.external(name, STORED[stored ?? 'F32'], shape, { location: name, offset: 0, length: data.length });
  return stored === 'F16' || stored === 'BF16' ? graph.node('Cast', [raw], { to: 1 }) : raw;
}
