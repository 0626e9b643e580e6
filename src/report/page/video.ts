// One `bench video` on the page: speed against quality, time and density of steps, plans, frames side by side, and all figures.
import type { Interval } from '../../quality/interval.ts';
import type { VideoRow, VideoSection } from '../data.ts';
import { MEASURES, measuresOf } from '../measures.ts';
import { pareto } from '../pareto.ts';
import { chart, type Series } from './chart.ts';
import { chips, choice, h, part, table } from './dom.ts';
import { framesPart } from './frames.ts';
import { heatMap, scale } from './heat.ts';
import { coloursOf } from './theme.ts';
import { tradeOff } from './trade-off.ts';

/** Contenders that are shown before a reader chooses: those that no other beats, and so many at most. */
const SHOWN = 6;

export function videoSection(section: VideoSection): HTMLElement {
  const { contenders, machine, setting, clips, embedded } = section;
  const names = contenders.map(({ contender }) => contender);
  const colours = coloursOf(names);
  const shown = new Set(['dense', ...bestOf(contenders).slice(0, SHOWN - 1)].filter((name) => names.includes(name)));
  const redraws: (() => void)[] = [];
  const others = h('div', { class: 'parts' });
  const visible = () => contenders.filter(({ contender }) => shown.has(contender));
  if (contenders.some(({ steps }) => steps)) others.append(...stepParts(visible, colours, redraws));
  if (contenders.some(({ plans }) => plans)) others.append(plansPart(visible, redraws));
  if (clips.length > 0) others.append(framesPart(clips, () => names.filter((name) => shown.has(name)), redraws));
  return h(
    'article',
    {},
    h('h2', {}, 'Videos against dense attention'),
    h('p', { class: 'where' }, `${machine} · ${setting}`),
    embedded &&
      h(
        'p',
        { class: 'warning' },
        'The embedded model is small and knows a few dozen cartoon subjects: these figures are no evidence for Wan itself.',
      ),
    tradeOff(contenders, colours),
    others.childElementCount > 0 &&
      h(
        'div',
        { class: 'bar' },
        chips(names, colours, shown, () => {
          for (const redraw of redraws) redraw();
        }),
      ),
    others,
    figuresPart(contenders),
  );
}

/** Names of those that no other beats by speed and the first measure there is, then of those nearest to dense attention. */
function bestOf(contenders: readonly VideoRow[]): string[] {
  const [measure] = measuresOf(contenders);
  if (!measure) return contenders.map(({ contender }) => contender);
  const points = contenders.flatMap((row) => {
    const [quality, speed] = [measure.of(row), row.denoiseSpeedup];
    if (row.role !== 'contender' || !quality || !speed) return [];
    return [{ contender: row.contender, x: measure.moreIsBetter ? quality.mean : -quality.mean, y: speed.mean }];
  });
  const nearest = [...points].sort((a, b) => b.x - a.x);
  return [...new Set([...pareto(points), ...nearest].map(({ contender }) => contender))];
}

type Visible = () => readonly VideoRow[];

function stepParts(visible: Visible, colours: ReadonlyMap<string, string>, redraws: (() => void)[]): HTMLElement[] {
  const lines = (title: string, unit: string, of: (row: VideoRow) => readonly number[] | undefined, to?: number) => {
    const series = (): Series[] =>
      visible().flatMap((row) => {
        const values = of(row);
        const points = values?.map((y, x) => ({ x, y, tip: [row.contender, `step ${x}: ${round(y)} ${unit}`.trim()] }));
        return points ? [{ colour: colours.get(row.contender)!, points, line: 'solid' as const, radius: 2.5 }] : [];
      });
    const drawn = chart(
      title,
      () => ({
        x: { title: 'step', from: 0, to: Math.max(1, ...series().map(({ points }) => points.length - 1)) },
        y: { title: unit || title.toLowerCase(), from: 0, to },
        series: series(),
      }),
      300,
    );
    redraws.push(drawn.draw);
    return part(title, '', drawn.element);
  };
  return [
    lines('Time per step', 'milliseconds', ({ steps }) => steps?.milliseconds),
    lines('Density of steps', '', ({ steps }) => steps?.density, 1),
    ...(visible().some(({ steps }) => steps?.error) ? [lines('Latent error', 'relative error', ({ steps }) => steps?.error)] : []),
  ];
}

function plansPart(visible: Visible, redraws: (() => void)[]): HTMLElement {
  const maps = h('div', { class: 'maps' });
  let byHead = false;
  const draw = () => {
    const own = visible().flatMap(({ contender, plans }) => (plans ? [{ contender, plans }] : []));
    maps.replaceChildren(
      ...own.map(({ contender, plans }) =>
        byHead
          ? heatMap({ title: contender, values: plans.densityByHead, rows: 'layer', columns: 'head' })
          : heatMap({ title: contender, values: transposed(plans.densityByLayer), rows: 'layer', columns: 'step' }),
      ),
      own.length === 0 ? h('p', { class: 'note' }, 'The plans of those that are shown were not looked at.') : '',
    );
  };
  redraws.push(draw);
  draw();
  const picker = choice('Layers by', ['step', 'head'], (at) => {
    byHead = at === 1;
    draw();
  });
  const note =
    'Share of full attention that each layer computed: at every step, as the mean of its heads, or in each head, as the mean of the steps.';
  const wide = part('Density by layer', note, h('div', { class: 'bar' }, picker, scale('none', 'all of it')), maps);
  wide.classList.add('wide');
  return wide;
}

const transposed = (rows: readonly (readonly number[])[]): number[][] => rows[0].map((_, at) => rows.map((row) => row[at]));

/** Every figure of every contender. */
function figuresPart(contenders: readonly VideoRow[]): HTMLElement {
  const measures = MEASURES.filter(({ of }) => contenders.some((row) => of(row)));
  const head = [
    ...['contender', 'pairs', 'density', 'warm-up', 'cached', 'seconds', 'denoising, times as fast'],
    ...measures.map(({ name }) => name),
    ...['flicker / dense', 'recall'],
  ];
  const rows = contenders.map((row) => [
    row.contender,
    ...[String(row.pairs), row.density.toFixed(3), row.warmUp.toFixed(2), row.cached.toFixed(2), round(row.seconds.total)],
    row.failed === undefined || row.pairs > 0 ? interval(row.denoiseSpeedup, 2) : `failed: ${row.failed}`,
    ...measures.map(({ of, digits }) => interval(of(row), digits)),
    ...[interval(row.flicker, 2), row.plans?.recall?.read.toFixed(3) ?? ''],
  ]);
  const note =
    'Means over pairs of one prompt and seed, with bootstrap intervals of 95 % over them. Density is the share of full attention in FLOP over all steps, warm-up the share of calls that the schedule computes in full, cached that of steps taken from the step cache; recall is the share of the exact softmax mass that sampled plans read.';
  const wide = part('All figures', note, table(head, rows));
  wide.classList.add('wide');
  return wide;
}

function interval(figure: Interval | undefined, digits: number): string | Node {
  if (!figure) return '';
  const { mean, low, high } = figure;
  return h('span', {}, mean.toFixed(digits), figure.count > 1 && h('small', {}, ` ${low.toFixed(digits)} – ${high.toFixed(digits)}`));
}

const round = (value: number): string => String(Number(value.toPrecision(3)));
