// Result files and inspections become the data of a report. Figures of one chart are of one machine: each machine has its own.
import { type Case, machineName, type ReadResult } from '../bench/results.ts';
import type { VideoCase } from '../bench/video/case.ts';
import type { VideoResultFile } from '../bench/video/result.ts';
import { summarize } from '../bench/video/summary.ts';
import type {
  Clips,
  PlansSection,
  ReportData,
  Roofline,
  RooflinePoint,
  RunsSection,
  Source,
  TimeBar,
  TimesSection,
  VideoSection,
} from './data.ts';

/** What was read, from where. */
export interface Read {
  readonly results: readonly ReadResult[];
  readonly plans: readonly { readonly file: string; readonly figures: PlansSection }[];
}

/** @throws Error with one sentence when there is nothing to show. */
export function collect({ results: read, plans }: Read, version: string, date: string): ReportData {
  const results = withOneName(read);
  const videos = results.filter(isVideo).map(videoSection);
  const timed = results.filter((result) => !isVideo(result));
  const data: ReportData = {
    ...{ version, date },
    sources: [...results.map(sourceOf), ...plans.map(planSource)],
    videos: videos.filter(({ contenders }) => contenders.length > 0),
    runs: runsOf(timed),
    rooflines: rooflines(timed.filter(({ bench }) => bench.endsWith('attention'))),
    times: timesOf(timed),
    plans: plans.map(({ figures }) => figures),
  };
  if (data.videos.length + data.rooflines.length + data.times.length + data.plans.length === 0)
    throw new Error(
      `There is nothing to report: ${results.map(({ file }) => `"${file}"`).join(', ')} hold no case that was measured; run zoetrope bench first.`,
    );
  return data;
}

/** Different programs name a GPU differently: each is called by the first of its names. */
function withOneName(results: readonly ReadResult[]): ReadResult[] {
  const names = new Map<string, string>();
  const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  return results.map((result) => {
    const { gpu } = result.machine;
    if (gpu === undefined) return result;
    if (!names.has(plain(gpu))) names.set(plain(gpu), gpu);
    return { ...result, machine: { ...result.machine, gpu: names.get(plain(gpu))! } };
  });
}

const sourceOf = ({ file, bench, date, version, machine, cases }: ReadResult): Source => ({
  ...{ file, what: bench, date, version, machine: machineName(machine), cases: cases.length },
});

const planSource = ({ file, figures }: Read['plans'][number]): Source => ({
  ...{ file, what: 'inspect', date: '', version: '', machine: '', cases: figures.plans.length },
});

type VideoResult = ReadResult & VideoResultFile;
const isVideo = (result: ReadResult): result is VideoResult => result.bench.endsWith('video') && 'contenders' in result;

function videoSection({ machine, options, device, runtime, embedded, contenders, summary, cases }: VideoResult): VideoSection {
  const roles = new Map(contenders.map(({ label, role }) => [label, role]));
  const rows = summary.length > 0 ? summary : summarize(cases);
  const { width, height, numFrames, numInferenceSteps, model } = options;
  const name = embedded ? 'the embedded model' : String(model);
  return {
    machine: machineName(machine),
    setting:
      `${name}, ${width}x${height}, ${numFrames} frames, ${numInferenceSteps} steps, ${device?.name ?? runtime} ${device?.dtype ?? ''}`.trim(),
    embedded,
    contenders: rows.map((row) => ({ ...row, role: roles.get(row.contender) ?? (row.contender === 'dense' ? 'dense' : 'contender') })),
    clips: clipsOf(cases),
  };
}

function clipsOf(cases: readonly VideoCase[]): Clips[] {
  const all = new Map<string, Clips & { frames: Clips['frames'][number][] }>();
  for (const { prompt, seed, contender, frames } of cases) {
    if (!frames || frames.length === 0) continue;
    const key = `${seed}/${prompt}`;
    const own = all.get(key) ?? { prompt, seed, frames: [] };
    all.set(key, own);
    own.frames.push({ contender, pictures: frames });
  }
  return [...all.values()];
}

/** What each step of a whole run took, by machine and model. */
function runsOf(results: readonly ReadResult[]): RunsSection[] {
  const sections = new Map<string, RunsSection & { runs: RunsSection['runs'][number][] }>();
  for (const { machine, cases } of results)
    for (const { id, stepSeconds } of cases as readonly (Case & { readonly stepSeconds?: readonly number[] })[]) {
      if (!stepSeconds || stepSeconds.length === 0) continue;
      const [model, ...rest] = id.split('/');
      const key = `${machineName(machine)}/${model}`;
      const section = sections.get(key) ?? { machine: machineName(machine), model, runs: [] };
      sections.set(key, section);
      section.runs.push({ label: rest.join(', '), seconds: stepSeconds });
    }
  return [...sections.values()];
}

/** A case of attention, whoever measured it. */
type Attended = Case & {
  readonly density?: number;
  readonly teraflops?: number;
  readonly tokens?: number;
  readonly heads?: number;
  readonly dim?: number;
};

function rooflines(results: readonly ReadResult[]): Roofline[] {
  const charts = new Map<string, { machine: string; shape: string; series: Map<string, RooflinePoint[]> }>();
  for (const { machine, options, cases } of results)
    for (const one of cases as readonly Attended[]) {
      const [shape, device, ...rest] = one.id.split('/');
      const [contender, ...work] = rest.length > 1 ? rest : ['', ...rest];
      const teraflops = rateOf(one, shape);
      if (!one.milliseconds || one.density === undefined || teraflops === undefined) continue;
      const key = `${machineName(machine)}/${shape}`;
      const chart = charts.get(key) ?? { machine: machineName(machine), shape, series: new Map<string, RooflinePoint[]>() };
      charts.set(key, chart);
      const label = [contender, device, options.stock === true && 'stock'].filter(Boolean).join(', ');
      const point = { work: work.join('/'), density: one.density, teraflops, milliseconds: one.milliseconds.median };
      chart.series.set(label, [...(chart.series.get(label) ?? []), point]);
    }
  // Rates at a single density say no more than times do.
  const worth = [...charts.values()].filter(({ series }) => new Set([...series.values()].flat().map(({ density }) => density)).size > 1);
  return worth.map(({ machine, shape, series }) => ({
    ...{ machine, shape, ceiling: ceilingOf(worth.filter((one) => one.machine === machine)) },
    series: [...series].map(([label, points]) => ({ label, points: points.sort((x, y) => x.density - y.density) })),
  }));
}

/** The highest rate of some charts. */
function ceilingOf(
  charts: readonly { readonly shape: string; readonly series: ReadonlyMap<string, readonly RooflinePoint[]> }[],
): Roofline['ceiling'] {
  const all = charts.flatMap(({ shape, series }) =>
    [...series].flatMap(([label, points]) => points.map(({ work, teraflops }) => ({ teraflops, by: `${label}, ${work}, ${shape}` }))),
  );
  return all.reduce((best, one) => (one.teraflops > best.teraflops ? one : best));
}

/** TFLOP/s of the work that is left; from the shape where a case does not say. */
function rateOf({ teraflops, density, milliseconds, tokens, heads, dim }: Attended, shape: string): number | undefined {
  if (teraflops !== undefined || density === undefined || !milliseconds) return teraflops;
  const named = /^(\d+)x(\d+)x(\d+)$/.exec(shape)?.slice(1).map(Number);
  const [n, h, d] = tokens && heads && dim ? [tokens, heads, dim] : (named ?? []);
  return n === undefined ? undefined : (density * 4 * h * n ** 2 * d) / milliseconds.median / 1e9;
}

const TITLES: Readonly<Record<string, string>> = {
  attention: 'Attention',
  step: 'One forward of the transformer',
  run: 'Whole denoising runs',
  demo: 'Prompt to file',
  decode: 'Text encoder and decoder',
  'full-size': 'Models of full size',
  matmul: 'Linear layers',
};

function timesOf(results: readonly ReadResult[]): TimesSection[] {
  const sections = new Map<string, { machine: string; what: string; groups: Map<string, TimeBar[]> }>();
  for (const { file, bench, machine, cases } of results)
    for (const one of cases) {
      if (!one.milliseconds) continue;
      const what = bench.replace(/^bench /, '');
      const name = machineName(machine);
      const key = `${what}/${name}`;
      const section = sections.get(key) ?? { machine: name, what: TITLES[what] ?? what, groups: new Map<string, TimeBar[]>() };
      sections.set(key, section);
      const [title, ...rest] = one.id.split('/');
      section.groups.set(title, [...(section.groups.get(title) ?? []), barOf(one, rest.join(' / ') || title, file)]);
    }
  return [...sections.values()].map(({ machine, what, groups }) => ({
    ...{ machine, what },
    groups: [...groups].map(([title, bars]) => ({ title, bars: bars.sort((a, b) => a.milliseconds - b.milliseconds) })),
  }));
}

function barOf({ milliseconds, density }: Attended, label: string, file: string): TimeBar {
  const { median, low, high, runs } = milliseconds!;
  return { label, milliseconds: median, low, high, runs, file, ...(density !== undefined && { density }) };
}
