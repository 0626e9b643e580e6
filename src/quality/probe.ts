// The probe: a small network that names subject, scene and motion of a clip, as one ONNX graph on ONNX Runtime. Twin of samples/train/probe.py.
import { join } from 'node:path';
import { OnnxGraph } from '../backend/onnx.ts';
import type { Runtime } from '../backend/runtime.ts';
import { openWeights, type Weights } from '../dit/weights.ts';
import { HEADS, type Head } from './prompts.ts';
import { VIEW_FRAMES, VIEW_SIZE } from './view.ts';
import { JUDGE_FILES, type World } from './world.ts';

/** A name that the probe gives, and how sure it is, 0..1. */
export interface Named {
  readonly name: string;
  readonly probability: number;
}

export type Verdict = Readonly<Record<Head, Named>>;

export interface Probe {
  /** Logits of each head for a view [8, 3, 128, 128] in [0, 1]; see `viewOf`. */
  logits(view: Float32Array): Promise<Readonly<Record<Head, Float32Array>>>;
  dispose(): Promise<void>;
}

/** Opens probe.safetensors of the world's folder. @throws Error with one sentence when it is missing, damaged, or of another world. */
export async function openProbe(world: World, runtime: Runtime): Promise<Probe> {
  const weights = await openWeights(join(world.folder, JUDGE_FILES[1]));
  try {
    for (const head of HEADS) checkHead(weights, world, head);
    const session = await runtime.session(await graphOf(weights));
    return {
      async logits(view) {
        const frames = new runtime.Tensor(
          'float32',
          view.map((value) => 2 * value - 1),
          SHAPE,
        );
        const outputs = await session.run({ frames });
        return Object.fromEntries(HEADS.map((head) => [head, outputs[head].data])) as Record<Head, Float32Array>;
      },
      dispose: () => session.release(),
    };
  } finally {
    await weights.close();
  }
}

/** The likeliest name of each head. */
export function verdictOf(world: World, logits: Readonly<Record<Head, Float32Array>>): Verdict {
  const named = (head: Head): Named => {
    const own = logits[head];
    const best = own.reduce((most, value, at) => (value > own[most] ? at : most), 0);
    const total = own.reduce((sum, value) => sum + Math.exp(value - own[best]), 0);
    return { name: namesOf(world, head)[best], probability: 1 / total };
  };
  return { subject: named('subject'), scene: named('scene'), motion: named('motion') };
}

/** Names in the order of a head's outputs. */
const namesOf = ({ subjects, scenes, motions }: World, head: Head): string[] =>
  ({ subject: subjects, scene: scenes, motion: motions })[head].map(({ name }) => name);

function checkHead(weights: Weights, world: World, head: Head): void {
  const [known, [given]] = [namesOf(world, head).length, weights.get(`heads.${head}.weight`).shape];
  if (given !== known)
    throw new RangeError(
      `${weights.source} tells ${given} ${head}s apart and ${JUDGE_FILES[0]} beside it names ${known}; take both from one training.`,
    );
}

const SHAPE = [VIEW_FRAMES, 3, VIEW_SIZE, VIEW_SIZE];

/** Layers by their number in `frames` and `clip`; a batch norm follows each convolution. */
const [FRAME_CONVS, CLIP_CONVS, CLIP_LINEAR] = [[0, 3, 6, 9], [0, 3], 'clip.7'];

async function graphOf(weights: Weights): Promise<Uint8Array> {
  const graph = new OnnxGraph();
  let x = graph.input('frames', 'f32', SHAPE);
  for (const layer of FRAME_CONVS) x = await conv(graph, weights, x, 'frames', layer, 2);
  const largest = graph.node('ReduceMean', [graph.node('ReduceMax', [x, graph.ints([2, 3])], { keepdims: 0 }), graph.ints([0])]);
  const means = graph.node('Flatten', [graph.node('ReduceMean', [x, graph.ints([0, 2, 3])])]);
  let clip = graph.node('Unsqueeze', [graph.node('Transpose', [x], { perm: [1, 0, 2, 3] }), graph.ints([0])]);
  for (const [at, layer] of CLIP_CONVS.entries()) clip = await conv(graph, weights, clip, 'clip', layer, at + 1);
  clip = graph.node('Relu', [await linear(graph, weights, graph.node('Flatten', [clip]), CLIP_LINEAR)]);
  const features = graph.node('Concat', [largest, means, clip], { axis: 1 });
  for (const head of HEADS) {
    await linear(graph, weights, features, `heads.${head}`, head);
    graph.output(head, 'f32', [1, weights.get(`heads.${head}.weight`).shape[0]]);
  }
  return graph.build();
}

/** A convolution of size 3 with the batch norm that follows it folded in, and ReLU. */
async function conv(graph: OnnxGraph, weights: Weights, x: string, part: string, layer: number, stride: number): Promise<string> {
  const norm = async (name: string): Promise<Float32Array> => weights.floats(`${part}.${layer + 1}.${name}`);
  const [gain, shift, mean, variance] = await Promise.all(['weight', 'bias', 'running_mean', 'running_var'].map(norm));
  const factor = gain.map((value, channel) => value / Math.sqrt(variance[channel] + 1e-5));
  const { shape } = weights.get(`${part}.${layer}.weight`);
  const kernel = await dequantized(weights, `${part}.${layer}.weight`);
  const row = kernel.length / shape[0];
  const folded = kernel.map((value, at) => value * factor[Math.floor(at / row)]);
  const bias = shift.map((value, channel) => value - mean[channel] * factor[channel]);
  const axes = shape.length - 2;
  const inputs = [x, graph.constant('f32', shape, folded), graph.constant('f32', [shape[0]], bias)];
  return graph.node('Relu', [graph.node('Conv', inputs, { strides: Array(axes).fill(stride), pads: Array(2 * axes).fill(1) })]);
}

async function linear(graph: OnnxGraph, weights: Weights, x: string, name: string, output?: string): Promise<string> {
  const { shape } = weights.get(`${name}.weight`);
  const matrix = graph.constant('f32', shape, await dequantized(weights, `${name}.weight`));
  return graph.node(
    'Gemm',
    [x, matrix, graph.constant('f32', [shape[0]], await weights.floats(`${name}.bias`))],
    { transB: 1 },
    '',
    output,
  );
}

/** A tensor that is stored in int8 with a scale for each row. */
async function dequantized(weights: Weights, name: string): Promise<Float32Array> {
  const [bytes, scale] = [await weights.bytes(name), await weights.floats(`${name}:scale`)];
  const row = bytes.length / scale.length;
  return Float32Array.from(new Int8Array(bytes.buffer), (value, at) => value * scale[Math.floor(at / row)]);
}
