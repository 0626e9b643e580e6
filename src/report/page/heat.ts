// Tables of shares as maps of colour: sharp at any size, with the number when a cell is pointed at.
import { h } from './dom.ts';

const SVG = 'http://www.w3.org/2000/svg';

export interface HeatMap {
  readonly title: string;
  /** [rows][columns] of shares, 0..1. */
  readonly values: readonly (readonly number[])[];
  /** What a row and a column are. */
  readonly rows: string;
  readonly columns: string;
}

/** A map with its name above it and its axes named. */
export function heatMap({ title, values, rows, columns }: HeatMap): HTMLElement {
  const [down, across] = [values.length, values[0].length];
  const svg = document.createElementNS(SVG, 'svg');
  for (const [name, value] of Object.entries({
    viewBox: `0 0 ${across} ${down}`,
    preserveAspectRatio: 'none',
    role: 'img',
    'shape-rendering': 'crispEdges',
  }))
    svg.setAttribute(name, value);
  svg.setAttribute('aria-label', `${title}: density by ${rows} and ${columns}`);
  values.forEach((row, y) => {
    row.forEach((value, x) => {
      svg.append(cell(x, y, value, `${columns} ${x}, ${rows} ${y}: ${value.toFixed(2)}`));
    });
  });
  return h(
    'figure',
    { class: 'heat' },
    h('figcaption', {}, title),
    h('div', { class: 'rows' }, `${rows} 0 – ${down - 1}`),
    svg as unknown as HTMLElement,
    h('div', { class: 'columns' }, h('span', {}, `${columns} 0`), h('span', {}, String(across - 1))),
  );
}

function cell(x: number, y: number, value: number, text: string): SVGElement {
  const rect = document.createElementNS(SVG, 'rect');
  const size = { x, y, width: 1, height: 1 };
  for (const [name, number] of Object.entries(size)) rect.setAttribute(name, String(number));
  rect.style.fill = `color-mix(in oklab, var(--full) ${(100 * Math.min(1, value)).toFixed(1)}%, var(--none))`;
  const title = document.createElementNS(SVG, 'title');
  title.textContent = text;
  rect.append(title);
  return rect;
}

/** What the colours say. */
export const scale = (low: string, high: string): HTMLElement =>
  h('div', { class: 'scale' }, h('span', {}, low), h('i'), h('span', {}, high));
