// Runs `zoetrope bench methods` and prints its tables.
import type { ResultLog } from '../bench/log.ts';
import { benchMethods, type MethodCase, type MethodsBench } from '../bench/methods.ts';
import { methodsMarkdown } from '../bench/methods-table.ts';
import { TextToVideoPipeline } from '../pipeline.ts';
import type { BenchMethodsArguments } from './bench-attention-arguments.ts';
import { formatDuration } from './progress.ts';
import { givenPrompts } from './prompts.ts';
import type { Lines } from './terminal.ts';

/** Measures the methods that the log wants. */
export async function methods(args: BenchMethodsArguments, log: ResultLog<MethodCase>, lines: Lines, signal: AbortSignal): Promise<void> {
  const pipe = await TextToVideoPipeline.fromPretrained(args.model, { device: args.device });
  try {
    const { adapter, dtype } = pipe.device;
    await log.begin(adapter);
    const { width, height, numFrames } = { ...pipe.defaults, ...args.size, numFrames: args.numFrames ?? pipe.defaults.numFrames };
    const settings = { width, height, numFrames, numInferenceSteps: args.steps };
    const prompts = givenPrompts(pipe, args.prompt, args.prompts);
    const place = `${width}x${height}x${numFrames} ${args.steps} steps/${adapter === undefined ? pipe.runtime.name : 'webgpu'} ${dtype}`;
    const wanted = args.methods.filter(({ label }) => log.wants(`${place}/${label}`));
    if (wanted.length === 0) return;
    const start = performance.now();
    const { results, ...setting } = await benchMethods(pipe, {
      contenders: wanted.map(({ label, listed, sparsity }) => ({
        label,
        method: () => listed.preset(sparsity === undefined ? {} : { sparsity }),
      })),
      ...{ prompts, seeds: Array.from({ length: args.seeds }, (_, seed) => seed + 1), layers: args.layers, settings, signal },
      onStep: ({ run, runs, step, steps }) =>
        lines.show(`run ${run + 1}/${runs}, step ${step + 1}/${steps}, ${formatDuration((performance.now() - start) / 1000)}`),
    });
    const about = {
      setting,
      runs: prompts.length * args.seeds,
      software: `${adapter ?? `${pipe.runtime.name} ${pipe.runtime.version}`}, ${dtype}`,
    };
    await log.add(results.map((result, at) => caseOf(`${place}/${wanted[at].label}`, { ...result, ...about }, wanted[at])));
  } finally {
    await pipe.dispose();
  }
}

function caseOf(
  id: string,
  result: Omit<MethodCase, 'id' | 'name' | 'mark' | 'reconstruction'>,
  entrant: BenchMethodsArguments['methods'][number],
) {
  const { listed, sparsity } = entrant;
  const { name, mark, reconstruction } = listed;
  return { id, ...result, name, mark, reconstruction, ...(sparsity !== undefined && { sparsity }) } as MethodCase;
}

/** Cases as Markdown, those of one setting together. */
export function formatMethods(cases: readonly MethodCase[]): string {
  const settings = [...new Set(cases.map(settingOf))];
  return settings.map((setting) => `${setting}\n\n${methodsMarkdown(cases.filter((one) => settingOf(one) === setting))}`).join('\n');
}

function settingOf({ setting, runs, software }: MethodCase): string {
  const { calls, heads, tokens, dim, layers, steps }: Omit<MethodsBench, 'results'> = setting;
  return [
    `${calls} attention calls of ${heads} heads, ${tokens} tokens and dim ${dim}`,
    `(layers ${layers.join(', ')} at every step of ${steps}, ${runs} ${runs === 1 ? 'run' : 'runs'}),`,
    `recorded with full attention; ${software}.`,
  ].join(' ');
}
