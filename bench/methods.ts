// Every method of the catalogue on what the embedded model attends to: how much it computes, its error to full attention, what it recalls and
// takes. Records real runs on the fly, and writes bench/results/methods-DEVICE.json and .md.
//   node dist/bench/methods.js [--device cpu|webgpu] [--quick] [--methods adaSpa,...] [--sparsities .9,.8,.7] [--model FOLDER]
//     [--size 256x256] [--num-frames 33] [--steps 10] [--layers 1,3,5,7] [--prompts 2] [--prompt TEXT ...] [--seeds 1]
//     [--out NAME]
// --sparsities adds each method that takes one at each of them, to compare at equal work. --quick is one short run over two layers.
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { benchMethods, type Contender, type MethodsBench } from '../src/bench/methods.ts';
import { type ListedResult, methodsMarkdown } from '../src/bench/methods-table.ts';
import { count, numberIn, parseSize, TINY } from '../src/cli/values.ts';
import type { DeviceReport } from '../src/device.ts';
import { UnsupportedError } from '../src/errors.ts';
import { catalogue, type Listed, methodNamed } from '../src/methods/catalogue.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { writeResult } from './machine.ts';

const string = { type: 'string' } as const;
const list = (words: string): string[] => words.split(',').map((word) => word.trim());

await main().catch((error: Error) => {
  console.error(error instanceof RangeError || error instanceof TypeError || error instanceof UnsupportedError ? error.message : error);
  process.exitCode = 1;
});

async function main(): Promise<void> {
  const args = argumentsOf();
  const { contenders, quick } = args;
  const pipe = await TextToVideoPipeline.fromPretrained(args.model, { device: args.device as 'cpu' | 'webgpu' });
  const prompts = promptsOf(pipe, args.prompt, args.prompts);
  const settings = { ...args.size, numFrames: args.numFrames ?? pipe.defaults.numFrames, numInferenceSteps: args.steps };
  const load = loadavg()[0];
  const start = performance.now();
  const { results, ...setting } = await benchMethods(pipe, {
    ...{ contenders, prompts, seeds: args.seeds, layers: args.layers, settings },
    onStep: ({ run, runs, step, steps }) =>
      console.error(`run ${run + 1}/${runs}, step ${step + 1}/${steps}, ${Math.round((performance.now() - start) / 1000)} s`),
  });
  const { device, runtime } = pipe;
  await pipe.dispose();
  const marked = results.map((result, at): ListedResult => {
    const { listed, sparsity } = contenders[at];
    const { name, mark, reconstruction } = listed;
    return { ...result, name, mark, reconstruction, ...(sparsity !== undefined && { sparsity }) };
  });
  const markdown = `${sentence(setting, prompts.length * args.seeds.length, device, runtime.name)}\n\n${methodsMarkdown(marked)}`;
  const file = writeResult(args.out ?? `methods-${device.name}${quick ? '-quick' : ''}`, {
    what: 'methods on q, k, v of a model, recorded with full attention',
    ...{ device, runtime, load: { before: load, after: loadavg()[0] }, prompts, seeds: args.seeds, settings, ...setting, results: marked },
  });
  writeFileSync(file.replace(/json$/, 'md'), markdown);
  console.log(`${markdown}\n${file}`);
  if (results.some((result) => 'failed' in result)) process.exitCode = 1;
}

function argumentsOf() {
  const { values } = parseArgs({
    options: {
      ...{ device: { ...string, default: 'cpu' }, quick: { type: 'boolean', default: false }, model: string, out: string },
      ...{ methods: string, sparsities: string, size: string, 'num-frames': string, steps: string, layers: string },
      ...{ prompt: { ...string, multiple: true }, prompts: string, seeds: string },
    },
  });
  const { quick } = values;
  const counted = (name: 'steps' | 'prompts' | 'seeds' | 'num-frames') =>
    values[name] === undefined ? undefined : count(name, name, 10_000)(values[name]);
  const sparsityOf = numberIn('sparsities', 'shares from 0 to below 1, as .9,.8', 0, 1 - TINY);
  const sparsities = values.sparsities === undefined ? [] : list(values.sparsities).map(sparsityOf);
  const listed = values.methods === undefined ? catalogue : list(values.methods).map(methodNamed);
  const layerOf = numberIn('layers', 'layers counted from 0, as 1,3,5', 0, 1000, true);
  return {
    ...{ quick, device: values.device, model: values.model, out: values.out, prompt: values.prompt },
    contenders: listed.flatMap((one) => contendersOf(one, sparsities)),
    size: values.size === undefined ? undefined : parseSize(values.size),
    numFrames: counted('num-frames'),
    steps: counted('steps') ?? (quick ? 5 : 10),
    layers: values.layers === undefined ? (quick ? [2, 5] : [1, 3, 5, 7]) : list(values.layers).map(layerOf),
    prompts: counted('prompts') ?? (quick ? 1 : 2),
    seeds: Array.from({ length: counted('seeds') ?? 1 }, (_, seed) => seed + 1),
  };
}

interface Entrant extends Contender {
  readonly listed: Listed;
  readonly sparsity?: number;
}

/** A method as its preset has it, and at each sparsity if it takes one. */
function contendersOf(listed: Listed, sparsities: readonly number[]): Entrant[] {
  const { name, preset } = listed;
  const own = { label: name, method: () => preset(), listed };
  if (!listed.sparsity) return [own];
  return [own, ...sparsities.map((sparsity) => ({ label: `${name} ${sparsity}`, method: () => preset({ sparsity }), listed, sparsity }))];
}

/** The prompts given, or the first so many of the model's own. */
function promptsOf({ vocabulary }: TextToVideoPipeline, given: readonly string[] | undefined, wanted: number): readonly string[] {
  if (given) return given;
  const own = vocabulary?.prompts ?? [];
  if (own.length < wanted) throw new RangeError(`the model names ${own.length} prompts, not ${wanted}; give each with --prompt`);
  return own.slice(0, wanted);
}

function sentence(setting: Omit<MethodsBench, 'results'>, runs: number, { adapter, dtype }: DeviceReport, runtime: string): string {
  const { calls, heads, tokens, dim, layers, steps } = setting;
  return [
    `${calls} attention calls of ${heads} heads, ${tokens} tokens and dim ${dim}`,
    `(layers ${layers.join(', ')} at every step of ${steps}, ${runs} ${runs === 1 ? 'run' : 'runs'}),`,
    `recorded with full attention; ${adapter ?? runtime}, ${dtype}.`,
  ].join(' ');
}
