// Speed against quality, with the line of those that no other beats.
import type { VideoRow } from '../data.ts';
import { type Measure, measuresOf } from '../measures.ts';
import { pareto } from '../pareto.ts';
import { type ChartData, chart, type Point } from './chart.ts';
import { choice, h, part } from './dom.ts';

type Speed = 'denoiseSpeedup' | 'speedup';
const SPEEDS: readonly { readonly id: Speed; readonly name: string }[] = [
  { id: 'denoiseSpeedup', name: 'denoising' },
  { id: 'speedup', name: 'the whole run' },
];

/** The chart with the choice of its axes. */
export function tradeOff(rows: readonly VideoRow[], colours: ReadonlyMap<string, string>): HTMLElement | string {
  const measures = measuresOf(rows);
  if (measures.length === 0) return '';
  let [measure, speed] = [measures[0], SPEEDS[0]];
  const note = h('p', { class: 'note' });
  const data = (): ChartData => {
    note.textContent = `${measure.note} Right and up is better; lines through points are intervals of 95 %. The line joins those that no other beats; diamonds are the floor, dense attention with other numbers or steps.`;
    const x = {
      title: `${measure.name}${measure.moreIsBetter ? '' : ' (less is better)'}`,
      reversed: !measure.moreIsBetter,
      from: measure.moreIsBetter ? undefined : 0,
    };
    return {
      x,
      y: { title: `times as fast as dense, ${speed.name}`, from: 0, baseline: 1 },
      series: seriesOf(rows, measure, speed, colours),
    };
  };
  const { element, draw } = chart('Speed against quality', data, 460);
  const section = part(
    'Speed against quality',
    '',
    h(
      'div',
      { class: 'bar' },
      choice(
        'Quality',
        measures.map(({ name }) => name),
        (at) => {
          measure = measures[at];
          draw();
        },
      ),
      choice(
        'Speed of',
        SPEEDS.map(({ name }) => name),
        (at) => {
          speed = SPEEDS[at];
          draw();
        },
      ),
    ),
    element,
    note,
  );
  section.classList.add('wide');
  return section;
}

function seriesOf(
  rows: readonly VideoRow[],
  measure: Measure,
  { id, name }: { readonly id: Speed; readonly name: string },
  colours: ReadonlyMap<string, string>,
): ChartData['series'] {
  const points = rows.flatMap((row) => {
    const [fast, near] = [row[id], measure.of(row)];
    if (!fast || !near) return [];
    const tip = [
      row.contender,
      `${fast.mean.toFixed(2)} times as fast (${name}), ${fast.low.toFixed(2)} – ${fast.high.toFixed(2)}`,
      `${measure.name}: ${near.mean.toFixed(measure.digits)}, ${near.low.toFixed(measure.digits)} – ${near.high.toFixed(measure.digits)}`,
      `density ${row.density.toFixed(3)}, warm-up ${row.warmUp.toFixed(2)}, ${row.pairs} ${row.pairs === 1 ? 'pair' : 'pairs'}`,
    ];
    const point = { x: near.mean, y: fast.mean, xs: [near.low, near.high], ys: [fast.low, fast.high], tip } as const;
    return [{ row, point: point as Point }];
  });
  const front = pareto(
    points
      .filter(({ row: { role } }) => role === 'contender')
      .map(({ row, point: { x, y } }) => ({ contender: row.contender, x: measure.moreIsBetter ? x : -x, y })),
  );
  const onFront = new Set(front.map(({ contender }) => contender));
  const named = ({ row, point }: (typeof points)[number]): Point =>
    onFront.has(row.contender) || row.role === 'floor' ? { ...point, name: row.contender } : point;
  const line = front.map(({ contender }) => ({
    ...points.find(({ row }) => row.contender === contender)!.point,
    xs: undefined,
    ys: undefined,
    tip: [],
  }));
  return [
    { colour: 'var(--muted)', points: line, line: 'solid', radius: 0 },
    ...points.map((one) => ({
      colour: one.row.role === 'floor' ? 'var(--muted)' : colours.get(one.row.contender)!,
      points: [named(one)],
      ...{ radius: onFront.has(one.row.contender) ? 7 : 5, mark: one.row.role === 'floor' ? ('rectRot' as const) : ('circle' as const) },
    })),
  ];
}
