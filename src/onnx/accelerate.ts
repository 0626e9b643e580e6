// Opens an ONNX model with its self-attention at the seam: the graph is read, cut at each attention, and the parts become sessions.
import type * as ort from 'onnxruntime-common';
import { ONNX_TYPE } from '../backend/onnx.ts';
import type { RuntimeChoice } from '../backend/runtime.ts';
import { UnsupportedError } from '../errors.ts';
import type { Method } from '../method.ts';
import { type Grid, tokensOf } from '../sparse3d/plan.ts';
import { type OnnxFile, readOnnx } from './file.ts';
import { type Finding, findAttention } from './find.ts';
import { type Graph, graphOf } from './graph.ts';
import { onCpu, type Place } from './places.ts';
import { placeSeams, SEAM } from './seams.ts';
import { type Step, segments } from './segments.ts';
import { type GridOption, type OnnxSession, onnxSession } from './session.ts';
import { type StepOptions, trackSteps } from './steps.ts';
import { type Entry, entryOf, writeSegment } from './write.ts';

export interface OnnxOptions extends StepOptions {
  /** The video in tokens, with the text tokens that are in one sequence with them; a function of the feeds where sizes change from run to run. */
  readonly grid: GridOption;
  /** So many text tokens stand before the video's, as in CogVideoX (default 0: those of the grid stand behind them). */
  readonly textBefore?: number;
  /** Nodes of self-attention, by name, that stay as they are: attention over other tokens than the video's, or with a mask. */
  readonly leave?: readonly string[];
  /** Which ONNX Runtime; see `loadRuntime` for what is taken by default. */
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
  const taken = choose(path, findAttention(graph), options);
  const { textBefore = 0 } = options;
  const seamed = placeSeams(
    graph,
    taken.map(({ candidate }) => candidate!),
    { before: textBefore },
  );
  const cut = graphOf({
    ...file.model.graph,
    node: seamed.nodes,
    initializer: [...file.model.graph.initializer, ...seamed.constants],
  });
  const place = await onCpu(method, options.runtime);
  const opened: { session: ort.InferenceSession | undefined; step: Step }[] = [];
  try {
    for await (const part of open(file, cut, place, options.grid)) opened.push(part);
  } catch (error) {
    for (const { session } of opened) await session?.release();
    await place.dispose();
    throw error;
  }
  return onnxSession({
    ...{
      steps: opened,
      inputNames: graph.inputs,
      outputNames: graph.outputs,
      place,
      tracked,
      grid: options.grid,
      stepCount: options.steps,
    },
    seams: cut.nodes.filter(({ opType }) => opType === SEAM),
  });
}

/** The self-attention that is taken. @throws UnsupportedError when there is none, or one that can be neither taken nor is to be left. */
function choose(path: string, findings: readonly Finding[], { leave = [], grid }: OnnxOptions): readonly Finding[] {
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
  checkGrid(path, own, grid);
  for (const { node, tokens } of own) if (tokens !== undefined && typeof grid !== 'function') checkTokens(path, node, tokens, grid);
  return own;
}

function described(findings: readonly Finding[]): string {
  const [first] = findings;
  return first
    ? `of ${findings.length} candidates the first is ${first.node}: ${first.reason ?? 'it is left as it is'}`
    : 'it has no softmax and no attention node';
}

/** @throws TypeError without a grid. */
function checkGrid(path: string, [{ node, tokens }]: readonly Finding[], grid: GridOption | undefined): void {
  if (typeof grid === 'function') return;
  const stated = tokens === undefined ? `${path} leaves sizes open` : `${node} of ${path} has ${tokens} tokens`;
  if (!grid) throw new TypeError(`there is no grid, and ${stated}; give grid: { frames, height, width, text } in tokens`);
  for (const [name, size] of Object.entries(grid))
    if (!Number.isInteger(size) || size < (name === 'text' ? 0 : 1))
      throw new RangeError(`grid.${name} is ${size}; give a whole number of tokens`);
}

function checkTokens(path: string, node: string, tokens: number, grid: Grid): void {
  const { frames, height, width, text } = grid;
  if (tokens !== tokensOf(grid))
    throw new RangeError(
      `${node} of ${path} has ${tokens} tokens, but the grid ${frames} x ${height} x ${width} with ${text} text tokens has ${tokensOf(grid)}; give the model's grid, or name the node in leave`,
    );
}

/** The sessions of a cut graph, one by one: what one says of its results is what the next is told of its inputs. */
async function* open(
  file: OnnxFile,
  graph: Graph,
  place: Place,
  grid: GridOption,
): AsyncGenerator<{ session: ort.InferenceSession | undefined; step: Step }> {
  const entries = new Map<string, Entry>(
    graph.inputs.map((name) => [name, { type: graph.type(name) || ONNX_TYPE.f32, shape: graph.shape(name) }]),
  );
  for (const step of segments(graph)) {
    const { segment, seams } = step;
    const session = segment.nodes.length > 0 ? await load(file, graph, place, step, entries) : undefined;
    for (const output of session?.outputMetadata ?? []) if (output.isTensor) entries.set(output.name, entryOf(output.type, output.shape));
    yield { session, step };
    for (const { input, output, name } of seams) {
      const tokens = entries.get(input[0])?.shape?.at(-2) ?? -1;
      if (tokens > 0 && typeof grid !== 'function') checkTokens(file.path, name, tokens, grid);
      entries.set(output[0], { type: ONNX_TYPE.f32 });
    }
  }
}

async function load(
  file: OnnxFile,
  graph: Graph,
  { runtime }: Place,
  { segment }: Step,
  entries: ReadonlyMap<string, Entry>,
): Promise<ort.InferenceSession> {
  const { model, externalData } = await writeSegment(file, graph, segment, entries);
  try {
    return await runtime.session(model, { externalData });
  } catch (cause) {
    throw new UnsupportedError(`${runtime.name} cannot load a part of ${file.path} (${(cause as Error).message.split('\n')[0]})`);
  }
}
