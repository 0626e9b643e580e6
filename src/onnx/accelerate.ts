// Opens an ONNX model with its self-attention at the seam: the graph is read, cut at each attention, and the parts become sessions.
import type { RuntimeChoice } from '../backend/runtime.ts';
import { UnsupportedError } from '../errors.ts';
import type { Method } from '../method.ts';
import { type DenseOverrides, withDense } from '../search/schedule.ts';
import { tokensOf } from '../sparse3d/plan.ts';
import { readOnnx } from './file.ts';
import { type Finding, findAttention } from './find.ts';
import { type Graph, graphOf } from './graph.ts';
import { openSteps } from './open.ts';
import { onCpu, onWebgpu, type Place } from './places.ts';
import type { NodeProto } from './schema.ts';
import { placeSeams, SEAM } from './seams.ts';
import { type GridOption, type OnnxSession, onnxSession } from './session.ts';
import { type StepOptions, trackSteps } from './steps.ts';

export interface OnnxOptions extends StepOptions, DenseOverrides {
  /** The video in tokens, with the text tokens that are in one sequence with them; a function of the feeds where sizes change from run to run. */
  readonly grid: GridOption;
  /** So many text tokens stand before the video's, as in CogVideoX: all of the grid's, or none (default 0: they stand behind them). */
  readonly textBefore?: number;
  /** Nodes of self-attention, by name, that stay as they are: attention over other tokens than the video's, or with a mask. */
  readonly leave?: readonly string[];
  /** Where the model runs (default `cpu`): all of it, on one device. */
  readonly device?: 'cpu' | 'webgpu';
  /** Which ONNX Runtime on the CPU; see `loadRuntime` for what is taken by default. On webgpu it is onnxruntime-webgpu. */
  readonly runtime?: RuntimeChoice;
}

/**
 * Opens an ONNX video transformer so that its self-attention is computed by `method`. The file is only read. The result is called like an
 * InferenceSession; each run is one forward.
 * @throws Error for a file that is missing or damaged; UnsupportedError for a graph without self-attention that can be taken, or with one that
 * cannot (its node and why); RangeError when the tokens are not those of the grid.
 */
export async function accelerateOnnx(path: string, method: Method, options: OnnxOptions): Promise<OnnxSession> {
  const file = await readOnnx(path);
  const graph = graphOf(file.model.graph);
  const tracked = trackSteps(options, graph.inputs);
  const taken = inOrder(graph, choose(path, findAttention(graph), options));
  const grid = checkedGrid(path, taken, options);
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
  const place = await placeFor(adjusted(method, options), options);
  const check = (seam: NodeProto, tokens: number): void => checkTokens(path, names[seams.indexOf(seam)], tokens, grid);
  const steps = await openSteps(file, cut, place, check).catch(async (error: Error) => {
    await place.dispose();
    throw error;
  });
  const { inputs: inputNames, outputs: outputNames } = graph;
  return onnxSession({ steps, inputNames, outputNames, place, tracked, grid, stepCount: options.steps, seams, names });
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

/** @throws TypeError without a grid, RangeError for one whose tokens are known not to be the model's. */
function checkedGrid(path: string, taken: readonly Finding[], { grid, textBefore = 0 }: OnnxOptions): GridOption {
  if (typeof grid === 'function') return grid;
  const [{ node, tokens }] = taken;
  const stated = tokens === undefined ? `${path} leaves sizes open` : `${node} of ${path} has ${tokens} tokens`;
  if (!grid) throw new TypeError(`there is no grid, and ${stated}; give grid: { frames, height, width, text } in tokens`);
  for (const name of ['frames', 'height', 'width'] as const)
    if (!Number.isInteger(grid[name]) || grid[name] < 1)
      throw new RangeError(`grid.${name} is ${grid[name]}; give a whole number of tokens`);
  const { text = 0 } = grid;
  if (!Number.isInteger(text) || text < 0)
    throw new RangeError(`grid.text is ${text}; give a whole number of text tokens, or leave it out`);
  if (textBefore !== 0 && textBefore !== text)
    throw new RangeError(
      `textBefore is ${textBefore}, but the grid has ${text} text tokens; all of them stand before the video's, or none`,
    );
  for (const one of taken) if (one.tokens !== undefined) checkTokens(path, one.node, one.tokens, grid);
  return grid;
}

function checkTokens(path: string, node: string, tokens: number, grid: GridOption): void {
  if (typeof grid === 'function') return;
  const { frames, height, width, text = 0 } = grid;
  const expected = tokensOf({ frames, height, width, text });
  if (tokens !== expected)
    throw new RangeError(
      `${node} of ${path} has ${tokens} tokens, but the grid ${frames} x ${height} x ${width} with ${text} text tokens has ${expected}; give the model's grid, or name the node in leave`,
    );
}
