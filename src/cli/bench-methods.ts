// Runs `zoetrope bench methods` and prints its tables.
import type { ResultLog } from '../bench/log.ts';
import { benchMethods, type MethodCase, type MethodResult, type MethodsBench, mergedCase } from '../bench/methods.ts';
import { methodsMarkdown } from '../bench/methods-table.ts';
import { TextToVideoPipeline } from '../pipeline.ts';
import { type BenchMethodsArguments, methodOfEntrant } from './bench-attention-arguments.ts';
import { formatDuration } from './progress.ts';
import { givenPrompts } from './prompts.ts';
import type { Lines } from './terminal.ts';

/** Measures the methods that the log asks for, a run at a time. */
export async function methods(args: BenchMethodsArguments, log: ResultLog<MethodCase>, lines: Lines, signal: AbortSignal): Promise<void> {
  const pipe = await TextToVideoPipeline.fromPretrained(args.model, { device: args.device });
  try {
    const { adapter, dtype } = pipe.device;
    await log.begin(adapter);
    const { width, height, numFrames } = { ...pipe.defaults, ...args.size, numFrames: args.numFrames ?? pipe.defaults.numFrames };
    const settings = { width, height, numFrames, numInferenceSteps: args.steps };
    const place = `${width}x${height}x${numFrames} ${args.steps} steps/${adapter === undefined ? pipe.runtime.name : 'webgpu'} ${dtype}`;
    const entrants = args.methods.map((entrant) => ({ ...entrant, id: `${place}/${entrant.label}` })).filter(({ id }) => log.asks(id));
    const start = performance.now();
    const benches = benchMethods(pipe, {
      contenders: entrants.map((entrant) => ({
        ...{ label: entrant.label, done: caseIn(log, entrant.id)?.runs },
        method: () => methodOfEntrant(entrant),
      })),
      ...{ prompts: givenPrompts(pipe, args.prompt, args.prompts), seeds: Array.from({ length: args.seeds }, (_, seed) => seed + 1) },
      ...{ layers: args.layers, settings, signal },
      onStep: ({ run, runs, step, steps }) =>
        lines.show(`run ${run + 1}/${runs}, step ${step + 1}/${steps}, ${formatDuration((performance.now() - start) / 1000)}`),
    });
    const software = `${adapter ?? `${pipe.runtime.name} ${pipe.runtime.version}`}, ${dtype}`;
    for await (const bench of benches) await log.add(casesOf(bench, software, entrants, log, lines));
  } finally {
    await pipe.dispose();
  }
}

type Asked = BenchMethodsArguments['methods'][number] & { readonly id: string };

/** The cases of a run, each with the runs before it; where one fails, these are kept as they are. */
function casesOf(
  bench: MethodsBench,
  software: string,
  entrants: readonly Asked[],
  log: ResultLog<MethodCase>,
  lines: Lines,
): MethodCase[] {
  const { results, ...setting } = bench;
  return results.map((result) => {
    const entrant = entrants.find(({ label }) => label === result.label)!;
    const before = caseIn(log, entrant.id);
    const isLost = 'failed' in result && before && !('failed' in before);
    if (isLost) lines.note(`${result.label} failed after ${before.runs} runs, which are kept: ${result.failed}`);
    return isLost ? before : mergedCase(before, caseOf({ ...result, setting, software }, entrant));
  });
}

const caseIn = (log: ResultLog<MethodCase>, id: string) => log.result.cases.find((one) => one.id === id) as MethodCase | undefined;

/** A case of one run. */
function caseOf(result: MethodResult & Pick<MethodCase, 'setting' | 'software'>, { id, listed, sparsity }: Asked): MethodCase {
  const { name, mark, reconstruction } = listed;
  const errors = 'quality' in result && result.quality ? [Number(result.quality.error.toPrecision(4))] : [];
  return { id, ...result, name, mark, reconstruction, ...(sparsity !== undefined && { sparsity }), runs: 1, errors };
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
