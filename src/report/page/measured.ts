// Kernels and times on the page: attention's rate against the machine's ceiling, and bars of everything that was timed.
import type { Roofline, RooflinePoint, TimeBar, TimesSection } from '../data.ts';
import { type ChartData, chart, roundTo } from './chart.ts';
import { h, part } from './dom.ts';
import { coloursOf } from './theme.ts';

/** Attention of one machine over density, a chart for each shape. */
export function rooflineSection(rooflines: readonly Roofline[]): HTMLElement {
  return h(
    'article',
    {},
    h('h2', {}, 'Attention against the ceiling'),
    h('p', { class: 'where' }, rooflines[0].machine),
    ...rooflines.map(rooflinePart),
  );
}

function rooflinePart({ shape, ceiling, series }: Roofline): HTMLElement {
  const colours = coloursOf(series.map(({ label }) => label));
  const [factor, unit] = ceiling.teraflops < 1 ? [1000, 'GFLOP/s'] : [1, 'TFLOP/s'];
  const all = series.flatMap(({ points }) => points);
  const least = roundTo('down', Math.min(0.5, ...all.map(({ density }) => density)));
  const lowest = roundTo('down', Math.min(...all.map(({ teraflops }) => teraflops * factor)));
  const shown = (rate: number) => `${Number((rate * factor).toPrecision(3))} ${unit}`;
  const data = (): ChartData => ({
    x: { title: 'density, share of full attention', logarithmic: true, from: least, to: 1 },
    y: { title: unit, logarithmic: true, from: lowest, to: roundTo('up', ceiling.teraflops * factor * 1.05) },
    series: [
      {
        colour: 'var(--muted)',
        line: 'dashed',
        radius: 0,
        points: [least, 1].map((x) => ({ x, y: ceiling.teraflops * factor, tip: [] })),
      },
      ...series.map(({ label, points }) => ({
        colour: colours.get(label)!,
        ...{ line: 'solid' as const, radius: 0 },
        points: plainWork(points).map(({ density, teraflops }) => ({ x: density, y: teraflops * factor, tip: [] })),
      })),
      ...series.map(({ label, points }) => ({
        colour: colours.get(label)!,
        points: points.map(({ work, density, teraflops, milliseconds }) => ({
          ...{ x: density, y: teraflops * factor },
          tip: [label, `${work}: ${shown(teraflops)}, ${Number(milliseconds.toPrecision(3))} ms`],
        })),
      })),
    ],
  });
  const { element } = chart(`Attention rate over density, ${shape}`, data, 400);
  const legend = series.map(({ label }) => h('span', { class: 'key', style: `--dot: ${colours.get(label)}` }, label));
  const note = `Rate of the work that is left. Dashed: the highest rate measured on this machine, ${shown(ceiling.teraflops)} by ${ceiling.by}.`;
  const section = part(shape, note, element, h('div', { class: 'keys' }, ...legend));
  section.classList.add('wide');
  return section;
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
    const section = part(title, '', h('div', { class: 'times' }, ...bars.flatMap((bar) => timeRow(bar, longest))));
    section.classList.add('wide');
    return section;
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
      h('summary', {}, `${count} ${count === 1 ? 'time' : 'times'}`),
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
