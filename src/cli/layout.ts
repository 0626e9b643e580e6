// How text fits a screen: words folded beside what they are of, and Markdown with its tables as columns.
import { columns as aligned } from './bench-tables.ts';

/** `text` after `head`, folded into lines of `columns` characters; later lines begin below the text. */
export function folded(head: string, text: string, columns: number): string[] {
  const width = Math.max(20, columns - head.length);
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines[lines.length - 1];
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map((line, at) => `${at === 0 ? head : ' '.repeat(head.length)}${line}`);
}

/** Markdown as it is read on a screen: tables in columns, parted where they are too wide, and paragraphs folded. Without `columns`, as it is. */
export function onScreen(markdown: string, columns?: number): string {
  if (columns === undefined) return markdown;
  const parts = markdown.trimEnd().split('\n\n');
  return `${parts.map((part) => partLines(part.split('\n'), columns).join('\n')).join('\n\n')}\n`;
}

function partLines(lines: readonly string[], columns: number): string[] {
  if (lines[0].startsWith('|')) return tables(lines.filter((_, at) => at !== 1).map(cellsOf), columns);
  if (/^(#|- )/.test(lines[0])) return lines.flatMap((line) => folded('', line, columns));
  return folded('', lines.join(' '), columns);
}

const cellsOf = (line: string): string[] =>
  line
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'));

/** A table whose first column is repeated before as many of the others as fit. */
function tables(rows: readonly (readonly string[])[], columns: number): string[] {
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const groups: number[][] = [];
  let width = Number.POSITIVE_INFINITY;
  for (let at = 1; at < widths.length; at++) {
    if (width + 2 + widths[at] > columns) {
      groups.push([0]);
      width = widths[0];
    }
    groups[groups.length - 1].push(at);
    width += 2 + widths[at];
  }
  const shown = groups.map((group) => aligned(rows.map((row) => group.map((at) => row[at] ?? ''))));
  return shown.flatMap((table, at) => (at === 0 ? table : ['', ...table]));
}
