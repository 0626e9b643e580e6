// Speed against quality, with the line of those that no other beats.
import type { VideoRow } from '../data.ts';
import { type Measure, measuresOf } from '../measures.ts';
import { pareto } from '../pareto.ts';
import { type ChartData, chart, type Point, type Series } from './chart.ts';
import { choice, h, wide } from './dom.ts';
import type { Look } from './theme.ts';

const SPEEDS = [
  { id: 'denoiseSpeedup', name: 'denoising' },
  { id: 'speedup', name: 'the whole run' },
] as const;

interface Axes {
  measure: Measure;
  speed: (typeof SPEEDS)[number];
}

/** What the chart shows: all rows, those that are chosen in their colours. */
export interface TradeOff {
  readonly rows: readonly VideoRow[];
  readonly looks: ReadonlyMap<string, Look>;
  readonly shown: ReadonlySet<string>;
}

/** The chart with the choice of its axes; empty where nothing of quality was measured. */
export function tradeOff(shows: TradeOff, redraws: (() => void)[]): HTMLElement | string {
  const measures = measuresOf(shows.rows);
  if (measures.length === 0) return '';
  const axes: Axes = { measure: measures[0], speed: SPEEDS[0] };
  const note = h('p', { class: 'note' });
  const data = (): ChartData => {
    note.textContent = noteOf(axes.measure);
    return chartData(shows, axes);
  };
  const { element, draw } = chart('Speed against quality', data, 460);
  redraws.push(draw);
  const picker = <One extends { readonly name: string }>(label: string, all: readonly One[], take: (one: One) => void) => {
    const names = all.map(({ name }) => name);
    return choice(label, names, (at) => {
      take(all[at]);
      draw();
    });
  };
  const quality = picker('Quality', measures, (one) => {
    axes.measure = one;
  });
  const speed = picker('Speed of', SPEEDS, (one) => {
    axes.speed = one;
  });
  return wide('Speed against quality', '', h('div', { class: 'bar' }, quality, speed), element, note);
}

const noteOf = ({ note }: Measure): string =>
  `${note} Right and up is better. Thin lines are intervals of 95 %; the grey line joins those that no other beats, and grey diamonds are the floor: dense attention with other numbers or steps, which nobody would tell from dense.`;

function chartData({ rows, looks, shown }: TradeOff, { measure, speed }: Axes): ChartData {
  const { name, moreIsBetter } = measure;
  const points = rows.flatMap((row) => placed(row, measure, speed));
  const gains = points.filter(({ row: { role } }) => role === 'contender').map((one) => ({ one, x: gainOf(one, measure), y: one.point.y }));
  const front = pareto(gains).map(({ one }) => one);
  const drawn = points.map((one): Series => {
    const { row, point } = one;
    const { contender, role } = row;
    const [isFloor, isFront, isShown] = [role === 'floor', front.includes(one), shown.has(contender)];
    const look = isFloor ? FLOOR : isShown ? looks.get(contender)! : FAINT;
    const named = isFloor || isFront || isShown ? { ...point, name: contender } : { ...point, xs: undefined, ys: undefined };
    return { ...look, points: [named], radius: isFront ? 7 : 5 };
  });
  const line = front.map(({ point: { x, y } }): Point => ({ x, y, tip: [] }));
  return {
    x: {
      title: moreIsBetter ? `${name} (more is better)` : `${name} (less is better)`,
      reversed: !moreIsBetter,
      from: moreIsBetter ? undefined : 0,
    },
    y: { title: `times as fast as dense, ${speed.name}`, from: 0, baseline: 1 },
    series: [{ colour: 'var(--muted)', points: line, line: 'solid', radius: 0 }, ...drawn],
  };
}

const FLOOR: Look = { colour: 'var(--muted)', mark: 'rectRot' };
const FAINT: Look = { colour: 'var(--faint)', mark: 'circle' };

interface Placed {
  readonly row: VideoRow;
  readonly point: Point;
}

const gainOf = ({ point: { x } }: Placed, { moreIsBetter }: Measure): number => (moreIsBetter ? x : -x);

/** Where a row stands; nowhere without both figures. */
function placed(row: VideoRow, { name, digits, of }: Measure, speed: Axes['speed']): Placed[] {
  const [fast, near] = [row[speed.id], of(row)];
  if (!fast || !near) return [];
  const tip = [
    row.contender,
    `${fast.mean.toFixed(2)} times as fast (${speed.name}), ${fast.low.toFixed(2)} – ${fast.high.toFixed(2)}`,
    `${name}: ${near.mean.toFixed(digits)}, ${near.low.toFixed(digits)} – ${near.high.toFixed(digits)}`,
    `density ${row.density.toFixed(3)}, warm-up ${row.warmUp.toFixed(2)}, ${row.pairs} ${row.pairs === 1 ? 'pair' : 'pairs'}`,
  ];
  return [{ row, point: { x: near.mean, y: fast.mean, xs: [near.low, near.high], ys: [fast.low, fast.high], tip } }];
}
