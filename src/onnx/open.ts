// Opens the parts of a cut graph as sessions, one by one: what one says of its results is what the next is told of its inputs.
import type * as ort from 'onnxruntime-common';
import { ONNX_TYPE } from '../backend/onnx.ts';
import { UnsupportedError } from '../errors.ts';
import type { OnnxFile } from './file.ts';
import type { Graph } from './graph.ts';
import type { Place } from './places.ts';
import type { NodeProto } from './schema.ts';
import { type Segment, type Step, segments } from './segments.ts';
import { type Entry, entryOf, writeSegment } from './write.ts';

/** A part of a graph as it runs, with its session where it computes anything. It holds nothing of the file. */
export interface OpenedStep extends Pick<Step, 'seams' | 'spent'> {
  readonly session: ort.InferenceSession | undefined;
  readonly inputs: readonly string[];
}

/**
 * All parts of a graph. `check` is told of each seam how many tokens it has, where a session knows that.
 * @throws what `check` throws, and UnsupportedError when the runtime cannot load a part; nothing stays open then.
 */
export async function openSteps(
  file: OnnxFile,
  graph: Graph,
  place: Place,
  check: (seam: NodeProto, tokens: number) => void,
): Promise<readonly OpenedStep[]> {
  refuseF16(file, graph, place);
  const known = new Map<string, Entry>(
    graph.inputs.map((name) => [name, { type: graph.type(name) || ONNX_TYPE.f32, shape: graph.shape(name) }]),
  );
  const opened: OpenedStep[] = [];
  try {
    for (const step of segments(graph)) {
      const session = step.segment.nodes.length > 0 ? await load(file, graph, place, step.segment, known) : undefined;
      opened.push({ session, inputs: step.segment.inputs, seams: step.seams, spent: step.spent });
      for (const output of session?.outputMetadata ?? []) if (output.isTensor) known.set(output.name, entryOf(output.type, output.shape));
      for (const seam of step.seams) {
        const tokens = known.get(seam.input[0])?.shape?.at(-2) ?? -1;
        if (tokens > 0) check(seam, tokens);
        known.set(seam.output[0], { type: ONNX_TYPE.f32 });
      }
    }
    return opened;
  } catch (error) {
    for (const { session } of opened) await session?.release();
    throw error;
  }
}

async function load(
  file: OnnxFile,
  graph: Graph,
  { runtime, onGpu }: Place,
  segment: Segment,
  known: ReadonlyMap<string, Entry>,
): Promise<ort.InferenceSession> {
  const { model, externalData } = await writeSegment(file, graph, segment, known);
  try {
    return await runtime.session(model, { externalData, ...(onGpu && { places: placesOf(graph, segment) }) });
  } catch (cause) {
    throw new UnsupportedError(`${runtime.name} cannot load a part of ${file.path} (${(cause as Error).message.split('\n')[0]})`);
  }
}

/** @throws UnsupportedError for a graph in f16 on a GPU that has none. */
function refuseF16({ path }: OnnxFile, graph: Graph, { withoutF16 }: Place): void {
  const half =
    withoutF16 === undefined ? undefined : graph.nodes.find(({ output }) => output.some((value) => graph.type(value) === ONNX_TYPE.f16));
  if (half)
    throw new UnsupportedError(
      `${half.name || half.output[0]} of ${path} computes in f16, which ${withoutF16} does not; choose device cpu, or export the model in f32`,
    );
}

/** What only later parts and seams read stays on the GPU; shapes and the like, and results of the whole graph, are read on the host. */
export function placesOf(graph: Graph, { outputs }: Segment): Record<string, 'gpu-buffer' | 'cpu'> {
  const floats: readonly number[] = [ONNX_TYPE.f32, ONNX_TYPE.f16];
  const stays = (value: string): boolean => floats.includes(graph.type(value)) && !graph.outputs.includes(value);
  return Object.fromEntries(outputs.map((value) => [value, stays(value) ? 'gpu-buffer' : 'cpu']));
}
