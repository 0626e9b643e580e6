// Kernels and times on the page: steps of whole runs, attention's rate against the machine's ceiling, and bars of everything that was timed.
import type { Roofline, RooflinePoint, RunsSection, TimeBar, TimesSection } from '../data.ts';
import { type ChartData, chart, roundTo } from './chart.ts';
import { h, key, wide } from './dom.ts';
import { type Look, looksOf } from './theme.ts';

/** Seconds of every step of whole runs. */
export function runsSection({ machine, model, runs }: RunsSection): HTMLElement {
  const looks = looksOf(runs.map(({ label }) => label));
  const longest = Math.max(2, ...runs.map(({ seconds }) => seconds.length));
  const data = (): ChartData => ({
    x: { title: 'denoising step', from: 0, to: longest - 1 },
    y: { title: 'seconds', from: 0 },
    series: runs.map(({ label, seconds }) => ({
      ...looks.get(label)!,
      ...{ line: 'solid' as const, radius: 3 },
      points: seconds.map((y, x) => ({ x, y, tip: [label, `step ${x}: ${duration(1000 * y)}`] })),
    })),
  });
  const { element } = chart(`Time per step, ${model}`, data, 320);
  const note = 'Down is better. Dense steps are high, searches are peaks, and steps that reuse a plan lie low.';
  const legend = runs.map(({ label }) => key(label, looks.get(label)!));
  const where = h('p', { class: 'where' }, `${machine} · ${model}`);
  return h(
    'article',
    {},
    h('h2', {}, 'Time per step'),
    where,
    wide('Each step of whole runs', note, element, h('div', { class: 'keys' }, ...legend)),
  );
}

/** Attention of one machine over density, a chart for each shape; a contender looks the same in all of them. */
export function rooflineSection(rooflines: readonly Roofline[]): HTMLElement {
  const looks = looksOf([...new Set(rooflines.flatMap(({ series }) => series.map(({ label }) => label)))]);
  const { machine, ceiling } = rooflines[0];
  const note = `How fast the work that is left is done, over how much is left. Up is better; where a line is level, time falls as density does. The dashed line is the highest rate measured on this machine: ${rate(ceiling.teraflops, ceiling.teraflops)} by ${ceiling.by}.`;
  return h(
    'article',
    {},
    h('h2', {}, 'Attention against the ceiling'),
    h('p', { class: 'where' }, machine),
    h('p', { class: 'note' }, note),
    h('div', { class: 'parts' }, ...rooflines.map((one) => rooflinePart(one, looks))),
  );
}

/** In the unit that suits the ceiling. */
const rate = (teraflops: number, ceiling: number): string => {
  const [factor, unit] = unitOf(ceiling);
  return `${Number((teraflops * factor).toPrecision(3))} ${unit}`;
};

const unitOf = (ceiling: number) => (ceiling < 1 ? ([1000, 'GFLOP/s'] as const) : ([1, 'TFLOP/s'] as const));

function rooflinePart({ shape, ceiling, series }: Roofline, looks: ReadonlyMap<string, Look>): HTMLElement {
  const [factor, unit] = unitOf(ceiling.teraflops);
  const all = series.flatMap(({ points }) => points);
  const least = roundTo('down', Math.min(0.5, ...all.map(({ density }) => density)));
  const lowest = roundTo('down', Math.min(...all.map(({ teraflops }) => teraflops * factor)));
  const data = (): ChartData => ({
    x: { title: 'density, share of full attention', logarithmic: true, from: least, to: 1 },
    y: { title: `rate, ${unit}`, logarithmic: true, from: lowest, to: roundTo('up', ceiling.teraflops * factor * 1.05) },
    series: [
      {
        colour: 'var(--muted)',
        line: 'dashed',
        radius: 0,
        points: [least, 1].map((x) => ({ x, y: ceiling.teraflops * factor, tip: [] })),
      },
      ...series.map(({ label, points }) => ({
        colour: looks.get(label)!.colour,
        ...{ line: 'solid' as const, radius: 0 },
        points: plainWork(points).map(({ density, teraflops }) => ({ x: density, y: teraflops * factor, tip: [] })),
      })),
      ...series.map(({ label, points }) => ({
        ...looks.get(label)!,
        points: points.map(({ work, density, teraflops, milliseconds }) => ({
          ...{ x: density, y: teraflops * factor },
          tip: [label, `${work}: ${rate(teraflops, ceiling.teraflops)}, ${Number(milliseconds.toPrecision(3))} ms`],
        })),
      })),
    ],
  });
  const { element } = chart(`Attention rate over density, ${shape}`, data, 400);
  const legend = series.map(({ label }) => key(label, looks.get(label)!));
  return wide(shape, '', element, h('div', { class: 'keys' }, ...legend));
}

/** Work that differs in density alone, which a line may join: dense and shares of blocks, of equal density the fastest. */
function plainWork(points: readonly RooflinePoint[]): RooflinePoint[] {
  const fastest = new Map<number, RooflinePoint>();
  for (const point of points)
    if (/^(dense$|blocks )/.test(point.work) && point.teraflops > (fastest.get(point.density)?.teraflops ?? 0))
      fastest.set(point.density, point);
  return [...fastest.values()];
}

/** A section of more bars than this is folded. */
const MANY = 24;

/** Bars of what was timed on one machine. */
export function timesSection({ machine, what, groups }: TimesSection): HTMLElement {
  const parts = groups.map(({ title, bars }) => {
    const longest = Math.max(...bars.map(({ milliseconds }) => milliseconds));
    return wide(title, '', h('div', { class: 'times' }, ...bars.flatMap((bar) => timeRow(bar, longest))));
  });
  const count = groups.reduce((sum, { bars }) => sum + bars.length, 0);
  return h(
    'article',
    {},
    h('h2', {}, what),
    h('p', { class: 'where' }, machine),
    h(
      'details',
      { open: count <= MANY },
      h('summary', {}, `${count} ${count === 1 ? 'median time' : 'median times'}, shorter is better`),
      h('div', { class: 'parts' }, ...parts),
    ),
  );
}

function timeRow({ label, milliseconds, low, high, runs, density, file }: TimeBar, longest: number): HTMLElement[] {
  const more = [
    ...(runs === undefined ? [] : [`${runs} ${runs === 1 ? 'run' : 'runs'}`]),
    ...(low === undefined || high === undefined ? [] : [`middle half ${duration(low)} – ${duration(high)}`]),
    ...(density === undefined ? [] : [`density ${density.toFixed(3)}`]),
    file,
  ].join(', ');
  return [
    h('div', { class: 'name' }, label),
    h('div', { class: 'track', title: more }, h('i', { style: `width: ${Math.max(0.3, (100 * milliseconds) / longest)}%` })),
    h('div', { class: 'value' }, duration(milliseconds)),
    h('div', { class: 'density' }, density === undefined ? '' : density.toFixed(2)),
  ];
}

const duration = (milliseconds: number): string =>
  milliseconds < 1000 ? `${Number(milliseconds.toPrecision(3))} ms` : `${Number((milliseconds / 1000).toPrecision(3))} s`;
