// Results of the scripts that measured attention, as cases: on ONNX Runtime, on a GPU, PyTorch's.
import { tokensOf } from '../sparse3d/plan.ts';
import { SHAPES } from './attention/shapes.ts';
import type { Case } from './results.ts';
import type { Spread } from './spread.ts';

/** Times of which only a median was kept. */
export const alone = (milliseconds: number, runs = 1): { readonly milliseconds: Spread } => ({
  milliseconds: { median: milliseconds, best: milliseconds, low: milliseconds, high: milliseconds, runs },
});

interface Shape {
  readonly name?: string;
  readonly heads: number;
  readonly dim: number;
  readonly tokens: number;
}

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

export function attentionOnCpu({ speed }: { readonly speed: readonly CpuSpeed[] }): Case[] {
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

export function attentionOnGpu({ shapes, mostRuns }: { readonly shapes: readonly GpuShape[]; readonly mostRuns: number }): Case[] {
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

export function attentionOfTorch({ shapes }: { readonly shapes: readonly (Shape & { readonly lines: readonly TorchLine[] })[] }): Case[] {
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

export function attentionOfOnnxRuntime({ heads, dim, lines }: OnnxRuntimeAttention): Case[] {
  return lines.map(({ tokens, milliseconds, teraflops, failed }) => ({
    id: `${shapeName({ heads, dim, tokens })}/webgpu f16/onnxruntime-web/MultiHeadAttention`,
    ...(failed === undefined ? { ...alone(milliseconds!, 5), density: 1, teraflops } : { failed }),
  }));
}

const shapeName = ({ heads, dim, tokens }: Shape): string =>
  SHAPES.find((one) => one.heads === heads && one.dim === dim && tokensOf(one.grid) === tokens)?.name ?? `${tokens}x${heads}x${dim}`;
