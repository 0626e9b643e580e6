// Result files in the forms that scripts write, as cases. A file that has cases is taken as it is.
import { tokensOf } from '../sparse3d/plan.ts';
import { SHAPES } from './attention/shapes.ts';
import { methodName, subjectId } from './ids.ts';
import type { Case, Machine, ResultFile } from './results.ts';
import { type Spread, spreadOf } from './spread.ts';
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

interface Shape {
  readonly name?: string;
  readonly heads: number;
  readonly dim: number;
  readonly tokens: number;
}

/** Times of which only a median was kept. */
const alone = (milliseconds: number, runs = 1): { readonly milliseconds: Spread } => ({
  milliseconds: { median: milliseconds, best: milliseconds, low: milliseconds, high: milliseconds, runs },
});

interface CpuSpeed extends Shape {
  readonly runtime: string;
  readonly turns: number;
  readonly plans: readonly { readonly name: string; readonly density: number }[];
  readonly timings: readonly {
    readonly name: string;
    readonly bestMilliseconds: number;
    readonly medianMilliseconds: number;
    readonly timesFasterThanFirst: number;
  }[];
}

function attentionOnCpu({ speed }: { readonly speed: readonly CpuSpeed[] }): Case[] {
  const idOf = ({ runtime, tokens, heads, dim }: CpuSpeed, name: string, at: number): string =>
    `${tokens}x${heads}x${dim}/${runtime} f32/${at === 0 ? 'onnxruntime' : 'zoetrope'}/${name.replace('sparse .', 'blocks 0.')}`;
  return speed.flatMap((one) =>
    one.timings.map(({ name, bestMilliseconds: best, medianMilliseconds: middle, timesFasterThanFirst }, at) => ({
      id: idOf(one, name, at),
      milliseconds: { median: middle, best, low: best, high: middle, runs: one.turns },
      density: one.plans.find((plan) => plan.name === name)?.density ?? 1,
      ...(at > 0 && { faster: { than: idOf(one, one.timings[0].name, 0), times: timesFasterThanFirst } }),
    })),
  );
}

interface GpuShape extends Shape {
  readonly variant: string;
  readonly dense: readonly {
    readonly variant: string;
    readonly dtype: string;
    readonly milliseconds: number;
    readonly teraflops: number;
  }[];
  readonly plans: readonly { readonly name: string; readonly density: number; readonly milliseconds: number }[];
  readonly search: { readonly milliseconds: number };
}

function attentionOnGpu({ shapes, mostRuns }: { readonly shapes: readonly GpuShape[]; readonly mostRuns: number }): Case[] {
  return shapes.flatMap(({ name, heads, dim, tokens, variant, dense, plans, search }) => {
    const flop = 4 * heads * tokens ** 2 * dim;
    const sparse = `${name}/webgpu ${dense[0].dtype}/zoetrope ${variant}`;
    return [
      ...dense.map((one) => ({
        id: `${name}/webgpu ${one.dtype}/zoetrope ${one.variant}/dense`,
        ...alone(one.milliseconds, mostRuns),
        ...{ density: 1, teraflops: one.teraflops },
      })),
      ...plans.map((plan) => ({
        id: `${sparse}/${plan.name.replace('density', 'blocks')}`,
        ...alone(plan.milliseconds, mostRuns),
        ...{ density: plan.density, teraflops: (plan.density * flop) / plan.milliseconds / 1e9 },
      })),
      { id: `${sparse}/search of adaSpa`, ...alone(search.milliseconds, mostRuns) },
    ];
  });
}

interface TorchLine {
  readonly contender: string;
  readonly density: number;
  readonly milliseconds?: number;
  readonly teraflops?: number;
  readonly failed?: string;
}

function attentionOfTorch({ shapes }: { readonly shapes: readonly (Shape & { readonly lines: readonly TorchLine[] })[] }): Case[] {
  return shapes.flatMap(({ name, lines }) =>
    lines.map(({ contender, density, milliseconds, teraflops, failed }) => ({
      id: `${name}/cuda f16/pytorch ${contender}/${contender.startsWith('sdpa') ? 'dense' : `blocks ${density.toFixed(1)}`}`,
      ...(failed === undefined ? { ...alone(milliseconds!, 20), density, teraflops } : { failed, density }),
    })),
  );
}

interface OnnxRuntimeAttention {
  readonly heads: number;
  readonly dim: number;
  readonly lines: readonly {
    readonly tokens: number;
    readonly milliseconds?: number;
    readonly teraflops?: number;
    readonly failed?: string;
  }[];
}

function attentionOfOnnxRuntime({ heads, dim, lines }: OnnxRuntimeAttention): Case[] {
  return lines.map(({ tokens, milliseconds, teraflops, failed }) => ({
    id: `${shapeName({ heads, dim, tokens })}/webgpu f16/onnxruntime-web/MultiHeadAttention`,
    ...(failed === undefined ? { ...alone(milliseconds!, 5), density: 1, teraflops } : { failed }),
  }));
}

const shapeName = ({ heads, dim, tokens }: Shape): string =>
  SHAPES.find((one) => one.heads === heads && one.dim === dim && tokensOf(one.grid) === tokens)?.name ?? `${tokens}x${heads}x${dim}`;

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
