// One `bench video` on the page: speed against quality, time and density of steps, plans, frames side by side, and all figures.
import type { Interval } from '../../quality/interval.ts';
import type { VideoRow, VideoSection } from '../data.ts';
import { MEASURES, measuresOf } from '../measures.ts';
import { pareto } from '../pareto.ts';
import { chart, type Series } from './chart.ts';
import { chips, choice, h, part, table, wide } from './dom.ts';
import { framesPart } from './frames.ts';
import { heatMap, scale } from './heat.ts';
import { type Look, looksOf } from './theme.ts';
import { tradeOff } from './trade-off.ts';

/** Contenders that are shown before a reader chooses: those that no other beats, and so many at most. */
const SHOWN = 6;

export function videoSection(section: VideoSection): HTMLElement {
  const { contenders, machine, setting, clips, embedded } = section;
  const names = contenders.map(({ contender }) => contender);
  const looks = looksOf(names);
  const shown = new Set(['dense', ...bestOf(contenders).slice(0, SHOWN - 1)].filter((name) => names.includes(name)));
  const redraws: (() => void)[] = [];
  const others = h('div', { class: 'parts' });
  const visible = () => contenders.filter(({ contender }) => shown.has(contender));
  others.append(tradeOff({ rows: contenders, looks, shown }, redraws));
  if (clips.length > 0) others.append(framesPart(clips, () => names.filter((name) => shown.has(name)), captionOf(contenders), redraws));
  if (contenders.some(({ steps }) => steps)) others.append(...stepParts(visible, looks, redraws));
  if (contenders.some(({ plans }) => plans)) others.append(plansPart(visible, redraws));
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
    h(
      'div',
      { class: 'bar' },
      chips(names, looks, shown, () => {
        for (const redraw of redraws) redraw();
      }),
    ),
    others,
    figuresPart(contenders),
  );
}

/** What a contender's videos cost, in a few words. */
const captionOf =
  (contenders: readonly VideoRow[]) =>
  (name: string): string => {
    const { density, denoiseSpeedup } = contenders.find(({ contender }) => contender === name)!;
    return denoiseSpeedup ? `${denoiseSpeedup.mean.toFixed(2)} times as fast, density ${density.toFixed(2)}` : 'full attention';
  };

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

/** A chart of what each step did. */
interface StepChart {
  readonly title: string;
  readonly note: string;
  /** Name of the axis. */
  readonly axis: string;
  readonly to?: number;
  readonly of: (row: VideoRow) => readonly number[] | undefined;
}

const STEP_CHARTS: readonly StepChart[] = [
  {
    ...{ title: 'Time per step', axis: 'milliseconds', of: ({ steps }) => steps?.milliseconds },
    note: 'Down is faster. Searches are peaks; what the step cache gives takes next to nothing.',
  },
  {
    ...{ title: 'Density of steps', axis: 'share of full attention', to: 1, of: ({ steps }) => steps?.density },
    note: 'How much of full attention each step computed: 1 in the warm-up, 0 where the step cache gave it.',
  },
  {
    ...{ title: 'Latent error', axis: 'relative to the dense latents', of: ({ steps }) => steps?.error },
    note: 'How far the latents are from those of dense attention after the same step. Down is nearer.',
  },
];

function stepParts(visible: Visible, looks: ReadonlyMap<string, Look>, redraws: (() => void)[]): HTMLElement[] {
  const lines = ({ title, note, axis, to, of }: StepChart) => {
    const series = (): Series[] =>
      visible().flatMap((row) => {
        const values = of(row);
        const points = values?.map((y, x) => ({ x, y, tip: [row.contender, `step ${x}: ${round(y)}`] }));
        return points ? [{ ...looks.get(row.contender)!, points, line: 'solid' as const, radius: 3 }] : [];
      });
    const drawn = chart(
      title,
      () => ({
        x: { title: 'denoising step', from: 0, to: Math.max(1, ...series().map(({ points }) => points.length - 1)) },
        y: { title: axis, from: 0, to },
        series: series(),
      }),
      300,
    );
    redraws.push(drawn.draw);
    return part(title, note, drawn.element);
  };
  return STEP_CHARTS.filter(({ of }) => visible().some(of)).map(lines);
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
  return wide('Density by layer', note, h('div', { class: 'bar' }, picker, scale('none', 'all of it')), maps);
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
    'Means over pairs of one prompt and seed, with bootstrap intervals of 95 % over them. Density is the share of full attention in FLOP over all steps, warm-up the share of calls that the schedule computes in full, cached that of steps taken from the step cache; recall is the share of the exact softmax mass that sampled plans read. Of latent error, GMSD and change difference less is better, of PSNR, SSIM and points more; flicker is best at 1.';
  return wide('All figures', note, table(head, rows));
}

function interval(figure: Interval | undefined, digits: number): string | Node {
  if (!figure) return '';
  const { mean, low, high } = figure;
  return h('span', {}, mean.toFixed(digits), figure.count > 1 && h('small', {}, ` ${low.toFixed(digits)} – ${high.toFixed(digits)}`));
}

const round = (value: number): string => String(Number(value.toPrecision(3)));
