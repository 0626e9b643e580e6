// Result files in the forms that scripts write, as cases. A file that has cases is taken as it is.
import { alone, attentionOfOnnxRuntime, attentionOfTorch, attentionOnCpu, attentionOnGpu } from './forms-attention.ts';
import { methodName, subjectId } from './ids.ts';
import type { Case, Machine, ResultFile } from './results.ts';
import { spreadOf } from './spread.ts';
import type { Setting } from './subject.ts';

type Json = Readonly<Record<string, unknown>>;

/** The result in a JSON value, or what is wrong with it. */
export function resultOf(json: unknown): ResultFile | string {
  if (!isObject(json)) return `it holds ${JSON.stringify(json)?.slice(0, 20)}, not an object`;
  if ('cases' in json) return checked(json);
  const form = FORMS.find(({ is }) => is(json));
  if (!form) return `it has no cases, and is of no known form (its fields are ${Object.keys(json).join(', ') || 'none'})`;
  let cases: readonly Case[];
  try {
    cases = form.cases(json as never);
  } catch (error) {
    return `it looks like one of "bench ${form.bench}", but a part is missing (${(error as Error).message})`;
  }
  const own = isObject(json.machine) ? json.machine : {};
  return {
    bench: form.bench,
    date: text(json.date ?? own.date, 'unknown'),
    version: text(json.version ?? json.torch, 'unknown'),
    machine: machineIn(own, json.gpu),
    options: isObject(json.options) ? json.options : {},
    cases,
  };
}

function checked(json: Json): ResultFile | string {
  const { bench, date, version, machine, options, cases } = json;
  for (const [name, value] of Object.entries({ bench, date, version })) if (typeof value !== 'string') return `its ${name} is no text`;
  if (!isObject(machine) || typeof machine.processor !== 'string') return 'it does not say on which machine it was measured';
  if (!isObject(options)) return 'its options are no object';
  if (!Array.isArray(cases)) return 'its cases are no list';
  const bad = cases.findIndex((one) => !isObject(one) || typeof one.id !== 'string');
  if (bad >= 0) return `its case ${bad} has no id`;
  const ids = cases.map(({ id }: Case) => id);
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  return twice === undefined ? (json as unknown as ResultFile) : `it has the case "${twice}" twice`;
}

interface Form {
  readonly is: (json: Json) => boolean;
  readonly bench: string;
  readonly cases: (json: never) => readonly Case[];
}

const has =
  (...fields: string[]) =>
  (json: Json): boolean =>
    fields.every((field) => field in json);
const isOfKernels = ({ shapes }: Json): boolean => Array.isArray(shapes) && shapes.every((shape) => isObject(shape) && 'dense' in shape);

const FORMS: readonly Form[] = [
  { is: has('speed', 'memoryGrowth'), bench: 'attention', cases: attentionOnCpu },
  { is: isOfKernels, bench: 'attention', cases: attentionOnGpu },
  { is: has('shapes', 'torch'), bench: 'attention', cases: attentionOfTorch },
  { is: has('contender', 'heads', 'dim', 'lines'), bench: 'attention', cases: attentionOfOnnxRuntime },
  { is: has('phases', 'dtype'), bench: 'step', cases: phases },
  { is: has('contender', 'scaled', 'dtype'), bench: 'step', cases: stepOfOnnxRuntime },
  { is: has('torch', 'tokens', 'lines'), bench: 'step', cases: stepsOfTorch },
  { is: has('contenders', 'steps'), bench: 'run', cases: wholeRuns },
  { is: has('bestSeconds', 'rows'), bench: 'demo', cases: demos },
  { is: has('lines', 'unchecked'), bench: 'decode', cases: decoders },
  { is: has('results', 'calls', 'prompts'), bench: 'methods', cases: methodsOnCalls },
  // Others are figures of a machine, or one run: nothing that is compared case by case.
  { is: has('what', 'peakMebibytes'), bench: 'full-size', cases: () => [] },
  { is: has('shapes', 'stock'), bench: 'matmul', cases: () => [] },
  { is: has('memoryGrowth'), bench: 'memory', cases: () => [] },
  { is: has('occupancy'), bench: 'probe', cases: () => [] },
];

interface Phases extends Setting {
  readonly method: string;
  readonly options: Json;
  readonly phases: readonly { readonly name: string; readonly runs: readonly number[]; readonly density: number }[];
}

function phases(json: Phases): Case[] {
  return json.phases.map(({ name, runs, density }) => ({
    id: `${subjectId(json)}/zoetrope ${methodName(json.method, json.options.sparsity)}/${name}`,
    milliseconds: spreadOf(runs.map((seconds) => 1000 * seconds)),
    density,
  }));
}

interface OnnxRuntimeStep extends Setting {
  readonly check: { readonly difference: number; readonly allowed: number };
  readonly scaled: { readonly layers: number; readonly seconds: number };
}

function stepOfOnnxRuntime({ check, scaled, ...setting }: OnnxRuntimeStep): Case[] {
  const { difference, allowed } = check;
  const failed = `it is off by ${difference.toPrecision(3)} of the largest number where ${allowed} is allowed`;
  return [
    {
      id: `${subjectId({ ...setting, layers: scaled.layers })}/onnxruntime-web/dense`,
      ...(difference <= allowed ? alone(1000 * scaled.seconds) : { failed }),
    },
  ];
}

function stepsOfTorch({
  tokens,
  lines,
}: {
  readonly tokens: number;
  readonly lines: readonly { contender: string; seconds?: number; failed?: string }[];
}): Case[] {
  return lines.map(({ contender, seconds, failed }) => ({
    // That script measures one model, and this many tokens are one size of it.
    id: `${tokens === 32_760 ? 'wan-2.1-1.3b 832x480x81 30 layers' : `${tokens} tokens`}/cuda bf16/pytorch ${contender}/dense`,
    ...(failed === undefined ? alone(1000 * seconds!, 5) : { failed }),
  }));
}

interface Runs extends Setting {
  readonly steps: number;
  readonly branches: number;
  readonly options: Json;
  readonly contenders: readonly { readonly method: string; readonly seconds: number; readonly meanDensity: number }[];
}

function wholeRuns(json: Runs): Case[] {
  return json.contenders.map(({ method, seconds, meanDensity }) => ({
    id: `${subjectId(json)}/zoetrope ${methodName(method, method === 'dense' ? undefined : json.options.sparsity)}/${json.steps} steps x ${json.branches}`,
    ...alone(1000 * seconds),
    density: meanDensity,
  }));
}

interface Demo {
  readonly runtime: string;
  readonly tokens: number;
  readonly rows: readonly { readonly method: string; readonly seconds: number; readonly density: number }[];
}

function demos({ runtime, tokens, rows }: Demo): Case[] {
  return [...new Set(rows.map(({ method }) => method))].map((method) => {
    const own = rows.filter((row) => row.method === method);
    const milliseconds = spreadOf(own.map(({ seconds }) => 1000 * seconds));
    return { id: `${tokens} tokens/${runtime} f32/zoetrope ${method}/prompt to mp4`, milliseconds, density: own[0].density };
  });
}

interface MethodsOnCalls {
  readonly tokens: number;
  readonly device: { readonly name: string };
  readonly results: readonly { readonly label: string }[];
}

/** Means over calls, and no times. */
function methodsOnCalls({ tokens, device, results }: MethodsOnCalls): Case[] {
  return results.map((result) => ({ id: `${tokens} tokens/${device.name}/${result.label}`, ...result }));
}

interface Decoded {
  readonly case: string;
  readonly runtime: string;
  readonly milliseconds?: readonly number[];
  readonly failed?: string;
}

function decoders({ lines }: { readonly lines: readonly Decoded[] }): Case[] {
  return lines.map(({ case: name, runtime, milliseconds = [], failed }) => ({
    id: `${name}/${runtime}/decode`,
    // The first compiles.
    ...(failed === undefined ? { milliseconds: spreadOf(milliseconds.slice(milliseconds.length > 1 ? 1 : 0)) } : { failed }),
  }));
}

function machineIn(own: Json, gpu: unknown): Machine {
  // PyTorch's names as WebGPU has them.
  const name =
    typeof gpu === 'string'
      ? gpu.toLowerCase().replaceAll(' ', '-')
      : isObject(gpu)
        ? [gpu.device, gpu.description, gpu.vendor].find(Boolean)
        : undefined;
  return {
    processor: text(own.processor ?? own.cpu, 'unknown'),
    cores: typeof own.cores === 'number' ? own.cores : 0,
    ...(typeof own.node === 'string' && { node: own.node }),
    ...(typeof own.platform === 'string' && { platform: own.platform }),
    ...(name !== undefined && { gpu: String(name) }),
  };
}

const text = (value: unknown, otherwise: string): string => (typeof value === 'string' ? value : otherwise);
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
