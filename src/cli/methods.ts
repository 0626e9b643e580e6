// `zoetrope methods`: every method by name, with its paper, its mark and its stages.
import { catalogue, type Listed, unported } from '../methods/catalogue.ts';
import { folded } from './layout.ts';
import type { Terminal } from './terminal.ts';

export interface MethodsArguments {
  readonly command: 'methods';
  readonly json: boolean;
}

const MARKS: Readonly<Record<Listed['mark'], string>> = {
  own: 'ours',
  published: 'published training-free on video',
  ported: 'ported from other work, on video unproven by its authors',
  trained: 'needs training; its untrained form',
};

/** Prints the catalogue on stdout, as text or JSON. */
export function showMethods({ json }: MethodsArguments, terminal: Terminal): void {
  const methods = catalogue.map(({ preset: _, ...listed }) => listed);
  terminal.out(json ? `${JSON.stringify({ methods, unported })}\n` : formatMethods(terminal.outColumns));
}

/** The catalogue in a table for each mark, in lines of `columns` characters; a star says that parts of the recipe are ours. */
export function formatMethods(columns = 80): string {
  const width = Math.max(...catalogue.map(({ name }) => name.length), ...unported.map(({ name }) => name.length)) + 2;
  const tables = (Object.keys(MARKS) as Listed['mark'][]).flatMap((mark) => {
    const rows = catalogue.filter((one) => one.mark === mark).flatMap((one) => rowsOf(one, width, columns));
    return rows.length === 0 ? [] : [`${MARKS[mark]}:`, ...rows, ''];
  });
  const left = unported.flatMap(({ name, reason }) => folded(`  ${name.padEnd(width)}`, reason, columns));
  const notes = ['* parts of the recipe are ours, so no verdict on the paper', 's takes --sparsity', '', 'Not here:', ...left];
  return `${[...tables, ...notes].join('\n')}\n`;
}

function rowsOf({ name, paper, stages, reconstruction, sparsity, aliases }: Listed, width: number, columns: number): string[] {
  const flags = `${reconstruction ? '*' : ' '}${sparsity ? 's' : ' '}`;
  const also = aliases.length === 0 ? '' : `, also ${aliases.join(', ')}`;
  return [
    ...folded(`  ${name.padEnd(width)}${flags} `, stages.join('; '), columns),
    ...(paper || also ? folded(' '.repeat(width + 5), `${paper}${also}`, columns) : []),
  ];
}
