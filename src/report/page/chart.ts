// Charts of points and lines by Chart.js, in the page's colours, with intervals and names drawn beside points.
import {
  Chart,
  type ChartDataset,
  type ChartOptions,
  LinearScale,
  LineController,
  LineElement,
  LogarithmicScale,
  type Plugin,
  PointElement,
  ScatterController,
  Tooltip,
} from 'chart.js';
import { h } from './dom.ts';
import { colour, type Mark, onTheme, resolved } from './theme.ts';

Chart.register(LinearScale, LineController, LineElement, LogarithmicScale, PointElement, ScatterController, Tooltip);

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Ends of intervals. */
  readonly xs?: readonly [number, number];
  readonly ys?: readonly [number, number];
  /** Drawn beside the point. */
  readonly name?: string;
  /** Lines of what is shown when it is pointed at. */
  readonly tip: readonly string[];
}

export interface Series {
  readonly colour: string;
  readonly points: readonly Point[];
  readonly line?: 'solid' | 'dashed';
  /** Radius of points in pixels; 0 draws none. */
  readonly radius?: number;
  readonly mark?: Mark;
}

export interface Axis {
  readonly title: string;
  readonly logarithmic?: boolean;
  readonly from?: number;
  readonly to?: number;
  /** Greater numbers to the left or below. */
  readonly reversed?: boolean;
  /** A value whose line stands out. */
  readonly baseline?: number;
}

export interface ChartData {
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

/** A chart that draws what `data` gives whenever `draw` is called, and when light turns to dark. */
export function chart(label: string, data: () => ChartData, height = 380): { readonly element: HTMLElement; draw(): void } {
  const canvas = h('canvas', { role: 'img', 'aria-label': label });
  const element = h('div', { class: 'chart', style: `height: ${height}px` }, canvas);
  let drawn: Chart<'scatter'> | undefined;
  const draw = () => {
    drawn?.destroy();
    const { x, y, series } = data();
    drawn = new Chart(canvas, {
      type: 'scatter',
      data: { datasets: series.map(datasetOf) },
      options: optionsOf(x, y),
      plugins: [marks],
    });
  };
  onTheme(draw);
  // Chart.js measures its parent, which must be in the page.
  requestAnimationFrame(draw);
  return { element, draw };
}

function datasetOf({ colour: reference, points, line, radius = 5, mark = 'circle' }: Series): ChartDataset<'scatter', Point[]> {
  const own = resolved(reference);
  // A square or triangle of a radius is smaller than its circle.
  const size = mark === 'circle' ? radius : 1.25 * radius;
  return {
    data: [...points],
    ...{ borderColor: own, backgroundColor: own, pointRadius: size, pointHoverRadius: size + 2, pointStyle: mark, pointHitRadius: 8 },
    ...{ clip: 10, showLine: line !== undefined, borderWidth: 2, borderDash: line === 'dashed' ? [6, 5] : [], tension: 0 },
    ...{ pointBorderColor: colour('--card'), pointBorderWidth: radius > 3 ? 1.5 : 0 },
  };
}

function optionsOf(x: Axis, y: Axis): ChartOptions<'scatter'> {
  const [ink, muted, line, card] = ['--ink', '--muted', '--line', '--card'].map(colour);
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  const scale = ({ title, logarithmic, from, to, reversed, baseline }: Axis) => ({
    type: logarithmic ? ('logarithmic' as const) : ('linear' as const),
    ...{ min: from, max: to, reverse: reversed, grace: logarithmic || to !== undefined ? 0 : '6%' },
    title: { display: true, text: title, color: muted, font: { ...font, weight: 600 } },
    ticks: {
      color: muted,
      font,
      maxTicksLimit: 8,
      includeBounds: false,
      autoSkip: !logarithmic,
      callback: logarithmic ? shortest : undefined,
    },
    afterBuildTicks: (axis: { min: number; max: number; ticks: { value: number }[] }) => {
      if (logarithmic) axis.ticks = logarithmicTicks(axis.min, axis.max);
    },
    ...{
      grid: { color: ({ tick }: { tick?: { value: number } }) => (tick && tick.value === baseline ? muted : line) },
      border: { display: false },
    },
  });
  return {
    ...{ animation: false, maintainAspectRatio: false, layout: { padding: { top: 18, right: 24 } } },
    scales: { x: scale(x), y: scale(y) },
    plugins: {
      tooltip: {
        ...{ backgroundColor: card, bodyColor: ink, borderColor: line, borderWidth: 1, padding: 10, displayColors: false, bodyFont: font },
        callbacks: { label: ({ raw }) => [...(raw as Point).tip] },
        filter: ({ raw }) => (raw as Point).tip.length > 0,
      },
    },
  };
}

/** 1, 2 and 5 of each decade between two numbers. */
function logarithmicTicks(min: number, max: number): { value: number }[] {
  const ticks: { value: number }[] = [];
  for (let value = roundTo('up', min * 0.999); value <= max * 1.001; value = roundTo('up', value * 1.5)) ticks.push({ value });
  return ticks;
}

/** The next of 1, 2 and 5 times a power of ten, down or up: where a logarithmic axis may end. */
export function roundTo(side: 'down' | 'up', value: number): number {
  const decade = 10 ** Math.floor(Math.log10(value));
  const steps = [1, 2, 5, 10].map((step) => step * decade);
  return side === 'down' ? steps.findLast((step) => step <= value)! : steps.find((step) => step >= value)!;
}

const shortest = (value: number | string): string => String(Number(Number(value).toPrecision(3)));

/** Whiskers of intervals below the points, names beside them. */
const marks: Plugin<'scatter'> = {
  id: 'marks',
  beforeDatasetsDraw({ ctx, data, scales: { x, y } }) {
    ctx.save();
    for (const { data: points, borderColor } of data.datasets) {
      ctx.strokeStyle = String(borderColor);
      ctx.globalAlpha = 0.35;
      ctx.lineWidth = 1.5;
      for (const { x: at, y: up, xs, ys } of points as Point[]) {
        if (xs) stroke(ctx, x.getPixelForValue(xs[0]), y.getPixelForValue(up), x.getPixelForValue(xs[1]), y.getPixelForValue(up));
        if (ys) stroke(ctx, x.getPixelForValue(at), y.getPixelForValue(ys[0]), x.getPixelForValue(at), y.getPixelForValue(ys[1]));
      }
    }
    ctx.restore();
  },
  afterDatasetsDraw({ ctx, data, chartArea, scales: { x, y } }) {
    const taken: Place[] = [];
    ctx.save();
    ctx.font = `600 12px ${getComputedStyle(document.body).fontFamily}`;
    ctx.fillStyle = colour('--ink');
    ctx.strokeStyle = colour('--card');
    ctx.lineWidth = 4;
    ctx.lineJoin = 'round';
    for (const { x: at, y: up, name } of data.datasets.flatMap(({ data: points }) => points as Point[])) {
      if (name === undefined) continue;
      const half = ctx.measureText(name).width / 2;
      const left = Math.min(Math.max(x.getPixelForValue(at) - half, chartArea.left + 4), chartArea.right + 20 - 2 * half);
      const base = freeBase(y.getPixelForValue(up), { left, right: left + 2 * half }, taken);
      if (base === undefined) continue;
      ctx.strokeText(name, left, base);
      ctx.fillText(name, left, base);
    }
    ctx.restore();
  },
};

interface Place {
  readonly left: number;
  readonly right: number;
  readonly base: number;
}

/** Where a name stands clear of those before it: above its point, below, or a line further; nowhere if all are taken. */
function freeBase(point: number, { left, right }: Omit<Place, 'base'>, taken: Place[]): number | undefined {
  const isFree = (base: number): boolean => taken.every((one) => one.right < left || one.left > right || Math.abs(one.base - base) > 13);
  const base = [-11, 20, -26, 35].map((offset) => point + offset).find(isFree);
  if (base !== undefined) taken.push({ left, right, base });
  return base;
}

function stroke(ctx: CanvasRenderingContext2D, fromX: number, fromY: number, toX: number, toY: number): void {
  ctx.beginPath();
  ctx.moveTo(fromX, fromY);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}
