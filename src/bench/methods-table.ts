// Results of the bench of methods as Markdown.
import type { Listed } from '../methods/catalogue.ts';
import type { MethodResult } from './methods.ts';

/** A result with what the catalogue says of its method. */
export type ListedResult = MethodResult & Pick<Listed, 'mark' | 'reconstruction'>;

const HEAD = [
  'method',
  'mark',
  'density',
  'error',
  'recall',
  'read in full',
  'search / time',
  'time / dense',
  'run density',
  'run time / dense',
];

const LEGEND = `Density is the FLOP-equivalent share of full attention, error the relative Euclidean error of the attention output, recall the share of the
exact softmax mass that lies in blocks that are read, however finely, and "read in full" in those read token by token: means over the calls whose output
came from a plan. Times are counted from the first search on, search is scoring and selecting; "run" counts the dense steps too.`;

/** Two tables: what a paper can be judged by, and what it cannot. */
export function methodsMarkdown(results: readonly ListedResult[]): string {
  const isApart = ({ mark, reconstruction }: ListedResult) => reconstruction || mark === 'ported' || mark === 'trained';
  const parts = [
    { title: 'Published on video, and our own', rows: results.filter((result) => !isApart(result)), note: '' },
    {
      title: 'Ports, untrained forms and reconstructions',
      rows: results.filter(isApart),
      note: 'Parts of these are ours, or unproven on video: no verdict on a paper.\n\n',
    },
  ];
  const tables = parts
    .filter(({ rows }) => rows.length > 0)
    .map(({ title, rows, note }) => `## ${title}\n\n${note}${table([HEAD, HEAD.map(() => '---'), ...rows.map(cells)])}`);
  return `${[...tables, LEGEND].join('\n\n')}\n`;
}

function cells(result: ListedResult): string[] {
  const mark = result.reconstruction ? `${result.mark}, reconstruction` : result.mark;
  if ('failed' in result)
    return [result.label, mark, `failed: ${result.failed.replaceAll('|', '\\|')}`, ...Array(HEAD.length - 3).fill('')];
  const { quality, sparse, run } = result;
  const shown = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? '';
  return [
    ...[result.label, mark],
    ...[shown(quality?.density, 3), shown(quality?.error, 4), shown(quality?.recall, 3), shown(quality?.fullRecall, 3)],
    ...[shown(sparse?.searchShare, 2), shown(sparse?.timeOverDense, 2), shown(run.density, 2), shown(run.timeOverDense, 2)],
  ];
}

const table = (rows: readonly (readonly string[])[]): string => rows.map((row) => `| ${row.join(' | ')} |`).join('\n');
