// Every method of the catalogue on what the embedded model attends to: how much it computes, its error to full attention, what it recalls and
// takes. Records real runs on the fly, and writes bench/results/methods-DEVICE.json and .md.
//   node dist/bench/methods.js [--device cpu|webgpu] [--quick] [--methods adaSpa,...] [--sparsities .9,.8,.7] [--model FOLDER]
//     [--size 256x256] [--num-frames 33] [--steps 10] [--layers 1,3,5,7] [--prompts 2] [--seeds 1] [--out NAME]
// --sparsities adds each method that takes one at each of them, to compare at equal work. --quick is one short run over two layers.
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { benchMethods, type Contender } from '../src/bench/methods.ts';
import { type ListedResult, methodsMarkdown } from '../src/bench/methods-table.ts';
import { count, numberIn, parseSize, TINY } from '../src/cli/values.ts';
import { catalogue, type Listed, methodNamed } from '../src/methods/catalogue.ts';
import { TextToVideoPipeline } from '../src/pipeline.ts';
import { writeResult } from './machine.ts';

const string = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    ...{ device: { ...string, default: 'cpu' }, quick: { type: 'boolean', default: false }, model: string, out: string },
    ...{
      methods: string,
      sparsities: string,
      size: string,
      'num-frames': string,
      steps: string,
      layers: string,
      prompts: string,
      seeds: string,
    },
  },
});
const { quick } = values;
const list = (words: string): string[] => words.split(',').map((word) => word.trim());
const number = (name: 'steps' | 'prompts' | 'seeds' | 'num-frames', fallback: number): number =>
  values[name] === undefined ? fallback : count(name, name, 10_000)(values[name]);

const sparsityOf = numberIn('sparsities', 'shares from 0 to below 1, as .9,.8', 0, 1 - TINY);
const sparsities = values.sparsities === undefined ? [] : list(values.sparsities).map(sparsityOf);
const listed = values.methods === undefined ? catalogue : list(values.methods).map(methodNamed);
const layerOf = numberIn('layers', 'layers counted from 0, as 1,3,5', 0, 1000, true);

/** A method as its preset has it, and at each sparsity asked for. */
const contendersOf = ({ name, preset, sparsity }: Listed): Contender[] => [
  { label: name, method: () => preset() },
  ...(sparsity ? sparsities : []).map((share) => ({ label: `${name} ${share}`, method: () => preset({ sparsity: share }) })),
];
const contenders = listed.flatMap((one) => contendersOf(one).map((contender) => ({ ...contender, listed: one })));

const pipe = await TextToVideoPipeline.fromPretrained(values.model, { device: values.device as 'cpu' | 'webgpu' });
const prompts = (pipe.vocabulary?.prompts ?? ['a panda playing a guitar']).slice(0, number('prompts', quick ? 1 : 2));
const seeds = Array.from({ length: number('seeds', 1) }, (_, seed) => seed + 1);
const layers = (values.layers === undefined ? (quick ? [2, 5] : [1, 3, 5, 7]) : list(values.layers).map(layerOf)) as number[];
const settings = {
  ...(values.size !== undefined && parseSize(values.size)),
  numFrames: number('num-frames', pipe.defaults.numFrames),
  numInferenceSteps: number('steps', quick ? 5 : 10),
};

const load = loadavg()[0];
const start = performance.now();
const { results, ...setting } = await benchMethods(pipe, {
  ...{ contenders, prompts, seeds, layers, settings },
  onStep: ({ run, runs, step, steps }) =>
    console.error(`run ${run + 1}/${runs}, step ${step + 1}/${steps}, ${Math.round((performance.now() - start) / 1000)} s`),
});
const { device, runtime } = pipe;
await pipe.dispose();
const marked = results.map((result, at): ListedResult => {
  const { mark, reconstruction } = contenders[at].listed;
  return { ...result, mark, reconstruction };
});
const place = device.adapter ?? runtime.name;
const what = `${setting.calls} attention calls of ${setting.heads} heads, ${setting.tokens} tokens and dim ${setting.dim}: layers ${layers.join(', ')}, \
every step of ${setting.steps}, ${prompts.length} prompts x ${seeds.length} seeds, recorded with full attention; ${place}, ${device.dtype}.`;
const markdown = `${what}\n\n${methodsMarkdown(marked)}`;
const name = values.out ?? `methods-${device.name}${quick ? '-quick' : ''}`;
const file = writeResult(name, {
  ...{ what, device, runtime, load: { before: load, after: loadavg()[0] }, prompts, seeds, settings, ...setting, results: marked },
});
writeFileSync(file.replace(/json$/, 'md'), markdown);
console.log(`${markdown}\n${file}`);
if (results.some((result) => 'failed' in result)) process.exitCode = 1;
