// The tables of README's section "Measured" as records: each figure names the result file and the case that it is read from.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, type ReadResult, readResults } from '../src/bench/results.ts';

/** A case, and any fields of it. */
export type Found = Case & {
  readonly density?: number;
  readonly teraflops?: number;
  readonly faster?: { readonly times: number };
  readonly check?: { readonly difference?: number };
};

/** A figure: how it is read from the files of its table, undefined where one of its cases was not measured. */
export type Figure = (find: (file: string, id: string | RegExp) => Found | undefined) => string | undefined;

/** What stands where a case has no result, and where it has one that is wrong or broke. */
export const MISSING = 'not measured';
const REFUSED = 'failed its check';

export interface Table {
  /** As the README's markers name it. */
  readonly name: string;
  readonly head: readonly string[];
  readonly rows: readonly { readonly label: string; readonly figures: readonly Figure[] }[];
}

/** Three digits at least, as 6.52, 32.3, 508. */
const digits = (x: number): string => (x >= 99.95 ? x.toLocaleString('en', { maximumFractionDigits: 0 }) : x.toPrecision(3));

const read =
  (file: string, id: string, of: (one: Found) => number | undefined, show: (x: number) => string = digits): Figure =>
  (find) => {
    const one = find(file, id);
    if (one?.failed !== undefined) return REFUSED;
    const value = one?.milliseconds && of(one);
    return value === undefined ? undefined : show(value);
  };
const median = ({ milliseconds }: Found): number => milliseconds!.median;
const best = ({ milliseconds }: Found): number | undefined => milliseconds!.best;

const OURS = 'attend-gpu-480p.json';
const TORCH = 'attend-torch.json';
const kernel = (label: string, file: string, id: string) => ({
  label,
  figures: [
    read(file, id, median),
    read(
      file,
      id,
      ({ teraflops }) => teraflops,
      (x) => x.toFixed(0),
    ),
  ],
});

const attentionOnGpu: Table = {
  name: 'attention on an H100',
  head: ['attention, 32,760 tokens', 'milliseconds', 'TFLOP/s'],
  rows: [
    kernel('zoetrope, dense, subgroup matrices', OURS, 'wan-480p/webgpu f16/zoetrope matrix/dense'),
    kernel('zoetrope, dense, subgroups', OURS, 'wan-480p/webgpu f16/zoetrope subgroups/dense'),
    kernel('zoetrope, dense, portable', OURS, 'wan-480p/webgpu f16/zoetrope portable/dense'),
    kernel('zoetrope, half of the blocks (of 64 tokens)', OURS, 'wan-480p/webgpu f16/zoetrope matrix/blocks 0.5'),
    kernel('zoetrope, a fifth of the blocks', OURS, 'wan-480p/webgpu f16/zoetrope matrix/blocks 0.2'),
    kernel('zoetrope, a tenth of the blocks', OURS, 'wan-480p/webgpu f16/zoetrope matrix/blocks 0.1'),
    kernel(
      'PyTorch FlexAttention, the same fifth of blocks of 64',
      TORCH,
      'wan-480p/cuda f16/pytorch flex_attention, blocks of 64/blocks 0.2',
    ),
    kernel('PyTorch FlexAttention, a fifth of blocks of 128', TORCH, 'wan-480p/cuda f16/pytorch flex_attention, blocks of 128/blocks 0.2'),
    kernel('PyTorch SDPA, cuDNN', TORCH, 'wan-480p/cuda f16/pytorch sdpa cudnn_attention/dense'),
    kernel('PyTorch SDPA, FlashAttention-2', TORCH, 'wan-480p/cuda f16/pytorch sdpa flash_attention/dense'),
    kernel('PyTorch SDPA, memory-efficient', TORCH, 'wan-480p/cuda f16/pytorch sdpa efficient_attention/dense'),
    kernel('onnxruntime-web WebGPU `MultiHeadAttention`', 'attend-gpu-ort.json', 'wan-480p/webgpu f16/onnxruntime-web/MultiHeadAttention'),
  ],
};

const WAN = 'wan-2.1-1.3b 832x480x81 30 layers/webgpu f16';
const seconds = (label: string, file: string, id: string) => ({
  label,
  figures: [read(file, id, median, (x) => (x / 1000).toFixed(2))],
});

const ORT = ['step-ort-480p.json', `${WAN}/onnxruntime-web/dense`] as const;
const onnxRuntimeStep: Table['rows'][number] = {
  label: 'onnxruntime-web WebGPU, dense, scaled from 2 layers; its f16 products sum in f16',
  figures: [
    (find) => {
      const time = seconds('', ...ORT).figures[0](find);
      const off = find(...ORT)?.check?.difference;
      return time && off !== undefined ? `${time}, off by ${(100 * off).toFixed(1)} % of the largest number` : time;
    },
  ],
};

const step: Table = {
  name: 'a step on an H100',
  head: ['one forward of the transformer', 'seconds'],
  rows: [
    seconds('zoetrope dense', 'step-gpu-480p.json', `${WAN}/zoetrope adaSpa 0.8/dense`),
    seconds('zoetrope `adaSpa({ sparsity: 0.8 })`, a step that reuses its plan', 'step-gpu-480p.json', `${WAN}/zoetrope adaSpa 0.8/reuse`),
    seconds('zoetrope `adaSpa`, a step that searches', 'step-gpu-480p.json', `${WAN}/zoetrope adaSpa 0.8/later search`),
    onnxRuntimeStep,
    seconds(
      'PyTorch eager, FlashAttention-2',
      'step-torch-480p.json',
      'wan-2.1-1.3b 832x480x81 30 layers/cuda bf16/pytorch eager, flash_attention/dense',
    ),
    seconds(
      'PyTorch compiled, FlashAttention-2',
      'step-torch-480p.json',
      'wan-2.1-1.3b 832x480x81 30 layers/cuda bf16/pytorch compiled, flash_attention/dense',
    ),
    seconds(
      'PyTorch eager, cuDNN',
      'step-torch-480p.json',
      'wan-2.1-1.3b 832x480x81 30 layers/cuda bf16/pytorch eager, cudnn_attention/dense',
    ),
  ],
};

const DENSE = new RegExp(`^${WAN}/zoetrope dense/(\\d+) steps x 2$`);
/** Every dense step takes the same, so a few of them stand for 50. */
const denseRun: Figure = (find) => {
  const one = find('run-gpu-480p-dense.json', DENSE);
  return one?.milliseconds && String((50 * median(one)) / 1000 / Number(DENSE.exec(one.id)![1]));
};
const sparseRun = read('run-gpu-480p.json', `${WAN}/zoetrope adaSpa 0.8/50 steps x 2`, (one) => median(one) / 1000, String);
const whole =
  (figure: Figure): Figure =>
  (find) => {
    const value = figure(find);
    return value === undefined ? undefined : Number(value).toFixed(0);
  };
const timesOfDense: Figure = (find) => {
  const [before, after] = [denseRun(find), sparseRun(find)];
  return before === undefined || after === undefined ? undefined : `${(Number(before) / Number(after)).toFixed(2)}x`;
};

const wholeRun: Table = {
  name: 'a whole run on an H100',
  head: ['50 steps with guidance (100 forwards), denoising alone', 'seconds', 'times as fast'],
  rows: [
    { label: 'zoetrope dense, from a shorter run (each step is the same)', figures: [whole(denseRun), () => ''] },
    { label: 'zoetrope `adaSpa({ sparsity: 0.8 })`, ten dense steps and two searches included', figures: [whole(sparseRun), timesOfDense] },
    {
      label: 'PyTorch cuDNN, dense: 100 times its forward',
      figures: [
        read(
          'step-torch-480p.json',
          'wan-2.1-1.3b 832x480x81 30 layers/cuda bf16/pytorch eager, cudnn_attention/dense',
          (one) => median(one) / 10,
          (x) => x.toFixed(0),
        ),
        () => '',
      ],
    },
  ],
};

const CPU = 'attend-cpu.json';
const onCpu = (label: string, work: string, fastest = false) => ({
  label,
  figures: ['onnxruntime-node', 'onnxruntime-web'].map((runtime): Figure => {
    const own = `${runtime}/${runtime === 'onnxruntime-node' ? 'MultiHeadAttention' : 'plain graph'}`;
    const id = `5184x4x64/${runtime} f32/${work === '' ? own : `zoetrope/${work}`}`;
    return (find) => {
      const time = read(CPU, id, best, (x) => `${x.toLocaleString('en', { maximumFractionDigits: 0 })} ms`)(find);
      const times = fastest ? `, ${find(CPU, id)?.faster?.times.toFixed(1)}x` : '';
      return time && `${time}${times}`;
    };
  }),
});

const attentionOnCpu: Table = {
  name: 'attention on a CPU',
  head: ['attention, 5,184 tokens, 4 heads x 64', 'onnxruntime-node', 'onnxruntime-web'],
  rows: [
    onCpu("ONNX Runtime's own (fused; plain graph on wasm)", ''),
    onCpu('`dense`, with log-sum-exp', 'dense'),
    onCpu('a quarter of the blocks', 'blocks 0.25', true),
    onCpu('an eighth of the blocks', 'blocks 0.125', true),
  ],
};

const demo = (label: string, runtime: string, tokens: number) => ({
  label: `${label}, ${runtime}`,
  figures: ['dense', 'adaspa', 'psa'].map((method) =>
    read(
      `demo-${runtime}-${tokens}.json`,
      `${tokens} tokens/${runtime} f32/zoetrope ${method}/prompt to mp4`,
      best,
      (x) => `${(x / 1000).toFixed(0)} s`,
    ),
  ),
});

const videos: Table = {
  name: 'prompt to mp4 on a CPU',
  head: ['prompt to mp4, embedded model, 24 steps', '`dense`', '`adaSpa`', '`pyramidSparse`'],
  rows: [
    demo('256 x 256, 33 frames (2,304 tokens)', 'onnxruntime-node', 2304),
    demo('320 x 320, 49 frames (5,200 tokens)', 'onnxruntime-node', 5200),
    demo('256 x 256, 33 frames (2,304 tokens)', 'onnxruntime-web', 2304),
  ],
};

export const TABLES: readonly Table[] = [attentionOnGpu, step, wholeRun, attentionOnCpu, videos];

/** A table in Markdown, with the files below that its figures were read from. @throws Error with one sentence for a damaged file. */
export async function markdownOf({ head, rows }: Table, folder: string): Promise<string> {
  const files = new Map<string, ReadResult | undefined>();
  const asked = new Set<string>();
  const find = (file: string, id: string | RegExp): Found | undefined => {
    asked.add(file);
    return files.get(file)?.cases.find((one) => (typeof id === 'string' ? one.id === id : id.test(one.id)));
  };
  // Once to know the files, once to read them.
  for (const { figures } of rows) for (const figure of figures) figure(find);
  for (const file of asked) files.set(file, existsSync(join(folder, file)) ? (await readResults([join(folder, file)]))[0] : undefined);
  const cells = rows.map(({ label, figures }) => [label, ...figures.map((figure) => figure(find) ?? MISSING)]);
  const there = [...asked].filter((file) => files.get(file)).map((file) => `[${file}](bench/results/${file})`);
  const lines = [head, head.map(() => '---'), ...cells].map((row) => `| ${row.join(' | ')} |`);
  return [...lines, '', `From ${there.length === 0 ? 'no file yet' : there.join(', ')}.`].join('\n');
}

/**
 * A README whose marked tables are written anew. A table stands between "<!-- table: NAME -->" and "<!-- end of table -->".
 * @throws Error with one sentence for a marker without its end, a name that there is not, or a table without a marker.
 */
export async function withTables(readme: string, folder: string, tables = TABLES): Promise<string> {
  const missing = tables.find(({ name }) => !readme.includes(`<!-- table: ${name} -->`));
  if (missing)
    throw new Error(
      `README.md has no marker "<!-- table: ${missing.name} -->"; put it where the table belongs, or take the table out of bench/readme-tables.ts`,
    );
  const parts = readme.split(/(?=<!-- table: )/);
  const done = parts.map(async (part, at) => {
    if (at === 0) return part;
    const [, name, rest] = /^<!-- table: (.*?) -->[\s\S]*?<!-- end of table -->([\s\S]*)$/.exec(part) ?? [];
    const table = tables.find((one) => one.name === name);
    if (name === undefined)
      throw new Error(`README.md: the table at "${part.split('\n')[0]}" has no "<!-- end of table -->"; add it below the table`);
    if (!table) throw new Error(`README.md: there is no table "${name}"; give one of ${tables.map((one) => one.name).join(', ')}`);
    return `<!-- table: ${name} -->\n${await markdownOf(table, folder)}\n<!-- end of table -->${rest}`;
  });
  return (await Promise.all(done)).join('');
}
