// `zoetrope methods`: every method by name, with its paper, its mark and its stages.
import { catalogue, type Listed, unported } from '../methods/catalogue.ts';
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
  terminal.out(json ? `${JSON.stringify({ methods, unported })}\n` : formatMethods());
}

/** The catalogue in a table for each mark; a star says that parts of the recipe are ours. */
export function formatMethods(): string {
  const width = Math.max(...catalogue.map(({ name }) => name.length), ...unported.map(({ name }) => name.length)) + 2;
  const tables = (Object.keys(MARKS) as Listed['mark'][]).flatMap((mark) => {
    const rows = catalogue.filter((one) => one.mark === mark).flatMap((one) => rowsOf(one, width));
    return rows.length === 0 ? [] : [`${MARKS[mark]}:`, ...rows, ''];
  });
  const left = unported.map(({ name, reason }) => `  ${name.padEnd(width)}${reason}`);
  const notes = ['* parts of the recipe are ours, so no verdict on the paper', 's takes --sparsity', '', 'Not here:', ...left];
  return `${[...tables, ...notes].join('\n')}\n`;
}

function rowsOf({ name, paper, stages, reconstruction, sparsity, aliases }: Listed, width: number): string[] {
  const flags = `${reconstruction ? '*' : ' '}${sparsity ? 's' : ' '}`;
  const also = aliases.length === 0 ? '' : `, also ${aliases.join(', ')}`;
  return [`  ${name.padEnd(width)}${flags} ${stages.join('; ')}`, ...(paper || also ? [`  ${' '.repeat(width + 3)}${paper}${also}`] : [])];
}
