// The figures of an evaluation as text for a terminal: a column for each split, shares in percent with their intervals of 95 %.
import { type AdherenceFigures, type Anchor, adherenceOf, type JudgedClip } from './evaluation.ts';
import type { Interval } from './interval.ts';
import { HEADS, type Split } from './prompts.ts';

export interface EvaluationText {
  readonly clips: readonly JudgedClip[];
  /** By split, then by what was measured: renders, reconstructions. */
  readonly anchors: Readonly<Record<Split, Readonly<Record<string, Anchor>>>>;
}

const SPLITS: readonly Split[] = ['seen', 'held-out'];

/** @throws RangeError without clips. */
export function evaluationText({ clips, anchors }: EvaluationText): string {
  const columns = SPLITS.flatMap((split) => {
    const own = clips.filter((clip) => clip.split === split);
    return own.length > 0 ? [{ title: split, cells: figureCells(adherenceOf(own)) }, ...anchorColumns(split, anchors[split])] : [];
  });
  if (columns.length === 0) throw new RangeError('There are no judged clips; judge at least 1.');
  const names = ['', 'clips', ...HEADS, 'direction, tracked', 'flicker', ...HEADS.map((head) => `${head}, shuffled`)];
  const table = [names, ...columns.map(({ title, cells }) => [title, ...cells])];
  const widths = table.map((column) => Math.max(...column.map((cell) => cell.length)));
  return names
    .map((_, row) =>
      table
        .map((column, at) => column[row].padEnd(widths[at]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Cells of a column: clips, heads, direction, flicker, then what chance gives. */
function figureCells({ clips, heads, direction, flicker, shuffled }: AdherenceFigures): string[] {
  const chance = HEADS.map((head) => (shuffled ? percent(shuffled[head]) : '-'));
  return [String(clips), ...HEADS.map((head) => percent(heads[head])), direction ? percent(direction) : '-', flicker.toFixed(5), ...chance];
}

function anchorColumns(split: Split, anchors: Readonly<Record<string, Anchor>>): { title: string; cells: string[] }[] {
  return Object.entries(anchors).map(([name, { clips, heads, direction, flicker }]) => ({
    title: `${split}: ${name}`,
    cells: [String(clips), ...HEADS.map((head) => share(heads[head])), share(direction), flicker.toFixed(5), ...HEADS.map(() => '-')],
  }));
}

const share = (value: number): string => `${(100 * value).toFixed(1)} %`;

function percent({ mean, low, high, count }: Interval): string {
  return `${share(mean)} (${(100 * low).toFixed(1)}..${(100 * high).toFixed(1)}) of ${count}`;
}
