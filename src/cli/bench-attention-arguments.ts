// The words of `zoetrope bench attention` and `zoetrope bench methods`.
import { type Command, Option } from 'commander';
import type { RuntimeName } from '../backend/runtime.ts';
import { blocksOf, byQueries, PYRAMID, type Reading, type Shape, shapeNamed } from '../bench/attention/shapes.ts';
import type { Method } from '../method.ts';
import { withQueryBlocks } from '../method-queries.ts';
import { catalogue, type Listed, methodNamed } from '../methods/catalogue.ts';
import { labelOf, parseQueryTokens } from './method.ts';
import { anotherPrompt, count, DTYPES, listOf, numberIn, parseSize, TINY } from './values.ts';

/** What every bench is told of its result. */
export interface ResultArguments {
  /** Words that must be in the id of a case. */
  readonly filter?: string;
  readonly compare?: string;
  readonly out?: string;
  readonly json: boolean;
}

export interface BenchAttentionArguments extends ResultArguments {
  readonly command: 'bench attention';
  readonly device: 'cpu' | 'webgpu';
  readonly runtime?: RuntimeName;
  readonly shapes: readonly Shape[];
  readonly readings: readonly Reading[];
  readonly dtype?: (typeof DTYPES)[number];
  readonly variants?: readonly string[];
  readonly methods: readonly Entrant[];
  readonly runs: number;
  readonly checks: boolean;
  /** true: only what browsers have without flags. */
  readonly stock: boolean;
}

export interface BenchMethodsArguments extends ResultArguments {
  readonly command: 'bench methods';
  readonly model?: string;
  readonly device: 'cpu' | 'webgpu';
  readonly methods: readonly Entrant[];
  readonly size?: { readonly width: number; readonly height: number };
  readonly numFrames?: number;
  readonly steps: number;
  readonly layers: readonly number[];
  /** Given ones, or how many of the model's own. */
  readonly prompt?: readonly string[];
  readonly prompts: number;
  readonly seeds: number;
}

/** A method of the catalogue, and the sparsity and tokens of a query block that are asked of it if they are not its own. */
export interface Entrant {
  readonly label: string;
  readonly listed: Listed;
  readonly sparsity?: number;
  readonly queryTokens?: number;
}

const share = numberIn('sparsities', 'shares from 0 to below 1, as 0.9,0.8', 0, 1 - TINY);
const density = numberIn('densities', 'shares above 0 and at most 1, as 0.5,0.2', TINY, 1);
const layer = numberIn('layers', 'layers counted from 0, as 1,3,5', 0, 1000, true);
const methodsOf = (text: string): readonly Listed[] =>
  text === 'all' ? catalogue.filter(({ name }) => name !== 'dense') : text === 'none' ? [] : listOf(methodNamed)(text);

/** Adds the switches that choose, compare and keep cases. */
export const resultOptions = (command: Command): Command =>
  command
    .option('--filter <text>', 'only cases whose id has all of these words, as "wan-480p f16 dense"')
    .option('--compare <file>', 'hold the times against those of an earlier result')
    .option('--out <file>', 'write the result as JSON after each case; what is there is not measured again')
    .option('--json', 'print the result as JSON', false);

/** What `--quick` sets where nothing else was said. */
const QUICK = { shapes: ['small'], densities: [0.25], runs: 3 } as const;
const USUAL = { shapes: ['mini'], densities: [0.5, 0.25, 0.2, 0.125, 0.1], runs: 20 } as const;

interface AttentionFlags extends Omit<BenchAttentionArguments, 'command' | 'shapes' | 'readings' | 'methods' | 'runs'> {
  readonly quick: boolean;
  readonly shapes?: readonly Shape[];
  readonly densities?: readonly number[];
  readonly methods: readonly Listed[];
  readonly sparsities?: readonly number[];
  readonly queryTokens: readonly number[];
  readonly runs?: number;
}

const VARIANTS = ['matrix', 'subgroups', 'portable'];

function variantNamed(name: string): string {
  if (VARIANTS.includes(name)) return name;
  throw new RangeError(`there is no kernel variant "${name}"; give some of ${VARIANTS.join(', ')}`);
}

type Place = Pick<BenchAttentionArguments, 'device' | 'runtime' | 'dtype' | 'variants' | 'stock' | 'checks'>;

/** @throws TypeError for what the device does not have. */
function checkPlaceFlags({ device, runtime, dtype, variants, stock, checks }: Place): void {
  if (device === 'webgpu' && runtime) throw new TypeError(`--runtime ${runtime} is for --device cpu; leave it out`);
  if (device === 'webgpu') return;
  if (dtype === 'f16') throw new TypeError('--dtype f16 needs --device webgpu; the CPU computes in f32.');
  const flag = variants ? '--variants' : stock ? '--stock' : checks ? undefined : '--no-checks';
  if (flag) throw new TypeError(`${flag} is for --device webgpu; leave it out`);
}

/** @throws TypeError for sparsities that no method takes. */
function checkSparsities(sparsities: readonly number[] = [], methods: readonly Listed[]): void {
  if (sparsities.length > 0 && !methods.some(({ sparsity }) => sparsity))
    throw new TypeError(`--sparsities ${sparsities.join(',')} needs --methods that take one.`);
}

export function benchAttentionCommand(bench: Command, done: (args: BenchAttentionArguments) => void): void {
  const command = bench
    .command('attention')
    .description("attention kernels by shape, density and variant beside ONNX Runtime's own, each checked against f64 first")
    .addOption(new Option('--device <name>', 'where to attend').choices(['cpu', 'webgpu']).default('cpu'))
    .addOption(new Option('--runtime <name>', 'which ONNX Runtime, on the CPU').choices(['onnxruntime-node', 'onnxruntime-web']))
    .option('--shapes <names>', 'small, mini, wan-480p, wan-720p, hunyuan-720p (default: mini)', listOf(shapeNamed))
    .option('--densities <shares>', 'shares of the key blocks to read (default: 0.5,0.25,0.2,0.125,0.1)', listOf(density))
    .addOption(new Option('--dtype <type>', 'how numbers are stored (default: f16 and f32 where the device has them)').choices(DTYPES))
    .option('--variants <names>', `kernels of a GPU: ${VARIANTS.join(', ')} (default: all)`, listOf(variantNamed))
    .option('--methods <names>', 'whole methods too, by name or all', methodsOf, [])
    .option('--sparsities <shares>', 'asked of methods that take one (default: 0.8)', listOf(share))
    .option('--query-tokens <counts>', 'plans and methods in query blocks of so many tokens too, as 128', listOf(parseQueryTokens), [])
    .option('--runs <n>', 'timed turns, fewer where they take over a minute (default: 20)', count('runs', 'runs', 1000))
    .option('--stock', 'only what browsers have without flags', false)
    .option('--no-checks', 'without validation and bounds checks on the GPU')
    .option('--quick', 'one small shape and density, a few turns: under a minute on two cores', false);
  resultOptions(command).action(({ quick, shapes, densities, methods, sparsities, queryTokens, runs, ...rest }: AttentionFlags) => {
    checkPlaceFlags(rest);
    checkSparsities(sparsities, methods);
    const usual = quick ? QUICK : USUAL;
    const readings = [...(densities ?? usual.densities).map(blocksOf), PYRAMID];
    const entrants = methods.flatMap((listed) => entrantsOf(listed, sparsities ?? [0.8], false));
    done({
      ...{ command: 'bench attention', ...rest, shapes: shapes ?? usual.shapes.map(shapeNamed), runs: runs ?? usual.runs },
      readings: [readings, ...queryTokens.map((tokens) => readings.map((one) => byQueries(one, tokens)))].flat(),
      methods: inQueryBlocksToo(entrants, queryTokens),
    });
  });
}

interface MethodsFlags extends Omit<BenchMethodsArguments, 'command' | 'methods' | 'steps' | 'layers' | 'prompts'> {
  readonly quick: boolean;
  readonly methods: readonly Listed[];
  readonly sparsities: readonly number[];
  readonly queryTokens: readonly number[];
  readonly steps?: number;
  readonly layers?: readonly number[];
  readonly prompts?: number;
}

export function benchMethodsCommand(bench: Command, done: (args: BenchMethodsArguments) => void): void {
  const command = bench
    .command('methods')
    .description('methods on what a model attends to: density, error, recall, share of search, time beside dense')
    .option('--model <folder>', 'a Wan 2.1 model in the diffusers layout (default: the small one that comes along)')
    .addOption(new Option('--device <name>', 'where to attend').choices(['cpu', 'webgpu']).default('cpu'))
    .option('--methods <names>', 'by name, or all (default: all)', methodsOf, catalogue)
    .option('--sparsities <shares>', 'methods that take one at each of these too, to compare at equal work', listOf(share), [])
    .option('--query-tokens <counts>', 'methods in query blocks of so many tokens too, as 128', listOf(parseQueryTokens), [])
    .option('--size <WxH>', 'width x height in pixels', parseSize)
    .option('--num-frames <n>', 'number of frames', count('num-frames', 'frames', 10000))
    .option('--num-inference-steps, --steps <n>', 'denoising steps (default: 10)', count('steps', 'steps', 1000))
    .option('--layers <numbers>', 'layers to record, counted from 0 (default: 1,3,5,7)', listOf(layer))
    .option('--prompt <text>', 'a prompt; may be given more than once', anotherPrompt)
    .option('--prompts <n>', "so many of the model's own prompts (default: 2)", count('prompts', 'prompts', 1000))
    .option('--seeds <n>', 'seeds for each prompt', count('seeds', 'seeds', 1000), 1)
    .option('--quick', 'one short run over two layers', false);
  resultOptions(command).action(({ quick, methods, sparsities, queryTokens, steps, layers, prompts, ...rest }: MethodsFlags) => {
    if (rest.prompt && prompts !== undefined) throw new TypeError('Give either --prompt or --prompts, not both.');
    if (methods.length === 0) throw new TypeError('--methods none leaves nothing to measure; give names, or all.');
    checkSparsities(sparsities, methods);
    done({
      ...{ command: 'bench methods', ...rest, steps: steps ?? (quick ? 5 : 10), prompts: prompts ?? (quick ? 1 : 2) },
      layers: layers ?? (quick ? [2, 5] : [1, 3, 5, 7]),
      methods: inQueryBlocksToo(
        methods.flatMap((listed) => entrantsOf(listed, sparsities, true)),
        queryTokens,
      ),
    });
  });
}

/** A method at each sparsity if it takes one, and as its preset has it: always, or where it takes none. */
function entrantsOf(listed: Listed, sparsities: readonly number[], always: boolean): Entrant[] {
  const asked = listed.sparsity ? sparsities.map((sparsity) => ({ label: `${listed.name} ${sparsity}`, listed, sparsity })) : [];
  return always || asked.length === 0 ? [{ label: listed.name, listed }, ...asked] : asked;
}

/** Entrants as they are, and in query blocks of each of these sizes. */
const inQueryBlocksToo = (entrants: readonly Entrant[], sizes: readonly number[]): Entrant[] => [
  ...entrants,
  ...sizes.flatMap((queryTokens) => entrants.map((one) => ({ ...one, queryTokens, label: labelOf(one.label, { queryTokens }) }))),
];

/** The method of an entrant, made anew. */
export function methodOfEntrant({ listed, sparsity, queryTokens }: Entrant): Method {
  const method = listed.preset(sparsity === undefined ? {} : { sparsity });
  return queryTokens === undefined ? method : withQueryBlocks(method, queryTokens);
}
