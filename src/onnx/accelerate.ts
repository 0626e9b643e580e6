// Opens an ONNX model with its self-attention at the seam: the graph is read, cut at each attention, and the parts become sessions.
import { ONNX_TYPE } from '../backend/onnx.ts';
import type { RuntimeChoice } from '../backend/runtime.ts';
import { checkMethod, checkOptions } from '../checks.ts';
import { UnsupportedError } from '../errors.ts';
import type { Method } from '../method.ts';
import { type DenseOverrides, withDense } from '../search/schedule.ts';
import { type Grid, tokensOf } from '../sparse3d/plan.ts';
import { readOnnx } from './file.ts';
import { type Finding, findAttention } from './find.ts';
import { type Graph, graphOf } from './graph.ts';
import { type Feeds, type GridOption, gridWithText } from './grid.ts';
import { openSteps } from './open.ts';
import { onCpu, onWebgpu, type Place } from './places.ts';
import type { NodeProto } from './schema.ts';
import { placeSeams, SEAM } from './seams.ts';
import { type OnnxSession, onnxSession } from './session.ts';
import { type StepOptions, trackSteps } from './steps.ts';

/** The model's tokens and steps, and where it runs. */
export interface OnnxOptions extends StepOptions, DenseOverrides {
  /** The video in tokens, with the text tokens that are in one sequence with them; a function of the feeds where sizes change from run to run. */
  readonly grid: GridOption;
  /** So many text tokens stand before the video's, as in CogVideoX: all of the grid's, or none (default 0: they stand behind them). */
  readonly textBefore?: number;
  /** Nodes of self-attention, by name, that stay as they are: attention over other tokens than the video's, or with a mask. */
  readonly leave?: readonly string[];
  /** Where the model runs (default `cpu`): all of it, on one device. On a GPU, which must have f16 for it, attention of an f16 model is computed in f16. */
  readonly device?: 'cpu' | 'webgpu';
  /** Which ONNX Runtime on the CPU; see `loadRuntime` for what is taken by default. On webgpu it is onnxruntime-webgpu. */
  readonly runtime?: RuntimeChoice;
}

const OPTIONS: readonly (keyof OnnxOptions)[] = [
  ...(['grid', 'steps', 'timestepInput', 'textBefore', 'leave', 'denseSteps', 'denseLayers', 'device', 'runtime'] as const),
];

/**
 * Opens an ONNX video transformer so that its self-attention is computed by `method`. The file is only read. The result is called like an
 * InferenceSession; each run is one forward.
 * @throws Error for a file that is missing or damaged; UnsupportedError for a graph without self-attention that can be taken, or with one that
 * cannot (its node and why); RangeError when the tokens are not those of the grid.
 */
export async function accelerateOnnx(path: string, method: Method, options: OnnxOptions): Promise<OnnxSession> {
  checkMethod(method);
  checkOptions('accelerate', options, ['grid', 'steps'], OPTIONS);
  const file = await readOnnx(path);
  const graph = graphOf(file.model.graph);
  const tracked = trackSteps(options, graph.inputs);
  const taken = inOrder(graph, choose(path, findAttention(graph), options));
  const gridOf = gridFor(path, taken, options);
  const seamed = placeSeams(
    graph,
    taken.map(({ candidate }) => candidate!),
    { before: options.textBefore ?? 0 },
  );
  const cut = graphOf({
    ...file.model.graph,
    node: seamed.nodes,
    initializer: [...file.model.graph.initializer, ...seamed.constants],
  });
  const seams = cut.nodes.filter(({ opType }) => opType === SEAM);
  const names = taken.map(({ node }) => node);
  const dtypes = taken.map(({ candidate }) => (graph.type(candidate!.v.value) === ONNX_TYPE.f16 ? 'f16' : 'f32'));
  const place = await placeFor(adjusted(method, options), options);
  const check = (seam: NodeProto, tokens: number): void => {
    if (typeof options.grid !== 'function') checkTokens(path, names[seams.indexOf(seam)], tokens, gridOf({}));
  };
  const steps = await openSteps(file, cut, place, check).catch(async (error: Error) => {
    await place.dispose();
    throw error;
  });
  const { inputs: inputNames, outputs: outputNames } = graph;
  return onnxSession({ steps, inputNames, outputNames, place, tracked, gridOf, stepCount: options.steps, seams, names, dtypes });
}

/** In the order in which their results are made, which is that of layers. */
const inOrder = (graph: Graph, taken: readonly Finding[]): readonly Finding[] => {
  const place = new Map(graph.nodes.map((node, index) => [node, index]));
  return [...taken].sort((a, b) => place.get(a.candidate!.end)! - place.get(b.candidate!.end)!);
};

const adjusted = (method: Method, options: DenseOverrides): Method =>
  options.denseSteps === undefined && options.denseLayers === undefined
    ? method
    : { ...method, schedule: withDense(method.schedule, options) };

function placeFor(method: Method, { device = 'cpu', runtime }: OnnxOptions): Promise<Place> {
  if (device === 'cpu') return onCpu(method, runtime);
  if (device !== 'webgpu') throw new TypeError(`there is no device ${JSON.stringify(device)}; choose cpu or webgpu`);
  if (runtime !== undefined && runtime !== 'auto' && runtime !== 'onnxruntime-webgpu')
    throw new UnsupportedError(`${runtime} does not compute on webgpu; leave the runtime out, or choose device cpu`);
  return onWebgpu(method);
}

/** The self-attention that is taken. @throws UnsupportedError when there is none, or one that can be neither taken nor is to be left. */
function choose(path: string, findings: readonly Finding[], { leave = [] }: OnnxOptions): readonly Finding[] {
  const unknown = leave.find((name) => !findings.some(({ node }) => node === name));
  if (unknown !== undefined)
    throw new TypeError(`leave names ${JSON.stringify(unknown)}, which is no attention of ${path}; see zoetrope inspect ${path}`);
  const own = findings.filter(({ kind, node }) => kind === 'self' && !leave.includes(node));
  const bad = own.find(({ reason }) => reason !== undefined);
  if (bad)
    throw new UnsupportedError(
      `the self-attention ${bad.node} of ${path} cannot be taken: ${bad.reason}; name it in leave to keep it as it is`,
    );
  if (own.length === 0) throw new UnsupportedError(`${path} has no self-attention to accelerate (${described(findings)})`);
  return own;
}

function described(findings: readonly Finding[]): string {
  const [first] = findings;
  return first
    ? `of ${findings.length} candidates the first is ${first.node}: ${first.reason ?? 'it is left as it is'}`
    : 'it has no softmax and no attention node';
}

/** The grid of a run with these feeds. @throws TypeError without a grid, RangeError for one whose tokens are known not to be the model's. */
function gridFor(path: string, taken: readonly Finding[], { grid, textBefore = 0 }: OnnxOptions): (feeds: Feeds) => Grid {
  if (typeof grid === 'function') return (feeds) => gridWithText(grid(feeds), textBefore);
  const [{ node, tokens }] = taken;
  const stated = tokens === undefined ? `${path} leaves sizes open` : `${node} of ${path} has ${tokens} tokens`;
  if (!grid) throw new TypeError(`there is no grid, and ${stated}; give grid: { frames, height, width, text } in tokens`);
  const checked = gridWithText(grid, textBefore);
  for (const one of taken) if (one.tokens !== undefined) checkTokens(path, one.node, one.tokens, checked);
  return () => checked;
}

function checkTokens(path: string, node: string, tokens: number, grid: Grid): void {
  const { frames, height, width, text } = grid;
  const expected = tokensOf(grid);
  if (tokens !== expected)
    throw new RangeError(
      `${node} of ${path} has ${tokens} tokens, but the grid ${frames} x ${height} x ${width} with ${text} text tokens has ${expected}; give the model's grid, or name the node in leave`,
    );
}
